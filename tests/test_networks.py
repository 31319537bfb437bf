from collections.abc import Callable
from math import log, sqrt

import numpy as np
import pytest
import torch
from torch import nn

from formula_env.networks import DISCRIMINATORS, Generator, discriminators, make_discriminator
from formula_env.networks.decoding import DecodedGenerator, Decoding
from formula_env.networks.discriminators import SequenceLinear, one_hot
from formula_env.networks.generators import TILE
from formula_env.networks.policy import UniformPolicy
from formula_env.rewards import DiscriminatorReward
from formula_env.sampling import log_prob, sample
from formula_env.tasks import make_task
from formula_env.tasks.base import SequenceTask
from tests.helpers import (
    name_of,
    opinionated_memory,
    opinionated_pair,
    opinionated_transformer,
    opinionated_worker,
    sharpen,
    small_tasks,
)
from tests.oracles import all_sequences

tasks = pytest.mark.parametrize("task", small_tasks(), ids=name_of)
MAKERS = [opinionated_pair, opinionated_transformer, opinionated_memory, opinionated_worker]
architectures = pytest.mark.parametrize("make", MAKERS)
Make = Callable[[SequenceTask], tuple[Generator, DiscriminatorReward]]


@architectures
@tasks
def test_probabilities_over_all_sequences_sum_to_one(make: Make, task: SequenceTask) -> None:
    generator, _ = make(task)
    with torch.no_grad():
        total = generator.log_prob(all_sequences(task)).double().exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-5)


@architectures
@tasks
def test_teacher_forcing_equals_stepping(make: Make, task: SequenceTask) -> None:
    generator, _ = make(task)
    sequences = all_sequences(task)[::3]
    stepped = log_prob(generator, task.vocabulary, sequences)
    with torch.no_grad():
        forced = generator.log_prob(sequences).double()
    torch.testing.assert_close(stepped, forced, atol=1e-4, rtol=0)


@pytest.mark.parametrize("n", [1, TILE - 1, TILE, TILE + 1, 2 * TILE + 300])
def test_a_cell_in_tiles_is_the_cell(n: int) -> None:
    """With a gradient all rows are done at once; without one, many are done in tiles."""
    task = make_task("signed-equation", length=7)
    generator, _ = opinionated_pair(task)
    rng = torch.Generator().manual_seed(0)
    symbols = torch.randint(task.vocabulary.size, (n,), generator=rng)
    size = generator.start(1)[0].shape[1]
    state = torch.randn((n, size), generator=rng), torch.randn((n, size), generator=rng)
    before = [each.clone() for each in state]
    logits, (hidden, cell) = generator.step(symbols, state)
    with torch.no_grad():
        fast_logits, (fast_hidden, fast_cell) = generator.step(symbols, state)
    for one, other in ((logits, fast_logits), (hidden, fast_hidden), (cell, fast_cell)):
        assert one.requires_grad
        torch.testing.assert_close(one.detach(), other, atol=1e-6, rtol=1e-5)
    for one, other in zip(state, before, strict=True):
        assert torch.equal(one, other), "a state that others share is left as it is"


@architectures
@tasks
def test_sampling_follows_the_probabilities(make: Make, task: SequenceTask) -> None:
    generator, _ = make(task)
    sequences = all_sequences(task)
    with torch.no_grad():
        probs = generator.log_prob(sequences).double().exp().numpy()
    n = 40_000
    drawn = sample(generator, task.vocabulary, task.max_length, n, torch.Generator().manual_seed(5)).numpy()
    place = {tuple(row): i for i, row in enumerate(sequences.tolist())}
    counts = np.bincount([place[tuple(row)] for row in drawn.tolist()], minlength=len(sequences))
    frequent = n * probs > 5
    chi_square = ((counts - n * probs) ** 2 / (n * probs))[frequent].sum()
    assert abs(chi_square - frequent.sum()) < 5 * sqrt(2 * frequent.sum())
    rare = n * probs[~frequent].sum()
    assert abs(counts[~frequent].sum() - rare) < 5 * sqrt(rare) + 1


@architectures
@tasks
def test_a_tempered_generator_is_a_policy_with_its_density(make: Make, task: SequenceTask) -> None:
    """Each logit is divided, each conditional normalised anew; stepping gives the same."""
    generator, _ = make(task)
    sequences = all_sequences(task)
    with torch.no_grad():
        plain = generator.log_prob(sequences)
        torch.testing.assert_close(DecodedGenerator(generator, Decoding(1.0)).log_prob(sequences), plain)
        for temperature in (2.0, 5.0, 1e6):
            tempered = DecodedGenerator(generator, Decoding(temperature))
            forced = tempered.log_prob(sequences)
            assert forced.double().exp().sum().item() == pytest.approx(1, abs=1e-5)
            stepped = log_prob(tempered, task.vocabulary, sequences).float()
            torch.testing.assert_close(stepped, forced, atol=1e-4, rtol=0)
            scaled = (generator(sequences) / temperature).exp()
            conditional = scaled / scaled.sum(dim=-1, keepdim=True)
            chosen = (conditional * one_hot(sequences, task.vocabulary.size)).sum(dim=-1)
            by_hand = torch.where(sequences == task.vocabulary.pad, 1.0, chosen).prod(dim=1).log()
            torch.testing.assert_close(forced, by_hand, atol=1e-4, rtol=0)
    written = (sequences != task.vocabulary.pad).sum(dim=1)
    torch.testing.assert_close(forced, -written * log(task.vocabulary.size), atol=1e-3, rtol=0)


@tasks
def test_the_uniform_policy_is_uniform_over_legal_symbols(task: SequenceTask) -> None:
    policy = UniformPolicy(task)
    sequences = all_sequences(task)
    probs = log_prob(policy, task.vocabulary, sequences).exp()
    assert probs.sum().item() == pytest.approx(1)
    correct = torch.from_numpy(task.is_correct(sequences.numpy()))
    assert (probs[correct] > 0).all()


@pytest.mark.parametrize("name", DISCRIMINATORS)
@tasks
def test_discriminators_read_ids_and_relaxed_one_hots_alike(name: str, task: SequenceTask) -> None:
    discriminator = make_discriminator(name, task)
    tokens = all_sequences(task)[:40]
    relaxed = one_hot(tokens, task.vocabulary.size)
    assert relaxed.shape == (40, task.max_length, task.vocabulary.size)
    assert relaxed.sum(-1).equal((tokens != task.vocabulary.pad).float())
    logits = discriminator(tokens)
    assert logits.shape == (40,)
    torch.testing.assert_close(discriminator(relaxed), logits)
    relaxed.requires_grad_()
    discriminator(relaxed).sum().backward()
    assert relaxed.grad is not None
    assert (relaxed.grad.abs().sum(dim=(0, 2)) > 0).all(), "every position matters"


@pytest.mark.parametrize("narrow", [0, 10**6])
def test_a_linear_layer_on_ids_is_one_on_their_one_hots(narrow: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked up or multiplied: same values and same gradients, PAD included."""
    monkeypatch.setattr(discriminators, "NARROW", narrow)
    layer = SequenceLinear(3, 5, 7)
    tokens = torch.tensor([[0, 1, 2, 0, 3], [2, 2, 1, 3, 3], [3, 3, 3, 3, 3]])
    expected = nn.functional.linear(one_hot(tokens, 3).flatten(1), layer.weight, layer.bias)
    result = layer(tokens)
    torch.testing.assert_close(result, expected)
    weights = torch.randn_like(result)
    ours, theirs = (torch.autograd.grad((y * weights).sum(), list(layer.parameters())) for y in (result, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_discriminators_see_where_a_symbol_stands(name: str) -> None:
    """No pooling over time: the same symbols in another order get another logit."""
    discriminator = make_discriminator(name, make_task("binary-sum"))
    sharpen(discriminator, 2.0)
    logits = discriminator(torch.eye(8, dtype=torch.int64))
    assert len(logits.unique()) == 8
