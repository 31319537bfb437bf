"""Muon against its definition, computed by singular values."""

from dataclasses import replace

import pytest
import torch

from formula_env.errors import FormulaError
from formula_env.networks import GeneratorConfig, TransformerGenerator
from formula_env.optimizers import MUON_FACTOR, MuonWithAdam, adam, set_lr
from formula_env.tasks import make_task

TASK = make_task("signed-equation", length=5)
CONFIG = GeneratorConfig(
    generator="transformer", hidden_dim=16, layers=2, heads=2, optimizer="muon", weight_decay=0.5
)


def generator_with_gradient() -> TransformerGenerator:
    torch.manual_seed(0)
    generator = CONFIG.make_generator(TASK)
    assert isinstance(generator, TransformerGenerator)
    generator.log_prob(torch.from_numpy(TASK.enumerate())).sum().backward()
    return generator


def test_matrices_take_steps_of_about_equal_size_in_all_directions() -> None:
    """A step is -lr·(.2·√max(m, n) · O + decay · W), where O is UVᵀ of the gradient USVᵀ with sizes of 1 ± .5.

    The first step's momentum has the directions of the gradient; what replaces it has sizes of one order.
    """
    generator = generator_with_gradient()
    for matrix in generator.matrices():
        matrix.grad = torch.randn_like(matrix)
    before = [matrix.detach().clone() for matrix in generator.matrices()]
    CONFIG.make_optimizer(generator, 0.1 / MUON_FACTOR).step()
    for old, matrix in zip(before, generator.matrices(), strict=True):
        assert matrix.grad is not None
        step = (old * (1 - 0.1 * 0.5) - matrix.detach()) / (0.1 * 0.2 * max(matrix.shape) ** 0.5)
        u, sizes, v = torch.linalg.svd(matrix.grad, full_matrices=False)
        assert sizes[0] / sizes[-1] > 2
        along = u.T @ step @ v.T
        assert (along.diagonal() > 0.5).all()
        assert (along.diagonal() < 1.3).all()
        assert (along - along.diagonal().diag()).abs().max() < 0.05


def test_all_other_weights_take_the_steps_of_adam() -> None:
    generator, other = generator_with_gradient(), generator_with_gradient()
    CONFIG.make_optimizer(generator, 0.1).step()
    adam(other.parameters(), 0.1, weight_decay=0.5).step()
    matrices = {id(matrix) for matrix in generator.matrices()}
    assert len(matrices) == 8  # four in each block
    for ours, theirs in zip(generator.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs) != (id(ours) in matrices)


def test_the_learning_rate_is_that_of_both() -> None:
    generators = generator_with_gradient(), generator_with_gradient()
    optimizers = CONFIG.make_optimizer(generators[0], 0.1), CONFIG.make_optimizer(generators[1], 0.2)
    set_lr(optimizers[1], 0.1)
    for optimizer in optimizers:
        optimizer.step()
    for ours, theirs in zip(generators[0].parameters(), generators[1].parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_saved_optimizer_continues_as_if_never_saved() -> None:
    generators, optimizers = [], []
    for _ in range(2):
        generators.append(generator_with_gradient())
        optimizers.append(MuonWithAdam(generators[-1].matrices(), generators[-1].parameters(), 0.1, 0.5))
        optimizers[-1].step()
    saved = MuonWithAdam(generators[1].matrices(), generators[1].parameters(), 0.2)
    saved.load_state_dict(optimizers[1].state_dict())
    for optimizer in (optimizers[0], saved):
        set_lr(optimizer, 0.05)  # of the groups that were loaded
        optimizer.step()
    for ours, theirs in zip(generators[0].parameters(), generators[1].parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_an_lstm_has_no_such_optimizer() -> None:
    with pytest.raises(FormulaError, match="optimizer has no effect with generator lstm"):
        replace(GeneratorConfig(), optimizer="muon").check_generator()
