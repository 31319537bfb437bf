"""Formulae that match a template are drawn from p(x | template), or where they are too many, under a mask."""

import re
from math import sqrt

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from formula_env.conditional import ConditionalSampler, MaskedSampler, conditional_sampler
from formula_env.errors import FormulaError
from formula_env.networks import LSTMGenerator
from formula_env.networks.decoding import Decoded, Decoding, Masked
from formula_env.sampling import log_prob
from formula_env.tasks import make_task, templates
from formula_env.tasks.base import SequenceTask
from formula_env.tasks.templates import TemplateMask, read_prefix, read_template
from tests.even_ones import EvenOnes
from tests.helpers import opinionated_pair
from tests.oracles import all_sequences, decoded_sequence_probs, is_well_formed
from tests.tasks.test_templates import OnlyMasks

CASES = [
    (make_task("signed-equation", length=5), "?+?=?", r".+\+.+=.+"),
    (make_task("binary-sum", length=6), "?1?", r".+1.+"),
    (EvenOnes(6), "?01", r".+01"),
]
"""A task, a template, and the regular expression of what matches it (all of these have one symbol a character)."""

on_each = pytest.mark.parametrize(("task", "text", "pattern"), CASES)
DECODING = Decoding(temperature=2.0, top_p=0.9)


def mask_of(task: SequenceTask, text: str) -> TemplateMask:
    return TemplateMask(task, read_template(text, task.vocabulary))


def conditional_by_hand(
    task: SequenceTask, generator: LSTMGenerator, decoding: Decoding, pattern: str
) -> dict[str, float]:
    """p(x | template): the probabilities of all sequences, those that match divided by their sum."""
    sequences = all_sequences(task)
    sequences = sequences[is_well_formed(task, sequences)]
    probs = dict(
        zip(task.decode(sequences.numpy()), decoded_sequence_probs(generator, decoding, sequences), strict=True)
    )
    matching = {text: p for text, p in probs.items() if re.fullmatch(pattern, text)}
    return {text: p / sum(matching.values()) for text, p in matching.items()}


def sampler_of(
    task: SequenceTask, generator: LSTMGenerator, decoding: Decoding, text: str
) -> ConditionalSampler | MaskedSampler:
    return conditional_sampler(generator, decoding, mask_of(task, text), "cpu")


def chi_square_is_small(counts: NDArray[np.int64], probs: NDArray[np.float64]) -> bool:
    expected = counts.sum() * probs
    frequent = expected > 5
    chi_square = ((counts - expected) ** 2 / expected.clip(1e-300))[frequent].sum()
    return bool(abs(chi_square - frequent.sum()) < 5 * sqrt(2 * frequent.sum()))


@pytest.mark.parametrize("decoding", [Decoding(), DECODING], ids=str)
@on_each
def test_a_template_s_probabilities_are_a_renormalised_enumeration(
    task: SequenceTask, text: str, pattern: str, decoding: Decoding
) -> None:
    generator, _ = opinionated_pair(task)
    expected = conditional_by_hand(task, generator, decoding, pattern)
    for known in (task, OnlyMasks(task)):
        sampler = sampler_of(known, generator, decoding, text)
        assert isinstance(sampler, ConditionalSampler)
        found = dict(zip(task.decode(sampler.formulae), np.exp(sampler.log_probs).tolist(), strict=True))
        assert found == pytest.approx(expected, abs=1e-5)
        assert sum(found.values()) == pytest.approx(1)
        assert "drawn from p(x | template) exactly" in sampler.description


@on_each
def test_draws_have_these_probabilities_and_depend_on_the_seed(
    task: SequenceTask, text: str, pattern: str
) -> None:
    generator, _ = opinionated_pair(task)
    expected = conditional_by_hand(task, generator, DECODING, pattern)
    sampler = sampler_of(task, generator, DECODING, text)
    drawn = task.decode(sampler.sample(20_000, seed=1))
    counts = np.array([drawn.count(formula) for formula in expected])
    assert counts.sum() == 20_000
    assert chi_square_is_small(counts, np.array(list(expected.values())))
    one, same, other = (sampler.sample(50, seed).tolist() for seed in (2, 2, 3))
    assert one == same != other


@on_each
def test_too_many_to_list_are_written_under_the_mask(
    task: SequenceTask, text: str, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All match, though the masks of a task that is no automaton lead to dead ends."""
    generator, _ = opinionated_pair(task)
    monkeypatch.setattr(templates, "MATCH_LIMIT", 1)
    expected = conditional_by_hand(task, generator, Decoding(), pattern)
    for known in (task, OnlyMasks(task)):
        sampler = sampler_of(known, generator, Decoding(), text)
        assert isinstance(sampler, MaskedSampler)
        assert "which is not p(x | template)" in sampler.description
        drawn = sampler.sample(500, seed=0)
        assert drawn.shape == (500, task.max_length)
        assert set(task.decode(drawn)) <= set(expected)
        assert np.array_equal(drawn, sampler.sample(500, seed=0))


@on_each
def test_a_masked_policy_s_density_is_all_on_what_matches(task: SequenceTask, text: str, pattern: str) -> None:
    generator, _ = opinionated_pair(task)
    policy = Decoded(Masked(generator, mask_of(task, text).legal_symbols, task.vocabulary), DECODING)
    sequences = all_sequences(task)
    probs = log_prob(policy, task.vocabulary, sequences).exp()
    assert probs.sum().item() == pytest.approx(1)
    texts = task.decode(sequences[probs > 0].numpy())
    assert set(texts) <= set(conditional_by_hand(task, generator, Decoding(), pattern))


def test_a_prefix_that_the_rules_rule_out_is_written_under_the_mask() -> None:
    """Greedily, from the prefix on."""
    task = make_task("binary-sum", length=6)
    generator, _ = opinionated_pair(task)
    greedy = Decoding(top_k=1)
    first = task.decode(sampler_of(task, generator, greedy, "?").sample(1, seed=0))[0]
    other = "1" if first[0] == "0" else "0"
    mask = TemplateMask(task, read_prefix(other, task.vocabulary))
    sampler = conditional_sampler(generator, greedy, mask, "cpu")
    assert "unasked, the generator never writes what matches the prefix" in sampler.description
    drawn = set(task.decode(sampler.sample(20, seed=0)))
    assert len(drawn) == 1
    with torch.no_grad():
        prefix = [int(other)]
        while len(prefix) < 6:
            padded = torch.tensor([[*prefix, *[0] * (6 - len(prefix))]])
            prefix.append(int(generator(padded)[0, len(prefix)].argmax()))
    assert drawn == {"".join(map(str, prefix))}


def test_what_is_only_found_out_to_match_nothing_is_refused() -> None:
    task = make_task("signed-equation", length=5)
    generator, _ = opinionated_pair(task)
    with pytest.raises(FormulaError, match=r"no well-formed formula matches the template \?=\?=\?"):
        sampler_of(OnlyMasks(task), generator, Decoding(), "?=?=?")
    with pytest.raises(FormulaError, match=r"no well-formed formula of at most 5 symbols matches the template"):
        sampler_of(task, generator, Decoding(), "?=?=?")


def test_dead_ends_alone_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task("signed-equation", length=5)
    generator, _ = opinionated_pair(task)
    monkeypatch.setattr(templates, "MATCH_LIMIT", 1)
    sampler = sampler_of(OnlyMasks(task), generator, Decoding(), "?=?=?")
    with pytest.raises(FormulaError, match="only 0 of 1,000 formulae came to match the template"):
        sampler.sample(10, seed=0)
