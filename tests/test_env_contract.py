"""What foreign clients rely on: infos, options, injected models, and no dependence on the caller's modes."""

import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from formula_env import FormulaEnv, FormulaError, FormulaVectorEnv, make_task
from formula_env.errors import UnexpectedArgument
from formula_env.rollouts import Estimator, Exact, MonteCarlo, NoRollouts
from formula_env.self_training import SelfTrainingDiscriminator
from formula_env.tasks.base import SequenceTask
from tests.helpers import (
    BINARY_SUM,
    ENV_IDS,
    REWARD_MODELS,
    assert_equal_states,
    assert_same,
    name_of,
    small_tasks,
)

# --- infos ----------------------------------------------------------------------------------------------------


def infos_of_a_walk(env: FormulaEnv, steps: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    infos = [env.reset(seed=0)[1]]
    for _ in range(steps):
        *_, terminated, _, info = env.step(rng.integers(env.task.vocabulary.size))
        infos.append(info)
        if terminated:
            infos.append(env.reset()[1])
    return infos


@pytest.mark.slow
@pytest.mark.parametrize("task", small_tasks(), ids=name_of)
@pytest.mark.parametrize("reward_model", REWARD_MODELS)
def test_infos_have_the_same_numeric_keys_at_every_step(task: SequenceTask, reward_model: str) -> None:
    infos = infos_of_a_walk(FormulaEnv(task, reward_model=reward_model), 40)
    kinds = {(key, np.asarray(value).dtype.name, np.shape(value)) for info in infos for key, value in info.items()}
    vocab_size = task.vocabulary.size
    assert kinds == {("action_mask", "int8", (vocab_size,)), ("is_correct", "int8", ())}
    assert all(isinstance(value, np.ndarray | np.number) for info in infos for value in info.values())
    assert all(len(info) == 2 for info in infos)


def test_is_correct_is_said_once_the_formula_is_finished() -> None:
    env = FormulaEnv(length=4)
    _, info = env.reset(seed=0)
    said = [info["is_correct"]]
    for action in (0, 1, 1, 0):
        *_, info = env.step(action)
        said.append(info["is_correct"])
    assert said == [0, 0, 0, 0, 1]
    assert env.reset()[1]["is_correct"] == 0


KEYS = {"action_mask", "_action_mask", "is_correct", "_is_correct"}


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_no_info_of_a_batch_holds_text(mode: AutoresetMode) -> None:
    env = FormulaVectorEnv("binary-sum", 2, length=4, autoreset_mode=mode)
    infos = [env.reset(seed=0)[1], *(env.step(np.array([0, 1]))[-1] for _ in range(6))]
    infos += [info["final_info"] for info in infos if "final_info" in info]
    for info in infos:
        assert set(info) <= {"final_obs", "_final_obs", "final_info", "_final_info"} | KEYS
        assert all(info[key].dtype in (np.bool_, np.int8) for key in KEYS)


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_wrappers_that_convert_arrays_take_the_infos(env_id: str) -> None:
    env = gym.wrappers.NumpyToTorch(gym.make(env_id))
    _, info = env.reset(seed=0)
    terminated = False
    while not terminated:
        assert isinstance(info["action_mask"], torch.Tensor)
        *_, terminated, _, info = env.step(torch.tensor(0))
    vector = gym.wrappers.vector.NumpyToTorch(gym.make_vec(env_id, num_envs=2))
    vector.reset(seed=0)
    for _ in range(20):
        *_, info = vector.step(torch.tensor([0, 1]))
    assert isinstance(info["is_correct"], torch.Tensor)


@pytest.mark.parametrize("observation", ["one-hot", "tokens"])
@pytest.mark.parametrize("task", small_tasks(), ids=name_of)
def test_text_is_an_attribute_and_can_be_read_off_observations(task: SequenceTask, observation: Any) -> None:
    single = FormulaEnv(task, observation=observation)
    batch = FormulaVectorEnv(task, 3, observation=observation, autoreset_mode="SAME_STEP")
    shown, _ = single.reset(seed=0)
    batch.reset(seed=0)
    rng = np.random.default_rng(1)
    for formula in task.sample(4, rng):
        ended, final = np.zeros(3, dtype=bool), shown[None]
        for t, symbol in enumerate(formula[formula < task.vocabulary.size]):
            assert not ended.any()
            assert single.formula == single.decode(shown) == task.vocabulary.decode([formula[:t]])[0]
            shown = single.step(symbol)[0]
            _, _, ended, _, info = batch.step(np.full(3, symbol))
            final = info.get("final_obs", final)
        assert ended.all()
        assert single.formula == single.decode(shown) == task.decode(formula[None])[0]
        assert batch.decode(final) == [single.formula] * 3
        assert batch.formulae == [""] * 3
        shown, _ = single.reset()


# --- options --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_an_unknown_option_is_a_type_error_in_pythons_words(env_id: str) -> None:
    for make in (gym.make, gym.make_vec):
        with pytest.raises(TypeError, match="got an unexpected keyword argument 'frameskip'") as caught:
            make(env_id, frameskip=4)
        assert isinstance(caught.value, FormulaError)
        assert "length" in str(caught.value), "and it names what there is"
    with pytest.raises(UnexpectedArgument):
        make_task("binary-sum", size=8)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_autoreset_modes_go_by_name_value_and_member(mode: AutoresetMode) -> None:
    for spelling in (mode, mode.name, mode.value):
        env: Any = gym.make_vec(BINARY_SUM, num_envs=2, autoreset_mode=spelling).unwrapped
        assert env.autoreset_mode == mode
    message = "unknown autoreset_mode 'same-step'; perhaps you meant SameStep; there are: NEXT_STEP, NextStep"
    with pytest.raises(FormulaError, match=message):
        FormulaVectorEnv(autoreset_mode="same-step")


def test_numbers_of_numpy_are_numbers() -> None:
    options: dict[str, Any] = {"length": np.int64(4), "num_envs": np.int32(2), "num_rollouts": np.uint8(3)}
    env = FormulaVectorEnv(**options)
    assert (env.num_envs, env.credit.estimator, env.task.max_length) == (2, MonteCarlo(3), 4)
    assert isinstance(env.credit.estimator, MonteCarlo)
    numbers = (env.num_envs, env.credit.estimator.num_rollouts, *env.task.options.values())
    assert all(type(value) is int for value in numbers)
    assert env.task == make_task("binary-sum", length=4)
    gym.make(BINARY_SUM, length=np.int64(4)).reset(seed=0)


def test_rewards_are_terminal_unless_q_is_asked_for() -> None:
    """As in a batch for Stable-Baselines3: the default costs no rollouts."""
    default = FormulaVectorEnv()
    assert (default.reward_mode, default.credit.estimator) == ("terminal", NoRollouts())
    asked: list[tuple[dict[str, Any], tuple[str, Estimator]]] = [
        ({"num_rollouts": 4}, ("difference", MonteCarlo(4))),
        ({"q_estimator": "monte-carlo"}, ("difference", MonteCarlo(16))),
        ({"q_estimator": "exact"}, ("difference", Exact())),
        ({"reward_mode": "q"}, ("q", MonteCarlo(16))),
        ({"reward_mode": "terminal", "num_rollouts": 4}, ("terminal", MonteCarlo(4))),
    ]
    for options, expected in asked:
        env = FormulaVectorEnv(**options)
        assert (env.reward_mode, env.credit.estimator) == expected


# --- resetting from a prefix ----------------------------------------------------------------------------------


@pytest.mark.parametrize("observation", ["one-hot", "tokens"])
@pytest.mark.parametrize("reward_mode", ["terminal", "difference"])
@pytest.mark.parametrize("task", small_tasks(), ids=name_of)
def test_an_episode_begins_with_its_prefix(task: SequenceTask, reward_mode: Any, observation: Any) -> None:
    """It is the episode that wrote the prefix itself, from there on: what is seen, earned, masked and read."""
    formula = task.sample(1, np.random.default_rng(3))[0]
    written = formula[formula < task.vocabulary.size]
    options: Any = {"reward_mode": reward_mode, "observation": observation, "q_estimator": "exact"}
    if reward_mode == "terminal":
        del options["q_estimator"]
    given, stepped = FormulaEnv(task, **options), FormulaEnv(task, **options)
    ahead = stepped.reset(seed=0)
    for symbol in written[:2]:
        ahead = stepped.step(symbol)
    shown, info = given.reset(seed=0, options={"prefix": task.decode(written[None, :2])[0]})
    np.testing.assert_array_equal(shown, ahead[0])
    assert_same(info, ahead[-1])
    assert given.formula == stepped.formula
    for symbol in written[2:]:
        assert_same(given.step(symbol), stepped.step(symbol))
    assert given.reset()[0].max() == (task.vocabulary.pad if observation == "tokens" else 0), "only this time"


def test_prefixes_of_a_batch() -> None:
    env = FormulaVectorEnv(length=4, num_envs=3, autoreset_mode="DISABLED")
    env.reset(seed=0, options={"prefix": "01"})
    assert env.formulae == ["01"] * 3
    env.reset(options={"prefix": ["1", "", "110"]})
    assert env.formulae == ["1", "", "110"]
    env.reset(options={"prefix": "0", "reset_mask": np.array([False, True, False])})
    assert env.formulae == ["1", "0", "110"]
    for actions in ([0, 0, 1], [1, 0, 0], [0, 0, 0]):
        *_, terminated, _, info = env.step(np.array(actions))
    assert env.formulae == ["1010", "0000", "1101"]
    assert terminated.all()
    assert info["is_correct"].tolist() == [1, 1, 0]
    singles = SyncVectorEnv([lambda: FormulaEnv(length=4)] * 2)
    singles.reset(options={"prefix": "01"})
    assert singles.get_attr("formula") == ("01", "01")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefix": "01100110"}, "has 8 symbols; at most 7 leave one to write"),
        ({"prefix": "2"}, "unknown symbol '2'"),
        ({"prefix": ["0", "1", "0"]}, "3 prefixes for 2 environments"),
        ({"prefix": 7}, "prefix must be text, or one text for each environment, got 7"),
        ({"prefix": [0, 1]}, "prefix must be text"),
        ({"start": "0"}, "unknown option of reset 'start'; there are: reset_mask, prefix"),
        ({"reset_mask": [True, False]}, "must be a bool array"),
    ],
)
def test_impossible_resets_are_refused_and_change_nothing(options: dict[str, Any], message: str) -> None:
    env = FormulaVectorEnv(length=8, num_envs=2)
    env.reset(seed=0)
    env.step(np.array([1, 0]))
    before = env.state_dict()
    with pytest.raises(FormulaError, match=message):
        env.reset(seed=5, options=options)
    assert_equal_states(env.state_dict(), before)


def test_a_prefix_that_no_formula_has_is_refused() -> None:
    env = FormulaEnv("signed-equation", length=5)
    with pytest.raises(FormulaError, match=r"no formula begins with prefix '1\+=': '=' can't be symbol 3"):
        env.reset(options={"prefix": "1+="})


# --- what is injected -----------------------------------------------------------------------------------------


class Returns:
    """A reward model that returns whatever it is told to."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def score(self, tokens: torch.Tensor) -> Any:
        return self.make(len(tokens))

    def observe(self, tokens: Any) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


@pytest.mark.parametrize("reward_mode", ["terminal", "difference"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda n: torch.zeros(n, 1), r"must return \(\d+,\) real numbers for \d+ formulae, got \(\d+, 1\)"),
        (lambda n: torch.zeros(n + 1), "must return"),
        (lambda n: torch.zeros(()), "must return"),
        (lambda n: torch.zeros(n, dtype=torch.complex64), "must return"),
        (lambda n: torch.full((n,), torch.nan), "returned nan for '[01]{4}'; rewards must be finite"),
        (lambda n: torch.full((n,), -torch.inf), "returned -inf for '[01]{4}'"),
        (lambda n: [0.0] * n, "must return a tensor or array .*, got list"),
        (lambda n: None, "must return .*, got NoneType"),
    ],
)
def test_rewards_that_are_none_are_refused_where_they_come_from(make: Any, message: str, reward_mode: Any) -> None:
    env = FormulaVectorEnv(length=4, num_envs=2, reward_mode=reward_mode)
    env.set_reward_model(Returns(make))
    with pytest.raises(FormulaError, match=f"Returns.score {message}"):
        write_one_formula(env)


def test_rewards_as_arrays_or_with_a_gradient_are_rewards() -> None:
    weight = torch.ones((), requires_grad=True)
    own = torch.full((2,), 2.0, requires_grad=True)
    for make in (
        lambda n: np.full(n, 2), lambda n: weight * torch.full((n,), 2.0), lambda n: torch.full((n,), 2),
        lambda n: own,
    ):  # fmt: skip
        env = FormulaVectorEnv(length=4, num_envs=2, autoreset_mode="DISABLED")
        env.set_reward_model(Returns(make))
        assert write_one_formula(env)[-1].tolist() == [2.0, 2.0]


def write_one_formula(env: FormulaVectorEnv) -> list[np.ndarray]:
    env.reset(seed=0)
    return [env.step(np.array([0, 1]))[1] for _ in range(env.task.max_length)]


class Policy:
    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits

    def start(self, n: int) -> tuple[torch.Tensor, ...]:
        return (torch.zeros(n, 1),)

    def step(self, symbols: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        return self.logits.expand(len(symbols), -1), state


def test_what_is_no_reward_model_or_policy_is_refused() -> None:
    for env in (FormulaEnv(), FormulaVectorEnv()):
        with pytest.raises(FormulaError, match=r"a reward model has the methods score, .*; Tensor lacks"):
            env.set_reward_model(torch.zeros(3))  # type: ignore[arg-type]
        with pytest.raises(FormulaError, match="a rollout policy has the methods start, step; ReLU lacks start"):
            env.set_rollout_policy(torch.nn.ReLU())  # type: ignore[arg-type]
        with pytest.raises(FormulaError, match=r"logits of shape \(1, 3\) .* this task has 2 symbols"):
            env.set_rollout_policy(Policy(torch.zeros(3)))
        for logits in (torch.tensor([0.0, torch.nan]), torch.full((2,), -torch.inf)):
            with pytest.raises(FormulaError, match="NaN, or none that is finite"):
                env.set_rollout_policy(Policy(logits))
        env.set_rollout_policy(Policy(torch.tensor([0.0, -torch.inf])))


# --- the caller's modes ---------------------------------------------------------------------------------------


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


CALLERS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "default device": lambda: torch.device("meta"),
    "numpy raises": lambda: np.errstate(all="raise"),
}


def trained(around: Callable[[], AbstractContextManager[Any]], making: bool) -> tuple[list[Any], dict[str, Any]]:
    """What an environment returns while its discriminator learns, in this mode of the caller's."""
    with around() if making else nullcontext():
        env = FormulaVectorEnv(
            length=4, num_envs=4, reward_model="discriminator", reward_options={"update_every": 8}, num_rollouts=2
        )
    rng = np.random.default_rng(0)
    with around():
        returned: list[Any] = [env.reset(seed=0)]
        returned += [env.step(rng.integers(2, size=4)) for _ in range(25)]
        state = env.state_dict()
        env.load_state_dict(state)
        returned += [env.step(rng.integers(2, size=4)) for _ in range(25)]
    return returned, env.state_dict()


@cache
def trained_without_modes() -> tuple[list[Any], dict[str, Any]]:
    return trained(nullcontext, making=False)


@pytest.mark.slow
@pytest.mark.parametrize("making", [False, True], ids=["made before", "made there"])
@pytest.mark.parametrize("mode", CALLERS)
def test_an_environment_trains_alike_whatever_mode_its_caller_is_in(mode: str, making: bool) -> None:
    expected, expected_end = trained_without_modes()
    modes = caller_modes()
    with CALLERS[mode]():
        inside = caller_modes()
        returned, end = trained(CALLERS[mode], making)
        assert caller_modes() == inside
    assert caller_modes() == modes, "and it changes none of them"
    assert_same(tuple(returned), tuple(expected))
    assert_equal_states(end, expected_end)
    assert end["reward_model"]["num_updates"] > 2


class LearnsFromWhatItObserves:
    """A reward model of a user's own, which has never heard of modes."""

    def __init__(self) -> None:
        self.network = torch.nn.Linear(4, 1, bias=False)
        torch.nn.init.ones_(self.network.weight)
        self.optimizer = torch.optim.Adam(self.network.parameters())

    def score(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.network(tokens.float())[:, 0]

    def observe(self, tokens: np.ndarray) -> None:
        self.optimizer.zero_grad()
        self.network(torch.from_numpy(tokens).float()).sum().backward()
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return {"network": deepcopy(self.network.state_dict())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])


@pytest.mark.parametrize("mode", ["no_grad", "inference_mode", "float64", "autocast", "default device"])
def test_a_reward_model_of_ones_own_learns_in_any_mode(mode: str) -> None:
    policy = Policy(torch.zeros(2))

    def learnt(around: Callable[[], AbstractContextManager[Any]]) -> tuple[list[Any], dict[str, Any]]:
        env, model = FormulaVectorEnv(length=4, num_envs=2, num_rollouts=2), LearnsFromWhatItObserves()
        env.set_reward_model(model)
        env.reset(seed=0)
        with around():
            steps = [env.step(np.array([0, 1])) for _ in range(15)]
            env.load_state_dict(env.state_dict())
            return [*steps, env.play(policy)], model.state_dict()

    (expected, expected_end), (returned, end) = learnt(nullcontext), learnt(CALLERS[mode])
    assert_same(tuple(returned), tuple(expected))
    assert_equal_states(end, expected_end)
    assert not torch.equal(end["network"]["weight"], LearnsFromWhatItObserves().network.weight)


def caller_modes() -> tuple[Any, ...]:
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_autocast_enabled("cpu"),
        torch.get_num_threads(),
        torch.initial_seed(),
        torch.get_rng_state().sum().item() if torch.get_default_device().type == "cpu" else None,
        np.random.get_state()[1].sum(),  # type: ignore[index]
        np.geterr(),
    )


def test_an_environment_trains_in_a_thread() -> None:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(trained(nullcontext, making=True)))
    thread.start()
    thread.join()
    (returned, end), (expected, expected_end) = results[0], trained(nullcontext, making=True)
    assert_same(tuple(returned), tuple(expected))
    assert_equal_states(end, expected_end)


# --- one discriminator for the single environments of a process -----------------------------------------------


def learning_env(**options: Any) -> FormulaEnv:
    return FormulaEnv(length=4, reward_model="discriminator", reward_options=options)


def test_single_environments_share_the_discriminator_that_they_train() -> None:
    envs = SyncVectorEnv([lambda: learning_env(update_every=4)] * 3)
    envs.reset(seed=0)
    for _ in range(5 * 8):
        envs.step(np.array([0, 1, 0]))
    models = [env.unwrapped.reward_model for env in envs.envs]  # type: ignore[attr-defined]
    assert models[0] is models[1] is models[2]
    assert isinstance(models[0], SelfTrainingDiscriminator)
    assert models[0].num_updates == 3 * 8 // 4


def test_who_does_not_share() -> None:
    first = learning_env()
    for options in (
        {"shared": False}, {"seed": 1}, {"architecture": "cnn"}, {"update_every": 8}, {"real": ["0101"]},
    ):  # fmt: skip
        assert learning_env(**options).reward_model is not first.reward_model
    assert FormulaEnv(length=6, reward_model="discriminator").reward_model is not first.reward_model
    batch = FormulaVectorEnv(length=4, reward_model="discriminator")
    assert batch.reward_model is not first.reward_model
    assert learning_env(shared=True, seed=0).reward_model is first.reward_model


def test_a_discriminator_that_has_learnt_is_not_handed_on() -> None:
    """So a second experiment in one process gives the numbers of the first."""

    def experiment() -> dict[str, Any]:
        env = learning_env(update_every=4)
        env.reset(seed=0)
        for _ in range(20):
            for action in (0, 1, 1, 1):
                env.step(action)
            env.reset()
        kept.append(env)
        return env.state_dict()

    kept: list[FormulaEnv] = []
    assert_equal_states(experiment(), experiment())
    assert kept[0].reward_model is not kept[1].reward_model


def test_a_discriminator_that_was_loaded_is_not_handed_on() -> None:
    env = learning_env()
    env.reset(seed=0)
    env.load_state_dict(env.state_dict())
    assert learning_env().reward_model is not env.reward_model


# --- processes ------------------------------------------------------------------------------------------------

FORK = """
import sys
import gymnasium as gym
import numpy as np
import torch

torch.set_num_threads(2)
env_id = "formula_env:Formula/BinarySum-v0"
env = gym.make(env_id, length=8)
env.reset(seed=0)
for _ in range(8):
    env.step(0)
torch.rand(1000, 1000) @ torch.rand(1000, 1000)  # the pool of threads is there for certain

def make():
    return gym.make(env_id, length=8, reward_model="discriminator", reward_options={"update_every": 2})

if sys.argv[1] == "gymnasium":
    envs = gym.vector.AsyncVectorEnv([make] * 2, context="fork")
    envs.reset(seed=0)
else:
    from stable_baselines3.common.vec_env import SubprocVecEnv
    envs = SubprocVecEnv([make] * 2, start_method="fork")
    envs.reset()
for _ in range(40):
    envs.step(np.array([0, 1]))
envs.close()
print("threads", torch.get_num_threads())
"""

SPAWN = """
import sys
import gymnasium as gym

if __name__ == "__main__":
    spec_id = gym.make("formula_env:Formula/BinarySum-v0", length=8).unwrapped.spec.id
    envs = gym.vector.AsyncVectorEnv([lambda: gym.make(spec_id, length=8)] * 2, context="spawn")
    print(envs.reset(seed=0)[0].shape)
    envs.close()
"""


def in_a_fresh_process(program: str, *arguments: str) -> str:
    """With a user's settings: as many threads as there are cores."""
    environment = {k: v for k, v in os.environ.items() if "NUM_THREADS" not in k} | {"PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True, text=True, timeout=120, env=environment, cwd=Path(__file__).parents[1], check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.parametrize("library", ["gymnasium", "sb3"])
def test_forked_workers_go_on_after_torch_has_used_its_threads(library: str) -> None:
    assert in_a_fresh_process(FORK, library) == "threads 2\n"


@pytest.mark.slow
def test_spawned_workers_find_the_id_of_a_spec() -> None:
    assert in_a_fresh_process(SPAWN) == "(2, 16)\n"
    for env_id in (
        BINARY_SUM,
        BINARY_SUM.removeprefix("formula_env:"),
    ):
        assert gym.spec(env_id).id == BINARY_SUM
    with pytest.warns(UserWarning, match="latest versioned"):
        assert gym.make("formula_env:Formula/BinarySum").spec is not None
