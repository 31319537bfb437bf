from math import sqrt

import numpy as np
import pytest
import torch
from torch import Tensor

from formula_env import rollouts
from formula_env.errors import FormulaError
from formula_env.networks.policy import UniformPolicy
from formula_env.rewards import ExactReward
from formula_env.rollouts import exact_q, monte_carlo_q, rollout_streams, stream_uniforms
from formula_env.tasks import make_task
from formula_env.tasks.base import Task
from tests.even_ones import EvenOnes
from tests.helpers import name_of, opinionated_pair, small_tasks
from tests.oracles import all_sequences, brute_force_q, plain_loop_q

tasks = pytest.mark.parametrize("task", small_tasks(), ids=name_of)


def all_prefixes(task: Task) -> tuple[Tensor, Tensor]:
    """Every prefix of every sequence: tokens `(m, T)` filled with PAD, and lengths `(m,)`."""
    sequences = all_sequences(task)
    tokens, lengths = [], []
    for t in range(task.max_length + 1):
        prefixes = torch.unique(sequences[:, :t], dim=0) if t else sequences[:1, :0]
        padded = torch.full((len(prefixes), task.max_length), task.vocabulary.pad)
        padded[:, :t] = prefixes
        tokens.append(padded)
        lengths.append(torch.full((len(prefixes),), t))
    return torch.cat(tokens), torch.cat(lengths)


def keys(n: int, seed: int = 0) -> Tensor:
    return torch.randint(2**62, (n,), generator=torch.Generator().manual_seed(seed))


@tasks
def test_exact_q_equals_brute_force(task: Task) -> None:
    generator, reward = opinionated_pair(task)
    tokens, lengths = all_prefixes(task)
    q = exact_q(generator, reward.score, task.vocabulary, tokens, lengths)
    for i in range(0, len(tokens), max(1, len(tokens) // 60)):
        expected = brute_force_q(generator, reward.score, task, tokens[i, : lengths[i]])
        assert q[i].item() == pytest.approx(expected, abs=1e-5)


@tasks
@pytest.mark.parametrize("judge", ["checker", "discriminator"])
def test_monte_carlo_q_follows_exact_q(task: Task, judge: str) -> None:
    """For every prefix, with N=16; the bug to catch is a reward given to the wrong prefix."""
    generator, reward = opinionated_pair(task)
    score = ExactReward(task).score if judge == "checker" else reward.score
    tokens, lengths = all_prefixes(task)
    exact = exact_q(generator, score, task.vocabulary, tokens, lengths)
    estimate = monte_carlo_q(generator, score, task.vocabulary, tokens, lengths, keys(len(tokens)), 16)
    open_ = lengths < task.max_length
    assert np.corrcoef(exact[open_], estimate[open_])[0, 1] > 0.9
    torch.testing.assert_close(estimate[~open_], exact[~open_])


@pytest.mark.parametrize(
    "task", [make_task("binary-sum", length=6), make_task("signed-equation", length=3), EvenOnes(5)], ids=name_of
)
def test_monte_carlo_q_is_unbiased(task: Task) -> None:
    """For every prefix, with a discriminator that has opinions: the mean of many estimates is exact Q."""
    generator, reward = opinionated_pair(task)
    tokens, lengths = all_prefixes(task)
    exact = exact_q(generator, reward.score, task.vocabulary, tokens, lengths)
    repeats = 400
    estimates = torch.stack(
        [
            monte_carlo_q(generator, reward.score, task.vocabulary, tokens, lengths, keys(len(tokens), r), 4)
            for r in range(repeats)
        ]
    )
    error = estimates.mean(0) - exact
    spread = estimates.std(0) / sqrt(repeats)
    certain = spread < 1e-9
    assert error[certain].abs().max() < 1e-5
    z = (error / spread)[~certain]
    assert z.abs().max() < 5
    assert abs(z.square().mean() - 1) < 4 * sqrt(2 / len(z))


@pytest.mark.parametrize("task", [t for t in small_tasks() if t.vocabulary.eos is None], ids=name_of)
def test_shared_rollouts_agree_with_the_plain_loop(task: Task) -> None:
    """Same expectation as the loop that public implementations run, position by position (it knows no EOS)."""
    generator, reward = opinionated_pair(task)
    sequences = all_sequences(task)
    tokens = sequences[torch.randint(len(sequences), (8,), generator=torch.Generator().manual_seed(3))]
    rows = torch.arange(8).repeat_interleave(task.max_length)
    lengths = torch.arange(1, task.max_length + 1).repeat(8)
    shared = monte_carlo_q(
        generator, reward.score, task.vocabulary, tokens[rows], lengths, keys(len(rows)), 2_000
    ).view(8, -1)
    plain = plain_loop_q(generator, reward.score, task.vocabulary, tokens, 2_000)
    assert (shared - plain).abs().max() < 5 * 0.5 * sqrt(2 / 2_000)
    torch.testing.assert_close(shared[:, -1], plain[:, -1])


@tasks
def test_an_estimate_depends_on_its_own_key_alone(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on the order of the batch, on the company in it, nor on how it is cut into chunks."""
    generator, reward = opinionated_pair(task)
    tokens, lengths = all_prefixes(task)
    key = keys(len(tokens))

    def estimate(rows: Tensor) -> Tensor:
        return monte_carlo_q(generator, reward.score, task.vocabulary, tokens[rows], lengths[rows], key[rows], 8)

    everything = torch.arange(len(tokens))
    together = estimate(everything)
    torch.testing.assert_close(estimate(everything.flip(0)).flip(0), together, atol=1e-6, rtol=0)
    torch.testing.assert_close(estimate(everything[5:9]), together[5:9], atol=1e-6, rtol=0)
    monkeypatch.setattr(rollouts, "PARTICLE_LIMIT", 8 * 7)
    torch.testing.assert_close(estimate(everything), together, atol=1e-6, rtol=0)


@tasks
def test_each_distinct_formula_is_judged_once(task: Task) -> None:
    judged: list[Tensor] = []

    def count(formulae: Tensor) -> Tensor:
        judged.append(formulae)
        return torch.zeros(len(formulae))

    generator, _ = opinionated_pair(task)
    tokens, lengths = all_prefixes(task)
    monte_carlo_q(generator, count, task.vocabulary, tokens, lengths, keys(len(tokens)), 32)
    (formulae,) = judged
    assert len(torch.unique(formulae, dim=0)) == len(formulae)


def test_completions_keep_their_prefix_and_end_properly() -> None:
    for task in small_tasks():
        seen: list[Tensor] = []

        def remember(formulae: Tensor, seen: list[Tensor] = seen) -> Tensor:
            seen.append(formulae)
            return torch.zeros(len(formulae))

        generator, _ = opinionated_pair(task)
        prefix = torch.full((1, task.max_length), task.vocabulary.pad)
        prefix[0, :2] = torch.tensor([1, 0])
        monte_carlo_q(generator, remember, task.vocabulary, prefix, torch.tensor([2]), keys(1), 500)
        possible = {tuple(row) for row in all_sequences(task).tolist()}
        assert {tuple(row) for row in seen[0].tolist()} <= possible
        assert (seen[0][:, :2] == prefix[0, :2]).all()


def test_illegal_symbols_never_occur_under_a_policy_that_excludes_them() -> None:
    task = make_task("signed-equation", length=9)
    seen: list[Tensor] = []

    def remember(formulae: Tensor) -> Tensor:
        seen.append(formulae)
        return torch.zeros(len(formulae))

    empty = torch.full((1, 9), task.vocabulary.pad)
    arguments = (UniformPolicy(task), remember, task.vocabulary, empty, torch.tensor([0]))
    monte_carlo_q(*arguments, keys(1), 3_000)
    exact_q(*arguments)
    sampled, listed = (formulae.numpy() for formulae in seen)
    for t in range(9):
        assert task.legal_symbols(sampled[:, :t])[np.arange(len(sampled)), sampled[:, t]].all()
    assert len(listed) == 4 * 2**3 * 2**5  # places of "=", signs, digits


def test_long_formulae_of_many_symbols_do_not_overflow() -> None:
    """100^64 prefixes exist; only those that are met are numbered."""
    from formula_env.networks import LSTMGenerator
    from formula_env.vocabulary import Vocabulary

    vocabulary = Vocabulary(tuple(chr(0x4E00 + i) for i in range(100)))
    generator = LSTMGenerator(vocabulary, 4, 8)
    tokens = torch.full((3, 64), 99)
    judged: list[Tensor] = []

    def last_symbol(formulae: Tensor) -> Tensor:
        judged.append(formulae)
        return formulae[:, 0].float()

    q = monte_carlo_q(generator, last_symbol, vocabulary, tokens, torch.tensor([1, 30, 64]), keys(3), 5)
    assert q.tolist() == [99.0, 99.0, 99.0]
    assert (judged[0][:, 0] == 99).all()
    assert len(judged[0]) <= 11


def test_exact_q_refuses_a_tree_that_is_too_large() -> None:
    task = make_task("binary-sum", length=32)
    generator, reward = opinionated_pair(task)
    empty = torch.full((1, 32), task.vocabulary.pad)
    with pytest.raises(FormulaError, match="more than 131,072 prefixes"):
        exact_q(generator, reward.score, task.vocabulary, empty, torch.tensor([0]))


def test_stream_uniforms_are_uniform_and_independent() -> None:
    streams = rollout_streams(torch.arange(500), 40)
    assert len(streams.unique()) == streams.numel()
    draws = torch.stack([stream_uniforms(streams, t) for t in range(5)])
    assert draws.min() >= 0
    assert draws.max() < 1
    counts = torch.histc(draws.float(), 50, 0, 1)
    expected = draws.numel() / 50
    assert ((counts - expected) ** 2 / expected).sum() < 49 + 5 * sqrt(2 * 49)
    neighbours = [
        np.corrcoef(draws[0].ravel(), draws[1].ravel())[0, 1],
        np.corrcoef(draws[0, :-1].ravel(), draws[0, 1:].ravel())[0, 1],
        np.corrcoef(draws[0, :, :-1].ravel(), draws[0, :, 1:].ravel())[0, 1],
    ]
    assert max(map(abs, neighbours)) < 5 / sqrt(500 * 39)
