"""A GFlowNet whose reward is learnt: its gradient, its batches, and what it learns from examples."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from formula_env.adversary import AdversaryConfig
from formula_env.agents.eb_gfn import EBGFN, EBGFNConfig
from formula_env.agents.seqgan import policy_gradient_loss
from formula_env.errors import FormulaError
from formula_env.networks.generators import token_log_probs
from formula_env.tasks import make_task
from tests.tabular import all_strings
from tests.training import trained

CPU = torch.device("cpu")
TASK = make_task("binary-sum", length=4)
SMALL = EBGFNConfig(rounds=10, batch_size=16, embedding_dim=4, hidden_dim=8)


def gradient(algorithm: EBGFN, loss: torch.Tensor) -> torch.Tensor:
    gradients = torch.autograd.grad(loss, list(algorithm.generator.parameters()))
    return torch.cat([each.flatten() for each in gradients])


def test_where_the_policy_has_the_learnt_density_no_batch_moves_it() -> None:
    """f - log π is then one constant, the same for strings of the policy and of anything else."""
    algorithm = EBGFN(TASK, SMALL, 0, CPU)
    strings = torch.from_numpy(all_strings(TASK))
    for tokens in (strings, strings[[3, 3, 5, 9]]):
        moved = gradient(algorithm, algorithm.loss(tokens, torch.full((len(tokens),), -1.5)))
        assert moved.abs().max() < 1e-6
        other = gradient(algorithm, algorithm.loss(tokens, torch.linspace(0, 1, len(tokens))))
        assert other.abs().max() > 1e-4


def test_on_its_own_draws_half_its_gradient_is_that_of_seqgan_with_the_logit_as_reward() -> None:
    algorithm = EBGFN(TASK, SMALL, 0, CPU)
    tokens = algorithm.write(torch.arange(64), temperature=1.0)
    reward = algorithm.adversary.reward_model.score(tokens)
    log_probs = token_log_probs(algorithm.generator(tokens), tokens, TASK.vocabulary.pad)
    advantage = (reward - reward.mean())[:, None].expand_as(log_probs)
    seqgan = gradient(algorithm, policy_gradient_loss(log_probs, advantage))
    ours = gradient(algorithm, algorithm.loss(tokens, reward) / 2)
    torch.testing.assert_close(ours, seqgan, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize(
    ("size", "examples", "exploration", "of_each"),
    [(16, 0.25, 0.25, (4, 4)), (16, 0.0, 0.0, (0, 0)), (3, 0.5, 0.5, (2, 1)), (8, 1.0, 0.0, (8, 0))],
)
def test_batches_are_made_up_as_the_shares_say(
    size: int, examples: float, exploration: float, of_each: tuple[int, int]
) -> None:
    algorithm = EBGFN(TASK, replace(SMALL, batch_size=size, examples=examples, exploration=exploration), 0, CPU)
    written: list[tuple[int, float]] = []
    write = algorithm.write

    def watched(keys: torch.Tensor, temperature: float) -> torch.Tensor:
        written.append((len(keys), temperature))
        return write(keys, temperature)

    algorithm.write = watched
    real = TASK.sample(size, np.random.default_rng(0))
    batch = algorithm.draw_batch(torch.from_numpy(real))
    num_examples, num_explored = of_each
    assert batch.shape == (size, TASK.max_length)
    assert np.array_equal(batch[:num_examples].numpy(), real[:num_examples])
    assert written == [(num_explored, 4.0), (size - num_examples - num_explored, 1.0)]
    assert algorithm.env_steps == (size - num_examples) * TASK.max_length


LEARNING = EBGFNConfig(rounds=500, discriminator_rounds=50, batch_size=128, hidden_dim=32)


@pytest.mark.slow
def test_it_learns_the_examples_distribution() -> None:
    end = trained(EBGFN(TASK, LEARNING, 0, CPU), TASK)
    assert end["accuracy"] > 0.99
    assert end["jsd"] < 0.01
    assert end["coverage"] == 1


@pytest.mark.slow
def test_where_the_discriminator_never_learns_it_learns_nothing() -> None:
    """Frozen at random, and without examples in the policy's batch."""
    frozen = replace(LEARNING.discriminator, learning_rate=1e-12)
    end = trained(EBGFN(TASK, replace(LEARNING, rounds=200, discriminator=frozen, examples=0.0), 0, CPU), TASK)
    assert end["accuracy"] == pytest.approx(6 / 16, abs=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"examples": 0.75, "exploration": 0.5}, "examples and exploration must be 1 at most together, got 1.25"),
        ({"exploration_temperature": 2.0}, "exploration_temperature has no effect with exploration 0"),
        ({"mle_learning_rate": 1e-2}, "mle_learning_rate has no effect with mle_rounds 0"),
        ({"discriminator": AdversaryConfig(kind="plain")}, "discriminator.kind must be ratio"),
        ({"discriminator": AdversaryConfig(reward_transform="probability")}, "reward_transform log-ratio"),
        ({"examples": 1.5}, "examples must be from 0 to 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        EBGFNConfig(**settings)
