"""What several tests set up alike; tasks and algorithms are the registered ones, those of other packages too."""

import atexit
import io
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import nn

from formula_env.errors import FormulaError
from formula_env.networks import (
    LSTMGenerator,
    RelationalMemoryGenerator,
    TransformerGenerator,
    make_discriminator,
)
from formula_env.networks.discriminators import Discriminator
from formula_env.networks.manager_worker import ManagerWorkerGenerator
from formula_env.rewards import DiscriminatorReward
from formula_env.tasks import make_task, symbol_tasks
from formula_env.tasks.base import BaseTask, SequenceTask
from formula_env.vocabulary import Tokens
from tests.even_ones import EvenOnes

FILE_ID = "formula_env:Formula/FormulaFile-v0"
_IDS = {spec.id for key, spec in gym.registry.items() if key.startswith("formula_env:Formula/")}
ENV_IDS = sorted(_IDS - {FILE_ID})
"""Of every registered task of symbols that can do without options."""
REWARD_MODELS = ["exact", "discriminator", "constant"]
BINARY_SUM, SIGNED_EQUATION = "formula_env:Formula/BinarySum-v0", "formula_env:Formula/SignedEquation-v0"
FEW_SEQUENCES = 5_000


def small_tasks() -> list[SequenceTask]:
    """Each registered task of which all sequences can be listed, made small; and one of variable length."""
    return [*filter(is_small, (small_task(name) for name in symbol_tasks())), EvenOnes(5)]


def every_task() -> list[SequenceTask]:
    """Each registered task, made small where it can be, and one more of variable length."""
    return [*(small_task(name) for name in symbol_tasks()), EvenOnes(5)]


LINES = ["1+1=2", "1+2=3", "2+1=3", "3=3", "2=1+1", "1+2=3"]
"""What a file holds, for a task that reads one."""


@cache
def formula_file() -> str:
    folder = Path(mkdtemp(prefix="formula-env-"))
    atexit.register(rmtree, folder)
    (folder / "lines.txt").write_text("\n".join(LINES))
    return str(folder / "lines.txt")


REQUIRED: dict[str, Callable[[], dict[str, Any]]] = {
    "formula-file": lambda: {"path": formula_file(), "held_out_size": 1},
}
"""Options without which a task can't be made."""


def required(name: str) -> dict[str, Any]:
    """The options without which the task of this name can't be made."""
    return REQUIRED[name]() if name in REQUIRED else {}


def small_task(name: str) -> SequenceTask:
    """The task with the greatest length of 6 or less that it accepts with few sequences; else as it is."""
    for length in (6, 5, 4, 3, 2):
        try:
            task = make_task(name, length=length)
        except FormulaError:
            continue
        if is_small(task):
            return task
    return make_task(name, **required(name))


def random_episodes(task: SequenceTask, n: int, seed: int) -> Tokens:
    """n formulae `(n, T)` whose symbols are drawn at random from the legal ones, of which there is always one."""
    rng = np.random.default_rng(seed)
    eos, tokens = task.vocabulary.eos, np.full((n, task.max_length), task.vocabulary.pad)
    going = np.ones(n, dtype=bool)
    for t in range(task.max_length):
        legal = task.legal_symbols(tokens[:, :t])
        assert legal.any(axis=1).all()
        chosen = (legal * rng.random(legal.shape)).argmax(axis=1)
        tokens[going, t] = chosen[going]
        going &= chosen != eos
    assert eos is None or not going.any(), "all come to an end in time"
    return tokens


def is_small(task: SequenceTask) -> bool:
    return task.vocabulary.size**task.max_length <= FEW_SEQUENCES


def count(task: SequenceTask) -> int:
    """The number of correct formulae, which is known."""
    total = task.count()
    assert total is not None
    return total


SMALL = {
    "rounds": 6, "mle_rounds": 1, "discriminator_rounds": 1, "warmup_rounds": 2, "d_steps": 2, "num_rollouts": 2,
    "batch_size": 8, "discriminator_batch_size": 8, "embedding_dim": 4, "hidden_dim": 8, "num_envs": 8,
    "n_steps": 4, "n_delta": 4, "n_top": 2, "learning_starts": 16, "buffer_size": 200,
    "target_update_interval": 32, "search_every": 2, "search_size": 16, "num_samples": 4,
    "num_references": 2, "comparison_size": 3, "channels": 8, "blocks": 1, "representations": 3, "goal_dim": 4,
    "likelihood_every": 2,
}  # fmt: skip
"""Settings with which an algorithm trains in a second."""


def small_config(config: type[Any], **settings: Any) -> dict[str, Any]:
    """Settings for tests of a class of hyper-parameters: these, and its defaults, where they are large made small.

    Those without effect are left out.
    """
    defaults: dict[str, Any] = {field.name: field.default for field in fields(config)}
    dead = {"num_rollouts"} if {**defaults, **settings}.get("reward_mode") == "terminal" else set()
    if settings.get("reward_model", "discriminator") != "discriminator":
        dead |= {"d_steps", "discriminator_batch_size"}
    if settings.get("generator") == "transformer":
        dead |= {"embedding_dim"}
    small = {name: min(value, defaults[name]) for name, value in SMALL.items() if name in defaults}
    return {name: value for name, value in small.items() if name not in dead} | settings


def name_of(task: BaseTask) -> str:
    return type(task).__name__


def assert_same(one: object, two: object, where: str = "") -> None:
    """Equal in value, type and structure."""
    if isinstance(one, tuple):
        assert isinstance(two, tuple)
        one, two = dict(enumerate(one)), dict(enumerate(two))
    if isinstance(one, dict):
        assert isinstance(two, dict)
        assert set(one) == set(two), where
        for key in one:
            assert_same(one[key], two[key], f"{where}.{key}")
    elif isinstance(one, np.ndarray):
        assert isinstance(two, np.ndarray)
        assert (one.shape, one.dtype) == (two.shape, two.dtype), where
        if one.dtype == object:
            for a, b in zip(one, two, strict=True):
                assert_same(a, b, where)
        elif np.issubdtype(one.dtype, np.floating):
            np.testing.assert_allclose(one, two, atol=2e-6, rtol=0, err_msg=where)
        else:
            np.testing.assert_array_equal(one, two, err_msg=where)
    else:
        assert one == two, where


def sharpen(network: nn.Module, factor: float) -> None:
    """Scale the weights, so that an untrained network has opinions."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(factor)


def opinionated_pair(task: SequenceTask, seed: int = 0) -> tuple[LSTMGenerator, DiscriminatorReward]:
    """A generator and a discriminator, random but far from uniform."""
    torch.manual_seed(seed)
    generator = LSTMGenerator(task.vocabulary, embedding_dim=8, hidden_dim=16)
    sharpen(generator, 3.0)
    discriminator = make_discriminator("mlp", task)
    sharpen(discriminator, 2.5)
    return generator, DiscriminatorReward(discriminator)


def opinionated_transformer(task: SequenceTask, seed: int = 0) -> tuple[TransformerGenerator, DiscriminatorReward]:
    """The same with a transformer."""
    _, reward = opinionated_pair(task, seed)
    torch.manual_seed(seed)
    generator = TransformerGenerator(task.vocabulary, task.max_length, hidden_dim=16, layers=2, heads=2)
    sharpen(generator, 3.0)
    return generator, reward


def opinionated_memory(task: SequenceTask, seed: int = 0) -> tuple[RelationalMemoryGenerator, DiscriminatorReward]:
    """The same with a relational memory."""
    _, reward = opinionated_pair(task, seed)
    torch.manual_seed(seed)
    generator = RelationalMemoryGenerator(task.vocabulary, embedding_dim=8, hidden_dim=16, heads=2)
    sharpen(generator, 3.0)
    return generator, reward


def opinionated_worker(task: SequenceTask, seed: int = 0) -> tuple[ManagerWorkerGenerator, DiscriminatorReward]:
    """The same with a manager, to whom the discriminator leaks, and a worker."""
    _, reward = opinionated_pair(task, seed)
    torch.manual_seed(seed)
    judge = make_discriminator("cnn", task)
    assert isinstance(judge, Discriminator)
    sizes = {"num_features": 128, "embedding_dim": 8, "hidden_dim": 16, "goal_dim": 4}
    generator = ManagerWorkerGenerator(
        task.vocabulary, task.max_length, judge.features, **sizes, horizon=2, temperature=0.5
    )
    sharpen(generator, 3.0)
    return generator, reward


def saved_and_loaded(state: dict[str, Any]) -> dict[str, Any]:
    """A state as it comes back from a file."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def assert_equal_states(one: Any, two: Any) -> None:
    """Equal bit for bit."""
    if isinstance(one, dict):
        assert set(one) == set(two)
        for key in one:
            assert_equal_states(one[key], two[key])
    else:
        assert torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two
