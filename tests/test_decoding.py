"""Decoding rules and masks make policies whose probabilities equal a plain renormalisation of every step."""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from formula_env.agents.mle import MLE, MLEConfig
from formula_env.errors import FormulaError
from formula_env.networks.decoding import Decoded, DecodedGenerator, Decoding, Masked
from formula_env.networks.policy import State, UniformPolicy
from formula_env.rollouts import exact_q
from formula_env.sampling import log_prob, sample
from formula_env.tasks import make_task
from formula_env.tasks.base import SequenceTask
from tests.helpers import name_of, opinionated_pair, sharpen, small_tasks
from tests.oracles import all_sequences, decoded_sequence_probs, is_well_formed

tasks = pytest.mark.parametrize("task", small_tasks(), ids=name_of)

RULES = [
    Decoding(),
    Decoding(temperature=0.5),
    Decoding(temperature=3.0),
    Decoding(top_k=1),
    Decoding(top_k=2),
    Decoding(top_k=100),
    Decoding(top_p=0.6),
    Decoding(epsilon=0.15),
    Decoding(epsilon=0.999),
    Decoding(temperature=2.0, top_k=3, top_p=0.8, epsilon=0.2),
]


def probs_of(policy: Any, task: SequenceTask, sequences: Tensor) -> Tensor:
    return log_prob(policy, task.vocabulary, sequences).exp()


@pytest.mark.parametrize("decoding", RULES, ids=str)
@tasks
def test_the_density_is_that_of_a_plain_renormalisation_at_every_step(
    task: SequenceTask, decoding: Decoding
) -> None:
    generator, _ = opinionated_pair(task)
    sequences = all_sequences(task)
    expected = torch.tensor(decoded_sequence_probs(generator, decoding, sequences), dtype=torch.float64)
    stepped = probs_of(Decoded(generator, decoding), task, sequences)
    assert stepped.sum().item() == pytest.approx(1, abs=1e-9)
    torch.testing.assert_close(stepped, expected, atol=1e-5, rtol=0)
    assert ((stepped > 0) == (expected > 0)).all()
    with torch.no_grad():
        at_once = DecodedGenerator(generator, decoding).log_prob(sequences).double().exp()
    torch.testing.assert_close(at_once, expected, atol=1e-5, rtol=0)


@tasks
def test_no_rule_leaves_the_logits_as_they_are_to_the_last_bit(task: SequenceTask) -> None:
    generator, _ = opinionated_pair(task)
    bos = torch.full((3,), task.vocabulary.bos)
    plain, _ = generator.step(bos, generator.start(3))
    decoded, _ = Decoded(generator, Decoding()).step(bos, generator.start(3))
    assert torch.equal(plain, decoded)


@tasks
def test_the_most_probable_symbol_always_stays(task: SequenceTask) -> None:
    """So the narrowest values of all rules, and a temperature near 0, mean the greedy formula."""
    generator, _ = opinionated_pair(task)
    sequences = all_sequences(task)
    greedy = probs_of(Decoded(generator, Decoding(top_k=1)), task, sequences)
    assert sorted(greedy.tolist())[-2:] == [0.0, 1.0]
    narrow = [Decoding(top_p=1e-9), Decoding(epsilon=1 - 1e-9), Decoding(temperature=1e-3), Decoding(1e-3, 2, 0.5)]
    for decoding in narrow:
        torch.testing.assert_close(probs_of(Decoded(generator, decoding), task, sequences), greedy)


@tasks
def test_a_high_temperature_makes_all_sequences_equally_probable_for_their_length(task: SequenceTask) -> None:
    generator, _ = opinionated_pair(task)
    sequences = all_sequences(task)
    length = (sequences != task.vocabulary.pad).sum(dim=1)
    uniform = float(task.vocabulary.size) ** -length.double()
    probs = probs_of(Decoded(generator, Decoding(temperature=1e7)), task, sequences)
    torch.testing.assert_close(probs, uniform, atol=0, rtol=1e-4)


def test_of_equally_probable_symbols_the_first_ones_are_kept() -> None:
    logits = torch.tensor([[0.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]])
    for decoding in (Decoding(top_k=2), Decoding(top_p=0.5)):
        kept = decoding.apply(logits) > -torch.inf
        assert kept.tolist() == [[False, True, True, False], [True, True, False, False]]
    assert (Decoding(epsilon=0.25).apply(logits) > -torch.inf).tolist() == [[False, True, True, True], [True] * 4]


@pytest.mark.parametrize("decoding", [Decoding(top_p=0.7), Decoding(0.7, 3, 0.95, 0.1)], ids=str)
@tasks
def test_sampling_follows_the_density(task: SequenceTask, decoding: Decoding) -> None:
    generator, _ = opinionated_pair(task)
    sequences = all_sequences(task)
    probs = np.array(decoded_sequence_probs(generator, decoding, sequences))
    n = 20_000
    policy = Decoded(generator, decoding)
    drawn = sample(policy, task.vocabulary, task.max_length, n, torch.Generator().manual_seed(1))
    place = {tuple(row): i for i, row in enumerate(sequences.tolist())}
    counts = np.bincount([place[tuple(row)] for row in drawn.tolist()], minlength=len(sequences))
    assert not counts[probs == 0].any()
    frequent = n * probs > 5
    chi_square = ((counts - n * probs) ** 2 / (n * probs).clip(1e-300))[frequent].sum()
    assert abs(chi_square - frequent.sum()) < 5 * sqrt(2 * frequent.sum())


def test_rollouts_follow_it_too() -> None:
    """The exact Q of the empty prefix is the expected score, weighted by hand."""
    task, decoding = make_task("signed-equation", length=5), Decoding(top_k=2, temperature=2.0)
    generator, reward = opinionated_pair(task)
    sequences = all_sequences(task)
    probs = torch.tensor(decoded_sequence_probs(generator, decoding, sequences), dtype=torch.float64)
    with torch.no_grad():
        expected = (probs * reward.score(sequences).double()).sum()
    first = torch.zeros(1, dtype=torch.int64)
    q = exact_q(Decoded(generator, decoding), reward.score, task.vocabulary, sequences[:1], first)
    torch.testing.assert_close(q[0, 0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature must be at least 0.001"),
        ({"temperature": float("nan")}, "temperature must be a number"),
        ({"top_k": -1}, "top_k must be at least 0"),
        ({"top_k": 1.5}, "top_k must be int"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1"),
        ({"top_p": 1.1}, "top_p must be above 0 and at most 1"),
        ({"epsilon": -0.1}, "epsilon must be at least 0 and below 1"),
        ({"epsilon": 1.0}, "epsilon must be at least 0 and below 1"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        Decoding(**options)


# --- masks ----------------------------------------------------------------------------------------------------


@dataclass
class ConstantPolicy:
    """Every symbol has the same logits everywhere."""

    logits: Tensor

    def start(self, n: int) -> State:
        return (torch.zeros(n, 1),)

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        return self.logits.expand(len(symbols), -1), state


@tasks
def test_a_masked_policy_is_well_formed_and_renormalised_at_every_step(task: SequenceTask) -> None:
    generator, _ = opinionated_pair(task)
    sequences = all_sequences(task)
    masked = probs_of(Masked(generator, task.legal_symbols, task.vocabulary), task, sequences)
    with torch.no_grad():
        conditional = torch.softmax(generator(sequences).double(), dim=-1)
    expected = torch.ones(len(sequences), dtype=torch.float64)
    for t in range(task.max_length):
        legal = torch.from_numpy(task.legal_symbols(sequences[:, :t].numpy()))
        probs = conditional[:, t] * legal
        probs = torch.nn.functional.pad(probs / probs.sum(dim=1, keepdim=True), (0, 1), value=1.0)  # PAD
        expected *= probs.gather(1, sequences[:, t, None])[:, 0]
    torch.testing.assert_close(masked, expected, atol=1e-6, rtol=0)
    assert masked.sum().item() == pytest.approx(1)
    assert torch.equal(masked > 0, is_well_formed(task, sequences))


@tasks
def test_without_a_preference_a_masked_policy_is_the_uniform_one(task: SequenceTask) -> None:
    sequences = all_sequences(task)
    constant = ConstantPolicy(torch.zeros(task.vocabulary.size))
    masked = Masked(constant, task.legal_symbols, task.vocabulary)
    torch.testing.assert_close(
        probs_of(masked, task, sequences), probs_of(UniformPolicy(task), task, sequences), atol=1e-12, rtol=0
    )


def test_where_the_policy_rules_out_what_the_mask_leaves_that_is_uniform() -> None:
    task = make_task("signed-equation", length=3)
    stubborn = ConstantPolicy(torch.tensor([0.0, *[-torch.inf] * 4]))  # writes 0 always
    masked = Masked(stubborn, task.legal_symbols, task.vocabulary)
    sequences = all_sequences(task)
    probs = probs_of(masked, task, sequences)
    assert task.decode(sequences[probs > 0].numpy()) == ["0=0"]
    forbids_zero = Masked(
        stubborn, lambda prefixes: np.arange(5) % 2 == np.ones((len(prefixes), 1)), task.vocabulary
    )
    probs = probs_of(forbids_zero, task, sequences)
    assert sorted(set(probs.tolist())) == pytest.approx([0, 1 / 8])


def test_a_trained_generator_cuts_what_is_improbable_for_its_number_of_symbols() -> None:
    """Below a share of 1/V, so that a large vocabulary, where all are improbable, keeps its symbols."""
    task = make_task("signed-equation", length=5)
    sequences = all_sequences(task)
    algorithm = MLE(task, MLEConfig(cutoff=0.5), 0, torch.device("cpu"))
    sharpen(algorithm.generator, 4.0)
    expected = log_prob(Decoded(algorithm.generator, Decoding(epsilon=0.5 / 5)), task.vocabulary, sequences)
    written = algorithm.log_prob(sequences.numpy())
    assert np.exp(written).sum() == pytest.approx(1)
    np.testing.assert_allclose(written, expected.numpy())
    assert 0 < np.isinf(written).mean() < 1
