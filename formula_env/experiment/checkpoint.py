"""Checkpoints: everything a run needs to continue bit for bit. Reading one never executes what it holds."""

import re
from pathlib import Path
from typing import Any

import torch

from formula_env.errors import FormulaError
from formula_env.experiment.notices import notice
from formula_env.files import load_state, save_state

KIND = "checkpoint 5"
"""Kind and format of the files; the number rises with every change of what a state holds."""

KEPT = 2


def checkpoints(folder: Path) -> list[Path]:
    """The folder's checkpoints, oldest first."""
    return sorted(p for p in folder.glob("checkpoint-*.pt") if re.fullmatch(r"checkpoint-\d{8}\.pt", p.name))


def checkpoint_path(folder: Path, round_: int) -> Path:
    """The file of the checkpoint of a round."""
    return folder / f"checkpoint-{round_:08d}.pt"


def save_checkpoint(folder: Path, round_: int, state: dict[str, Any], kept: int | None = None) -> None:
    """Write `checkpoint-ROUND.pt`, and keep it, the one before, and that of the round `kept`.

    Raises FormulaError if it can't be written.
    """
    path = checkpoint_path(folder, round_)
    save_state(path, state, KIND)
    saved = checkpoints(folder)
    newest = saved.index(path) + 1  # what is behind it was damaged when the run went on from an earlier round
    for other in (*saved[: max(newest - KEPT, 0)], *saved[newest:]):
        if kept is None or other != checkpoint_path(folder, kept):
            other.unlink(missing_ok=True)


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """The state of the newest checkpoint that is whole, on the CPU; names each newer one on stderr.

    Raises FormulaError if there is none.
    """
    saved = checkpoints(folder)
    if not saved:
        raise FormulaError(f"{folder} holds no checkpoint yet; go on with: formula-env resume {folder}")
    problems = []
    for path in reversed(saved):
        try:
            state = read_checkpoint(path)
        except FormulaError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            notice(f"{problem}; taking the one before it, {path.name}")
        return state
    others = f", and no other one in {folder} is whole" if len(saved) > 1 else ""
    raise FormulaError(f"{problems[0]}{others}; delete it to begin the run again: formula-env resume {folder}")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state of one checkpoint, on the CPU. Raises FormulaError if it is damaged, or none."""
    return load_state(path, KIND)


def first_non_finite(state: Any, name: str = "") -> str | None:
    """The name of the first tensor in a state that holds NaN or infinity."""
    if isinstance(state, torch.Tensor):
        return None if not state.is_floating_point() or bool(state.isfinite().all()) else name
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    named = (first_non_finite(value, f"{name}.{key}".lstrip(".")) for key, value in items)
    return next((each for each in named if each is not None), None)
