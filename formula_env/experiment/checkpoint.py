"""Checkpoints: everything a run needs to continue bit for bit. Reading one never executes what it holds."""

import io
import pickle
import re
from pathlib import Path
from typing import Any

import torch

from formula_env.errors import FormulaError
from formula_env.experiment.files import write_atomically

FORMAT = "formula-env checkpoint 1"
KEPT = 2


def checkpoints(folder: Path) -> list[Path]:
    """The folder's checkpoints, oldest first."""
    return sorted(p for p in folder.glob("checkpoint-*.pt") if re.fullmatch(r"checkpoint-\d{8}\.pt", p.name))


def save_checkpoint(folder: Path, round_: int, state: dict[str, Any]) -> None:
    """Write `checkpoint-ROUND.pt` and keep the last two. Raises FormulaError if it can't be written."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    write_atomically(folder / f"checkpoint-{round_:08d}.pt", buffer.getvalue())
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink(missing_ok=True)


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """The newest checkpoint's state, on the CPU. Raises FormulaError if there is none or it can't be trusted."""
    found = checkpoints(folder)
    if not found:
        raise FormulaError(f"{folder} holds no checkpoint yet; go on with: formula-env resume {folder}")
    path, older = found[-1], found[:-1]
    advice = f"; delete it to go on from {older[-1].name}" if older else ""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise FormulaError(f"{path} holds code or foreign objects and was not loaded{advice}") from None
    except Exception as error:  # a damaged file can make the reader raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormulaError(f"{path} is damaged ({reason}){advice}") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise FormulaError(f"{path} is not a checkpoint of formula-env{advice}")
    return state


def first_non_finite(state: Any, name: str = "") -> str | None:
    """The name of the first tensor in a state that holds NaN or infinity."""
    if isinstance(state, torch.Tensor):
        return None if not state.is_floating_point() or bool(state.isfinite().all()) else name
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    found = (first_non_finite(value, f"{name}.{key}".lstrip(".")) for key, value in items)
    return next((each for each in found if each is not None), None)
