"""The example of `formula_env.rollouts.fronts`, number for number."""

import pytest
import torch
from torch import Tensor

from formula_env.rollouts import Front, completions, fronts, monte_carlo_q
from formula_env.vocabulary import Vocabulary

ABC = Vocabulary(("a", "b", "c"))
FORMULA = torch.tensor([[0, 1, 2]])
FIRST, KEYS = torch.tensor([0]), torch.tensor([7])
SCORES = {"cbc": 1.0, "aca": 10.0, "aba": 100.0, "abc": 1_000.0}


class Uniform:
    def start(self, n: int) -> tuple[Tensor, ...]:
        return ()

    def step(self, symbols: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        return torch.zeros(len(symbols), 3), state


def score(formulae: Tensor) -> Tensor:
    return torch.tensor([SCORES[text] for text in ABC.decode(formulae.numpy())])


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rollout 0 draws c, b, c, rollout 1 draws a, c, a, and the policy's own formula is a, b, c."""
    symbols = torch.tensor([[2, 0, 0], [1, 2, 1], [2, 0, 2]])
    draws = (symbols + 0.5) / 3
    monkeypatch.setattr(fronts, "stream_uniforms", lambda keys, length: draws[:length, : len(keys)].double())


def the_only_front(given: Tensor | int) -> Front:
    (end,) = completions(Uniform(), ABC, given, FIRST, KEYS, num_rollouts=2)
    return end


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("given", [FORMULA, 3], ids=["given", "written"])
def test_the_tree_of_the_example(given: Tensor | int) -> None:
    end = the_only_front(given)
    assert ABC.decode(end.formulae.numpy()) == ["aba", "abc", "aca", "cbc"]
    left = zip(end.left.number.tolist(), end.left_at.tolist(), end.left.node.tolist(), strict=True)
    assert sorted(left) == [(0, 0, 3), (1, 1, 2), (1, 2, 0)]
    assert (end.whole.number.tolist(), end.whole.node.tolist()) == ([0], [1])


@pytest.mark.usefixtures("drawn")
def test_the_q_of_the_example() -> None:
    q = monte_carlo_q(Uniform(), score, ABC, FORMULA, FIRST, KEYS, num_rollouts=2)
    assert q.tolist() == [[(1 + 10) / 2, (1_000 + 10) / 2, (1_000 + 100) / 2, 1_000]]
