from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor

from formula_env import DiversityFilter, FormulaVectorEnv, make_task
from formula_env.errors import FormulaError
from formula_env.rewards import ExactReward, RewardModel
from formula_env.vocabulary import Tokens
from tests.helpers import saved_and_loaded

SUMS = make_task("equation", operators="+-", length=7)
BINARY = make_task("binary-sum", length=4)


def formulae(*texts: str) -> Tokens:
    return SUMS.encode(list(texts))


def scores(reward: RewardModel, *texts: str) -> list[float]:
    return reward.score(torch.from_numpy(formulae(*texts))).tolist()


def sums_filter(bucket_size: int) -> DiversityFilter:
    return DiversityFilter(ExactReward(SUMS), SUMS, bucket_size, score_when_full=-1.0)


def test_a_skeleton_is_paid_for_until_its_bucket_is_full() -> None:
    reward = sums_filter(2)
    assert scores(reward, "1+1=2", "3-1=2", "1+1=3") == [1, 1, 0]
    reward.observe(formulae("1+1=2", "3-1=2"))
    assert scores(reward, "2+1=3", "3-2=1") == [1, 1]
    reward.observe(formulae("4+5=9"))
    assert scores(reward, "2+1=3", "3-2=1", "1+1=3") == [-1, 1, 0]


def test_repetitions_fill_a_bucket_and_wrong_formulae_do_not() -> None:
    reward = sums_filter(2)
    reward.observe(formulae("1+1=3", "1+2=4", "2+2=5"))
    assert scores(reward, "1+1=2") == [1]
    reward.observe(formulae("1+1=2", "1+1=2"))
    assert scores(reward, "1+1=2", "2+2=4") == [-1, -1]


def test_asking_fills_no_bucket() -> None:
    """Rollouts and Q stay the same between two observations."""
    reward = sums_filter(1)
    assert [scores(reward, "1+1=2") for _ in range(3)] == [[1], [1], [1]]


def test_the_model_within_observes_and_is_saved() -> None:
    class Counting(RewardModel):
        def __init__(self) -> None:
            self.seen = 0

        def score(self, tokens: Tensor) -> Tensor:
            return torch.ones(len(tokens))

        def observe(self, tokens: Tokens) -> None:
            self.seen += len(tokens)

        def state_dict(self) -> dict[str, int]:
            return {"seen": self.seen}

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.seen = state["seen"]

    one, other = (DiversityFilter(Counting(), SUMS, 2) for _ in range(2))
    one.observe(formulae("1+1=2", "1-1=0", "1+2=3"))
    other.load_state_dict(saved_and_loaded(one.state_dict()))
    assert isinstance(other.reward_model, Counting)
    assert other.reward_model.seen == 3
    assert scores(other, "2+2=4", "2-2=0") == scores(one, "2+2=4", "2-2=0") == [0, 1]


def test_the_state_of_another_model_is_refused() -> None:
    with pytest.raises(FormulaError, match="lacks 'reward_model', 'buckets'"):
        sums_filter(1).load_state_dict({})


def test_a_bucket_holds_one_or_more() -> None:
    with pytest.raises(FormulaError, match="bucket_size must be at least 1"):
        sums_filter(0)


def test_an_environment_has_one_by_name() -> None:
    env = FormulaVectorEnv(SUMS, 2, reward_options={"bucket_size": 3, "score_when_full": -1.0})
    reward = env.credit.reward_model
    assert isinstance(reward, DiversityFilter)
    assert (reward.bucket_size, reward.threshold, reward.score_when_full) == (3, 0.5, -1.0)
    assert isinstance(reward.reward_model, ExactReward)
    with pytest.raises(FormulaError, match="threshold has no effect without bucket_size"):
        FormulaVectorEnv(SUMS, 2, reward_options={"threshold": 0.1})


def climb(reward: RewardModel, updates: int = 400) -> Counter[str]:
    """Correct formulae that a softmax over all 16 strings of length 4 writes while REINFORCE raises the reward."""
    env = FormulaVectorEnv(BINARY, 16, reward_model=reward)
    rng = np.random.default_rng(0)
    strings = np.array([[i >> k & 1 for k in range(4)] for i in range(16)])
    logits, written = np.zeros(16), Counter[str]()
    env.reset(seed=0)
    for _ in range(updates):
        probs = np.exp(logits) / np.exp(logits).sum()
        drawn = rng.choice(16, size=16, p=probs)
        returns = np.sum([env.step(strings[drawn, t])[1] for t in range(4)], axis=0)
        env.reset()
        advantage = returns - returns.mean()
        logits += 0.5 * (np.bincount(drawn, advantage, 16) - advantage.sum() * probs) / 4
        tokens = strings[drawn]
        written.update(BINARY.decode(tokens[BINARY.is_correct(tokens)]))
    return written


def test_an_agent_that_would_repeat_one_formula_moves_on() -> None:
    """Each of the six formulae is its own skeleton: all are written at least as often as their bucket holds."""
    plain = climb(ExactReward(BINARY))
    assert max(plain.values()) > 0.5 * plain.total()
    moved_on = climb(DiversityFilter(ExactReward(BINARY), BINARY, bucket_size=200))
    assert len(moved_on) == 6
    assert min(moved_on.values()) >= 200
    assert min(plain.get(formula, 0) for formula in moved_on) < 200
