from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from formula_env.agents.mle import MLE, MLEConfig
from formula_env.agents.verified_mle import DistinctFormulae, VerifiedMLE, VerifiedMLEConfig
from formula_env.errors import FormulaError
from formula_env.networks import LSTMGenerator
from formula_env.tasks import make_task
from formula_env.tasks.base import SequenceTask
from formula_env.tasks.binary_sum import BinarySum
from formula_env.vocabulary import Tokens
from tests.even_ones import EvenOnes
from tests.helpers import name_of, saved_and_loaded

CPU = torch.device("cpu")
TINY: dict[str, Any] = {"batch_size": 8, "embedding_dim": 4, "hidden_dim": 8}
SHORT = VerifiedMLEConfig(rounds=40, warmup_rounds=5, search_every=5, search_size=32, **TINY)


@dataclass(frozen=True)
class ApprovesNothing(BinarySum):
    """Whose checker finds every formula wrong."""

    def is_correct(self, tokens: Tokens) -> np.ndarray[Any, Any]:
        return np.zeros(len(tokens), dtype=bool)


def rows(tokens: Tokens) -> set[tuple[int, ...]]:
    return {tuple(row) for row in tokens.tolist()}


def batches(data: Tokens, config: VerifiedMLEConfig) -> list[Tokens]:
    rng = np.random.default_rng(0)
    return [data[rng.integers(len(data), size=config.batch_size)] for _ in range(config.rounds)]


def weights(algorithm: MLE) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in algorithm.generator.parameters()])


@pytest.mark.parametrize("task", [make_task("binary-sum", length=6), EvenOnes(5)], ids=name_of)
def test_what_it_knows_is_correct_distinct_and_holds_the_data_it_saw(task: SequenceTask) -> None:
    algorithm = VerifiedMLE(task, SHORT, 0, CPU)
    seen: set[tuple[int, ...]] = set()
    data = task.sample(6, np.random.default_rng(1))
    for real in batches(data, SHORT):
        algorithm.update(real, 0.0)
        seen |= rows(real)
        known = algorithm.known.tokens
        assert task.is_correct(known).all()
        assert len(rows(known)) == len(known)
        assert seen <= rows(known)
        assert rows(algorithm.draw_known()) <= rows(known)
    assert len(algorithm.known.tokens) > len(rows(data))
    assert algorithm.checker_calls >= len(algorithm.known.tokens) - len(rows(data))
    searches = len(range(SHORT.warmup_rounds, SHORT.rounds, SHORT.search_every))
    written = searches * SHORT.search_size
    if task.vocabulary.eos is None:
        assert algorithm.env_steps == written * task.max_length
    else:
        assert written <= algorithm.env_steps < written * task.max_length


@pytest.mark.slow
def test_what_it_finds_grows_beyond_the_data_and_helps() -> None:
    """From 20 of the 70 formulae it finds the others, and ends closer to the 70 than without searching."""
    task = make_task("binary-sum", length=8)
    data, _ = task.split(20, seed=0)
    config = VerifiedMLEConfig(rounds=300, warmup_rounds=20, batch_size=64, hidden_dim=32, search_size=128)
    algorithm, plain = VerifiedMLE(task, config, 0, CPU), VerifiedMLE(task, never_searching(config), 0, CPU)
    known = []
    for real in batches(data, config):
        known.append(algorithm.update(real, 0.0)["verified/known"])
        plain.update(real, 0.0)
    assert known == sorted(known)
    assert 20 == known[config.warmup_rounds - 1] < known[config.warmup_rounds] < known[-1]
    assert known[-1] > 60
    everything = task.enumerate()
    assert algorithm.log_prob(everything).mean() > plain.log_prob(everything).mean() + 1


def never_searching(config: VerifiedMLEConfig) -> VerifiedMLEConfig:
    return replace(config, warmup_rounds=config.rounds)


def test_before_the_first_search_it_is_maximum_likelihood() -> None:
    task = make_task("binary-sum", length=6)
    verified = VerifiedMLE(task, never_searching(SHORT), 0, CPU)
    plain = MLE(task, MLEConfig(rounds=SHORT.rounds, **TINY), 0, CPU)
    for real in batches(task.sample(50, np.random.default_rng(0)), SHORT):
        assert verified.update(real, 0.0)["train/nll"] == plain.update(real, 0.0)["train/nll"]
    assert torch.equal(weights(verified), weights(plain))
    assert verified.checker_calls == verified.env_steps == 0


def test_a_checker_that_approves_nothing_leaves_maximum_likelihood_on_the_data() -> None:
    """The same weights as MLE's on batches that are drawn from the distinct data alone."""
    task = ApprovesNothing(length=6)
    data = task.sample(12, np.random.default_rng(1))
    verified = VerifiedMLE(task, SHORT, 0, CPU)
    plain = MLE(task, MLEConfig(rounds=SHORT.rounds, **TINY), 0, CPU)
    trained_on = []
    draw = verified.draw_known

    def draw_and_tell() -> Tokens:
        trained_on.append(draw())
        return trained_on[-1]

    verified.draw_known = draw_and_tell  # type: ignore[method-assign]
    for round_, real in enumerate(batches(data, SHORT)):
        told = verified.update(real, 0.0)
        batch = real if round_ < SHORT.warmup_rounds else trained_on[-1]
        assert rows(batch) <= rows(data)
        assert plain.update(batch, 0.0)["train/nll"] == told["train/nll"]
    assert len(trained_on) == SHORT.rounds - SHORT.warmup_rounds
    assert torch.equal(weights(verified), weights(plain))
    assert verified.checker_calls > 0
    assert rows(verified.known.tokens) == rows(data)


def test_all_that_it_knows_is_drawn_equally_often_however_often_it_was_seen() -> None:
    task = make_task("binary-sum", length=6)
    algorithm = VerifiedMLE(task, VerifiedMLEConfig(**{**TINY, "batch_size": 20_000}), 0, CPU)
    formulae = task.enumerate()[:5]
    algorithm.known.add(formulae[[0, 0, 0, 0, 1, 2]])
    algorithm.known.add(formulae[[0, 3, 3, 4]])
    drawn, counts = np.unique(algorithm.draw_known(), axis=0, return_counts=True)
    assert rows(drawn) == rows(formulae)
    assert counts == pytest.approx([4_000] * 5, abs=5 * 57)  # five standard deviations


def test_only_what_is_not_known_yet_is_checked() -> None:
    task = make_task("binary-sum", length=4)
    algorithm = VerifiedMLE(task, replace(SHORT, search_size=500), 0, CPU)
    algorithm.known.add(task.enumerate())
    algorithm.search()
    assert algorithm.checker_calls == 16 - 6  # each wrong one once
    assert len(algorithm.known.tokens) == 6


def test_exploration_finds_what_the_generator_believes_impossible() -> None:
    """A generator that writes 0000 almost always: at temperature 4 the other formulae come up, at 1 they don't."""
    task = make_task("binary-sum", length=4)
    found = {}
    for share in (0.0, 0.25):
        algorithm = VerifiedMLE(task, replace(SHORT, search_size=1_000, exploration=share), 0, CPU)
        with torch.no_grad():
            generator = algorithm.weights.average
            assert isinstance(generator, LSTMGenerator)
            generator.output.weight.zero_()
            generator.output.bias.copy_(torch.tensor([6.0, 0.0]))  # p(1) = .0025; at temperature 4 it is .18
        algorithm.search()
        found[share] = len(algorithm.known.tokens)
        assert algorithm.env_steps == 4_000
    assert found[0.0] == 1
    assert found[0.25] >= 5  # all but 1111, of which there are .3 among the 250


def test_distinct_formulae_by_hand() -> None:
    known = DistinctFormulae(2)
    known.add(np.array([[1, 0], [0, 1], [1, 0]]))
    known.add(np.array([[0, 1]]))
    assert known.tokens.tolist() == [[1, 0], [0, 1]]
    assert known.new_among(np.array([[1, 1], [0, 1], [0, 0], [1, 1]])).tolist() == [[1, 1], [0, 0]]
    assert known.new_among(np.empty((0, 2), dtype=np.int64)).shape == (0, 2)


def test_what_it_knows_and_counts_is_saved() -> None:
    task = make_task("binary-sum", length=6)
    one, two = VerifiedMLE(task, SHORT, 0, CPU), VerifiedMLE(task, SHORT, 1, CPU)
    data = batches(task.sample(6, np.random.default_rng(1)), SHORT)
    for real in data[:13]:
        one.update(real, 0.0)
    two.load_state_dict(saved_and_loaded(one.state_dict()))
    for real in data[13:]:
        assert one.update(real, 0.0) == two.update(real, 0.0)
    assert np.array_equal(one.known.tokens, two.known.tokens)
    assert (one.env_steps, one.checker_calls) == (two.env_steps, two.checker_calls)
    assert torch.equal(weights(one), weights(two))


@pytest.mark.parametrize("wrong", [{"warmup_rounds": -1}, {"search_every": 0}, {"search_size": 0}, {"rounds": 0}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(FormulaError, match=f"{next(iter(wrong))} must be at least"):
        VerifiedMLEConfig(**wrong)


def test_exploration_is_a_share() -> None:
    with pytest.raises(FormulaError, match="exploration"):
        VerifiedMLEConfig(exploration=1.5)


def test_a_file_that_is_its_own_checker_is_refused(tmp_path: Path) -> None:
    """It would give away the held-out formulae."""
    file = tmp_path / "lines.txt"
    file.write_text("1+1=2\n1+2=3\n2+1=3\n")
    with pytest.raises(FormulaError, match="verified-mle needs a checker"):
        VerifiedMLE(make_task("formula-file", path=str(file)), SHORT, 0, CPU)
    assert VerifiedMLE(make_task("formula-file", path=str(file), checker="equation"), SHORT, 0, CPU).task
