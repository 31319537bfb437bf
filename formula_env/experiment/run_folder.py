"""The folder of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from formula_env.errors import FormulaError
from formula_env.files import exclusive, reason


@contextmanager
def new_run_folder(folder: Path) -> Iterator[None]:
    """Make a folder for a new run, and hold it. Raises FormulaError if it is taken or can't be made."""
    if str(folder) in ("", "."):
        raise FormulaError("--out is empty or this very folder; give one to make, such as --out runs/first")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormulaError(f"cannot make the folder {folder}: {reason(error)}") from None
    with exclusive(folder):
        if (folder / "config.yaml").exists():
            raise FormulaError(f"{folder} holds a run already; continue it with: formula-env resume {folder}")
        if any(folder.iterdir()):
            raise FormulaError(f"{folder} is not empty; give another folder with --out")
        yield
