"""Dropout of the generators: in maximum likelihood alone, with random numbers of its own."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from formula_env.adversarial import mle_step
from formula_env.networks import Generator, LSTMGenerator, RelationalMemoryGenerator, TransformerGenerator
from formula_env.networks.generators import Dropout
from formula_env.optimizers import adam
from formula_env.sampling import log_prob
from formula_env.tasks import make_task
from tests.helpers import assert_equal_states, saved_and_loaded

TASK = make_task("binary-sum", length=6)
Make = Callable[[int], Generator]


def lstm(seed: int) -> Generator:
    torch.manual_seed(seed)
    return LSTMGenerator(TASK.vocabulary, 8, 16, dropout=0.5)


def transformer(seed: int) -> Generator:
    torch.manual_seed(seed)
    return TransformerGenerator(TASK.vocabulary, TASK.max_length, hidden_dim=16, layers=2, heads=2, dropout=0.5)


def memory(seed: int) -> Generator:
    torch.manual_seed(seed)
    return RelationalMemoryGenerator(TASK.vocabulary, embedding_dim=8, hidden_dim=16, heads=2, dropout=0.5)


each = pytest.mark.parametrize("make", [lstm, transformer, memory])


def formulae() -> torch.Tensor:
    return torch.from_numpy(TASK.sample(8, np.random.default_rng(0)))


def test_it_keeps_the_mean_and_drops_its_share() -> None:
    torch.manual_seed(0)
    dropout = Dropout(0.3)
    x = torch.ones(100_000)
    assert dropout.eval()(x) is x
    dropped = dropout.train()(x)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert (dropped == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert not torch.equal(dropped, dropout(x))


@each
def test_it_acts_in_maximum_likelihood_alone(make: Make) -> None:
    generator, tokens = make(0), formulae()
    exact = log_prob(generator, TASK.vocabulary, tokens)
    torch.testing.assert_close(generator.log_prob(tokens), exact.float(), atol=1e-5, rtol=0)
    optimizer = adam(generator.parameters(), 0.0)
    losses = {
        mle_step(generator, optimizer, tokens, TASK.vocabulary.pad, 1.0)["train/nll"].item() for _ in range(3)
    }
    assert len(losses) == 3
    torch.testing.assert_close(generator.log_prob(tokens), exact.float(), atol=1e-5, rtol=0)


@each
def test_its_random_numbers_are_part_of_the_state(make: Make) -> None:
    one, other, tokens = make(0), make(1), formulae()
    one.train()
    one(tokens)
    other.load_state_dict(saved_and_loaded(one.state_dict()))
    other.train()
    assert torch.equal(one(tokens), other(tokens))
    assert_equal_states(one.state_dict(), other.state_dict())


def test_without_it_an_lstm_draws_no_random_numbers_for_it() -> None:
    """So that what was recorded before there was any is repeated."""
    LSTMGenerator(TASK.vocabulary, 8, 16)
    torch.manual_seed(0)
    embedding = torch.nn.Embedding(TASK.vocabulary.size + 2, 8)
    lstm, output = torch.nn.LSTM(8, 16, batch_first=True), torch.nn.Linear(16, TASK.vocabulary.size)
    after = torch.rand(3)
    torch.manual_seed(0)
    generator = LSTMGenerator(TASK.vocabulary, 8, 16)
    assert torch.equal(torch.rand(3), after)
    assert torch.equal(generator.embedding.weight, embedding.weight)
    assert torch.equal(generator.output.weight, output.weight)
    for one, other in zip(generator.lstm.all_weights[0], lstm.all_weights[0], strict=True):
        assert torch.equal(one, other)


@each
def test_the_state_of_the_lstm_layer_stays_that_of_training(make: Make) -> None:
    """cuDNN refuses the gradient of an LSTM in evaluation mode, which the policy gradient needs."""
    generator = make(0).eval()
    assert not generator.training
    for module in generator.modules():
        assert module.training is isinstance(module, torch.nn.LSTM)
