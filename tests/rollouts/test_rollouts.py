from collections.abc import Callable
from math import sqrt

import numpy as np
import pytest
import torch
from torch import Tensor

from formula_env.errors import FormulaError
from formula_env.networks.policy import UniformPolicy
from formula_env.rewards import ExactReward
from formula_env.rollouts import completions, exact_q, fronts, inverse_cdf, monte_carlo, monte_carlo_q
from formula_env.sampling import sample
from formula_env.tasks import make_task
from formula_env.tasks.base import SequenceTask
from tests.even_ones import EvenOnes
from tests.helpers import name_of, opinionated_pair, small_tasks
from tests.oracles import all_sequences, batched_q, brute_force_q, plain_loop_q

tasks = pytest.mark.parametrize("task", small_tasks(), ids=name_of)


def all_prefixes(task: SequenceTask) -> tuple[Tensor, Tensor]:
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


def q_of(estimator: Callable[..., Tensor], lengths: Tensor, *arguments: object) -> Tensor:
    """Q `(m,)` of prefixes of these lengths, from an estimator that gives all of them."""
    return estimator(*arguments).gather(1, lengths[:, None])[:, 0]


@tasks
def test_exact_q_equals_brute_force(task: SequenceTask) -> None:
    generator, reward = opinionated_pair(task)
    tokens, lengths = all_prefixes(task)
    q = q_of(exact_q, lengths, generator, reward.score, task.vocabulary, tokens, lengths)
    for i in range(0, len(tokens), max(1, len(tokens) // 60)):
        expected = brute_force_q(generator, reward.score, task, tokens[i, : lengths[i]])
        assert q[i].item() == pytest.approx(expected, abs=1e-5)


@tasks
@pytest.mark.parametrize("estimator", [monte_carlo_q, exact_q])
def test_all_prefixes_of_a_formula_at_once_are_the_same_as_each_alone(
    task: SequenceTask, estimator: object
) -> None:
    """Whole formulae from position 0 on, against every prefix with nothing behind it: number for number."""
    generator, reward = opinionated_pair(task)
    sequences = all_sequences(task)
    formulae = sequences[torch.randperm(len(sequences), generator=torch.Generator().manual_seed(1))[:12]]
    key = keys(len(formulae))
    start = torch.zeros(len(formulae), dtype=torch.int64)

    def q(tokens: Tensor, first: Tensor) -> Tensor:
        random = (key, 16) if estimator is monte_carlo_q else ()
        return estimator(generator, reward.score, task.vocabulary, tokens, first, *random)  # type: ignore[operator]

    together = q(formulae, start)
    ends = (formulae != task.vocabulary.pad).sum(dim=1)
    for t in range(task.max_length + 1):
        length = torch.minimum(torch.tensor(t), ends)
        alone = formulae.masked_fill(torch.arange(task.max_length) >= t, task.vocabulary.pad)
        expected = q(alone, length).gather(1, length[:, None])[:, 0]
        torch.testing.assert_close(together[:, t], expected, atol=1e-6, rtol=0)


@tasks
@pytest.mark.parametrize("judge", ["checker", "discriminator"])
def test_monte_carlo_q_follows_exact_q(task: SequenceTask, judge: str) -> None:
    """For every prefix, with N=16; the bug to catch is a reward given to the wrong prefix."""
    generator, reward = opinionated_pair(task)
    score = ExactReward(task).score if judge == "checker" else reward.score
    tokens, lengths = all_prefixes(task)
    arguments = (generator, score, task.vocabulary, tokens, lengths)
    exact = q_of(exact_q, lengths, *arguments)
    estimate = q_of(monte_carlo_q, lengths, *arguments, keys(len(tokens)), 16)
    open_ = lengths < task.max_length
    assert np.corrcoef(exact[open_], estimate[open_])[0, 1] > 0.9
    torch.testing.assert_close(estimate[~open_], exact[~open_])


@pytest.mark.slow
@pytest.mark.parametrize(
    "task", [make_task("binary-sum", length=6), make_task("signed-equation", length=3), EvenOnes(5)], ids=name_of
)
def test_monte_carlo_q_is_unbiased(task: SequenceTask) -> None:
    """For every prefix, with a discriminator that has opinions: the mean of many estimates is exact Q."""
    generator, reward = opinionated_pair(task)
    tokens, lengths = all_prefixes(task)
    arguments = (generator, reward.score, task.vocabulary, tokens, lengths)
    exact = q_of(exact_q, lengths, *arguments)
    repeats = 400
    estimates = torch.stack(
        [q_of(monte_carlo_q, lengths, *arguments, keys(len(tokens), r), 4) for r in range(repeats)]
    )
    error = estimates.mean(0) - exact
    spread = estimates.std(0) / sqrt(repeats)
    certain = spread < 1e-9
    assert error[certain].abs().max() < 1e-5
    z = (error / spread)[~certain]
    assert z.abs().max() < 5
    assert abs(z.square().mean() - 1) < 4 * sqrt(2 / len(z))


@pytest.mark.slow
@pytest.mark.parametrize("task", [t for t in small_tasks() if t.vocabulary.eos is None], ids=name_of)
@pytest.mark.parametrize("plain_q", [plain_loop_q, batched_q])
def test_shared_rollouts_agree_with_plain_ones(task: SequenceTask, plain_q: Callable[..., Tensor]) -> None:
    """Same expectation as the loop that public implementations run, and as one large batch (they know no EOS)."""
    generator, reward = opinionated_pair(task)
    sequences = all_sequences(task)
    tokens = sequences[torch.randint(len(sequences), (8,), generator=torch.Generator().manual_seed(3))]
    first = torch.ones(8, dtype=torch.int64)
    shared = monte_carlo_q(generator, reward.score, task.vocabulary, tokens, first, keys(8), 2_000)[:, 1:]
    plain = plain_q(generator, reward.score, task.vocabulary, tokens, 2_000)
    assert (shared - plain).abs().max() < 5 * 0.5 * sqrt(2 / 2_000)
    torch.testing.assert_close(shared[:, -1], plain[:, -1])


@tasks
def test_completions_from_fixed_prefixes_follow_the_policy(task: SequenceTask) -> None:
    """Chi-square, for each prefix of a formula: its N completions against their exact probabilities."""
    generator, _ = opinionated_pair(task)
    sequences = all_sequences(task)
    place = {tuple(row): i for i, row in enumerate(sequences.tolist())}
    with torch.no_grad():
        probs = generator.log_prob(sequences).double().exp()
    formula = sequences[[int(probs.argmax())]]
    n, length = 20_000, task.max_length
    # A rollout that leaves its formula at t completes all prefixes since it left it before.
    completed = torch.full((length + 1, n), place[tuple(formula[0].tolist())])
    ends_at = torch.full((length, n), -1)
    for end in completions(generator, task.vocabulary, formula, torch.tensor([0]), keys(1, seed=8), n):
        ends_as = torch.tensor([place[tuple(row)] for row in end.formulae.tolist()])
        ends_at[end.left_at, end.left.number] = ends_as[end.left.node]
    for t in reversed(range(length)):
        completed[t] = torch.where(ends_at[t] >= 0, ends_at[t], completed[t + 1])
    for t in range(length):
        within = (sequences[:, :t] == formula[:, :t]).all(dim=1)
        expected = n * probs * within / (probs * within).sum()
        counts = torch.bincount(completed[t], minlength=len(sequences))
        assert counts[~within].sum() == 0
        frequent = expected > 5
        chi_square = ((counts - expected) ** 2 / expected)[frequent].sum()
        freedom = max(1, int(frequent.sum()) - 1)
        assert chi_square < freedom + 5 * sqrt(2 * freedom)


@tasks
def test_the_rollouts_of_a_formula_are_independent(task: SequenceTask) -> None:
    """Rollouts n and n+1 of the empty prefix: as uncorrelated as their number allows."""
    generator, reward = opinionated_pair(task)
    n = 4_000
    empty = torch.full((2, task.max_length), task.vocabulary.pad)
    scores = torch.zeros(2, n, dtype=torch.float64)
    for end in completions(generator, task.vocabulary, empty, torch.tensor([0, 0]), keys(2), n):
        verdict = reward.score(end.formulae).double()
        scores.view(-1)[end.left.number] = verdict[end.left.node]
    for one, other in ((scores[0, :-1], scores[0, 1:]), (scores[0], scores[1])):
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / sqrt(n)


@pytest.mark.slow
@tasks
def test_an_estimate_depends_on_its_own_key_alone(task: SequenceTask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on the order of the batch, on the company in it, nor on how the work is cut up."""
    generator, reward = opinionated_pair(task)
    tokens, lengths = all_prefixes(task)
    key = keys(len(tokens))

    def estimate(rows: Tensor) -> Tensor:
        arguments = (generator, reward.score, task.vocabulary, tokens[rows], lengths[rows], key[rows], 8)
        return q_of(monte_carlo_q, lengths[rows], *arguments)

    everything = torch.arange(len(tokens))
    together = estimate(everything)
    torch.testing.assert_close(estimate(everything.flip(0)).flip(0), together, atol=1e-6, rtol=0)
    torch.testing.assert_close(estimate(everything[5:9]), together[5:9], atol=1e-6, rtol=0)
    for limit in (1, 7):
        monkeypatch.setattr(fronts, "NODE_LIMIT", limit)
        torch.testing.assert_close(estimate(everything), together, atol=1e-6, rtol=0)
    monkeypatch.setattr(monte_carlo, "DRAW_LIMIT", 8 * 7 * task.max_length)
    torch.testing.assert_close(estimate(everything), together, atol=1e-6, rtol=0)


def test_the_node_limit_bounds_what_the_policy_and_the_judge_see(monkeypatch: pytest.MonkeyPatch) -> None:
    """And costs no sharing: no prefix is stepped twice, no formula judged twice, however small the parts."""
    task = make_task("binary-sum", length=10)
    generator, _ = opinionated_pair(task)
    stepped: list[Tensor] = []
    judged: list[Tensor] = []
    step = generator.step

    def watch(symbols: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        stepped.append(symbols)
        return step(symbols, state)

    def judge(formulae: Tensor) -> Tensor:
        judged.append(formulae)
        return torch.zeros(len(formulae))

    monkeypatch.setattr(generator, "step", watch)
    formulae = torch.from_numpy(task.sample(40, np.random.default_rng(0)))
    arguments = (generator, judge, task.vocabulary, formulae, torch.zeros(40, dtype=torch.int64), keys(40), 8)
    monte_carlo_q(*arguments)
    steps, verdicts = sum(map(len, stepped)), torch.cat(judged)
    assert max(map(len, stepped)) > 5
    assert len(torch.unique(verdicts, dim=0)) == len(verdicts)

    monkeypatch.setattr(fronts, "NODE_LIMIT", 5)
    stepped.clear()
    judged.clear()
    monte_carlo_q(*arguments)
    assert max(map(len, stepped)) <= 5
    assert max(map(len, judged)) <= 5
    assert sum(map(len, stepped)) == steps
    assert torch.equal(torch.unique(torch.cat(judged), dim=0), torch.unique(verdicts, dim=0))
    assert len(torch.cat(judged)) == len(verdicts)


def test_completions_keep_their_prefix_and_end_properly() -> None:
    for task in small_tasks():
        generator, _ = opinionated_pair(task)
        prefix = torch.full((1, task.max_length), task.vocabulary.pad)
        prefix[0, :2] = torch.tensor([1, 0])
        possible = {tuple(row) for row in all_sequences(task).tolist()}
        finished: list[int] = []
        for end in completions(generator, task.vocabulary, prefix, torch.tensor([2]), keys(1), 500):
            assert {tuple(row) for row in end.formulae.tolist()} <= possible
            assert (end.formulae[:, :2] == prefix[0, :2]).all()
            finished += end.left.number.tolist()
        assert sorted(finished) == list(range(500))


def test_illegal_symbols_never_occur_under_a_policy_that_excludes_them() -> None:
    task = make_task("signed-equation", length=9)
    seen: list[Tensor] = []

    def remember(formulae: Tensor) -> Tensor:
        seen.append(formulae)
        return torch.zeros(len(formulae))

    empty = torch.full((1, 9), task.vocabulary.pad)
    arguments = (UniformPolicy(task), remember, task.vocabulary, empty, torch.tensor([0]))
    exact_q(*arguments)
    monte_carlo_q(*arguments, keys(1), 3_000)
    listed, sampled = seen[0].numpy(), torch.cat(seen[1:]).numpy()
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

    def first_symbol(formulae: Tensor) -> Tensor:
        judged.append(formulae)
        return formulae[:, 0].float()

    first = torch.tensor([1, 30, 64])
    q = monte_carlo_q(generator, first_symbol, vocabulary, tokens, first, keys(3), 5)
    assert q.gather(1, first[:, None]).tolist() == [[99.0]] * 3
    assert (judged[0][:, 0] == 99).all()
    assert len(judged[0]) <= 1 + (63 + 34) * 5


def test_exact_q_refuses_a_tree_that_is_too_large() -> None:
    task = make_task("binary-sum", length=32)
    generator, reward = opinionated_pair(task)
    empty = torch.full((1, 32), task.vocabulary.pad)
    with pytest.raises(FormulaError, match="more than 131,072 prefixes"):
        exact_q(generator, reward.score, task.vocabulary, empty, torch.tensor([0]))


@pytest.mark.parametrize("vocab_size", [1, 2, 3, 5, 8, 13])
def test_inverse_cdf_finds_the_slice(vocab_size: int) -> None:
    """Against the definition: as many symbols are passed as have their whole slice at or below u."""
    random = torch.Generator().manual_seed(vocab_size)
    probs = torch.rand((20, vocab_size), generator=random, dtype=torch.float64)
    probs[::2, ::3] = 0
    probs[probs.sum(dim=1) == 0, -1] = 1
    cumulative = (probs / probs.sum(1, keepdim=True)).cumsum(1)
    cumulative /= cumulative[:, -1:]
    row = torch.randint(20, (3_500,), generator=random)
    u = torch.rand((3_500,), generator=random, dtype=torch.float64)
    expected = (u[..., None] >= cumulative[row][..., :-1]).sum(dim=-1)
    symbol = inverse_cdf(cumulative, row, u)
    assert torch.equal(symbol, expected)
    assert (probs[row, symbol] > 0).all()


def test_inverse_cdf_never_picks_what_has_no_probability() -> None:
    cumulative = torch.tensor([[0.0, 0.25, 0.25, 1.0, 1.0]], dtype=torch.float64)
    u = torch.tensor([0.0, 0.2, 0.25, 0.6, 1 - 2.0**-52], dtype=torch.float64)
    assert inverse_cdf(cumulative, torch.zeros(5, dtype=torch.int64), u).tolist() == [1, 1, 3, 3, 3]


def test_no_formulae_have_no_q() -> None:
    task = make_task("binary-sum", length=4)
    generator, reward = opinionated_pair(task)
    nothing = torch.empty(0, dtype=torch.int64)
    arguments = (generator, reward.score, task.vocabulary, torch.empty((0, 4), dtype=torch.int64), nothing)
    assert monte_carlo_q(*arguments, nothing, 3).shape == (0, 5)
    assert exact_q(*arguments).shape == (0, 5)
    assert sample(generator, task.vocabulary, 4, 0, torch.Generator()).shape == (0, 4)


def test_q_can_weigh_a_loss() -> None:
    """What comes out is an ordinary tensor, fit for autograd."""
    task = make_task("binary-sum", length=4)
    generator, reward = opinionated_pair(task)
    formulae = torch.from_numpy(task.enumerate())
    start = torch.zeros(len(formulae), dtype=torch.int64)
    arguments = (generator, reward.score, task.vocabulary, formulae, start)
    for q in (exact_q(*arguments), monte_carlo_q(*arguments, keys(len(formulae)), 2)):
        (generator.token_log_probs(formulae) * q[:, 1:]).sum().backward()
