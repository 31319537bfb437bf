"""Torch's default modes, whatever modes the caller has set."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from formula_env.errors import FormulaError

_in_forked_child = False


def _note_fork() -> None:
    global _in_forked_child
    _in_forked_child = True


os.register_at_fork(after_in_child=_note_fork)


@contextmanager
def default_modes() -> Iterator[None]:
    """Run torch in its default modes; the caller's come back at the end.

    That is: gradients are recorded, no inference mode, no autocast, float32 and the CPU as defaults. Global random
    generators are left alone. In a forked process torch keeps one thread from here on: the threads of the parent's
    pool are gone there, and waiting for them would never end.
    """
    global _in_forked_child
    if _in_forked_child:
        torch.set_num_threads(1)
        _in_forked_child = False
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(mode=False))
        for device_type in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device_type):
                stack.enter_context(torch.autocast(device_type, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))  # slows every call of torch: only where it is needed
        if dtype != torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        stack.enter_context(torch.enable_grad())
        yield


def find_device(device: str | torch.device) -> torch.device:
    """The device of this name. Raises FormulaError for one that is unknown or not available here."""
    try:
        named = torch.device(device)
    except (RuntimeError, TypeError):
        raise FormulaError(f"unknown device {device!r}; use cpu, cuda or cuda:N") from None
    there = {"cpu": 1, "cuda": torch.cuda.device_count()}.get(named.type, 0)
    if (named.index or 0) >= there:
        raise FormulaError(f"device {str(named)!r} is not available here; use cpu")
    return named
