"""What several tests set up alike."""

import io
from typing import Any

import torch
from torch import nn

from formula_env.networks import LSTMGenerator, make_discriminator
from formula_env.rewards import DiscriminatorReward
from formula_env.tasks import TASKS, make_task
from formula_env.tasks.base import AnyTask, Task
from tests.even_ones import EvenOnes


def small_tasks() -> list[Task]:
    """Each registered task, small enough to list all its sequences, and one of variable length."""
    sizes = {"binary-sum": 6, "signed-equation": 5}
    return [*(make_task(name, length=sizes[name]) for name in TASKS), EvenOnes(5)]


def name_of(task: AnyTask) -> str:
    return type(task).__name__


def sharpen(network: nn.Module, factor: float) -> None:
    """Scale the weights, so that an untrained network has opinions."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(factor)


def opinionated_pair(task: Task, seed: int = 0) -> tuple[LSTMGenerator, DiscriminatorReward]:
    """A generator and a discriminator, random but far from uniform."""
    torch.manual_seed(seed)
    generator = LSTMGenerator(task.vocabulary, embedding_dim=8, hidden_dim=16)
    sharpen(generator, 3.0)
    discriminator = make_discriminator("mlp", task)
    sharpen(discriminator, 2.5)
    return generator, DiscriminatorReward(discriminator)


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
