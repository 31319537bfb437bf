"""Isolation of runs inside another program: its settings do not affect them, and they change none."""

import os
import random
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from inspect import isroutine
from typing import Any

import numpy as np
import torch

from formula_env.modes import default_modes

_one_at_a_time = threading.RLock()
_inside = threading.local()


@contextmanager
def isolated() -> Iterator[None]:
    """Work with the settings that a fresh process has, and put the caller's back afterwards.

    Covers what changes the numbers or the success of a run: gradient and inference mode, autocast, default dtype
    and device, deterministic algorithms, matrix product precision, the thread count of torch, numpy's error
    handling, and the global random number generators of torch, numpy and Python. Environment variables and warning
    filters, which libraries add to when they are imported, are put back unless other threads may be changing them.

    Some of these belong to the whole process, so of several threads one works at a time, and the others wait.
    Within an isolated block another one changes nothing.
    """
    if getattr(_inside, "active", False):
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(_one_at_a_time)
        if threading.current_thread() is threading.main_thread():  # else the main thread goes on meanwhile
            stack.enter_context(_environment())
            stack.enter_context(warnings.catch_warnings())
        stack.enter_context(_random_numbers())
        stack.enter_context(_torch_settings())
        stack.enter_context(np.errstate(all="warn", under="ignore"))
        _inside.active = True
        stack.callback(setattr, _inside, "active", False)
        yield


class Isolated:
    """An object whose methods work isolated, whenever they are called."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self._wrapped, name)
        return isolated()(value) if isroutine(value) else value


@contextmanager
def _environment() -> Iterator[None]:
    """Environment variables of its own."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _random_numbers() -> Iterator[None]:
    """Global random number generators of its own."""
    numpy_random: Any = np.random  # numpy's type hints lack the two functions
    numpy_generator, numpy_state = numpy_random.get_bit_generator(), np.random.get_state(legacy=False)
    python_state = random.getstate()
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        numpy_random.set_bit_generator(np.random.MT19937())
        try:
            yield
        finally:
            numpy_random.set_bit_generator(numpy_generator)
            if isinstance(numpy_generator, np.random.MT19937):
                np.random.set_state(numpy_state)  # a second normal number waits outside of the generator
            random.setstate(python_state)


@contextmanager
def _torch_settings() -> Iterator[None]:
    """The settings of torch that a fresh process has."""
    before = {
        torch.set_num_threads: (torch.get_num_threads(),),
        torch.set_float32_matmul_precision: (torch.get_float32_matmul_precision(),),
        _set_deterministic: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        _set_cudnn: (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
    }
    try:
        torch.set_float32_matmul_precision("highest")
        _set_deterministic(False, False)
        _set_cudnn(False, False)
        with default_modes():
            yield
    finally:
        for restore, values in before.items():
            restore(*values)


def _set_deterministic(enabled: bool, warn_only: bool) -> None:
    now = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if now != (enabled, warn_only):  # setting it imports torch's compiler, which takes a second
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)


def _set_cudnn(benchmark: bool, deterministic: bool) -> None:
    torch.backends.cudnn.benchmark = benchmark
    torch.backends.cudnn.deterministic = deterministic
