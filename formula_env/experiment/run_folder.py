"""The folder of a run."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from formula_env.errors import FormulaError
from formula_env.experiment.record import CONFIG_FILE
from formula_env.files import exclusive, is_unused, reason, remove_leftovers, sync_directory


@contextmanager
def default_run_folder(name: str) -> Iterator[Path]:
    """Make `runs/NAME`, or `runs/NAME-2` and so on where that is taken; remove it again if nothing was written.

    Of several processes that ask for the same name at once each gets another folder.
    """
    for number in count(1):
        folder = Path("runs") / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise FormulaError(f"cannot make the folder {folder}: {reason(error)}") from None
        try:
            yield folder
        finally:
            with suppress(OSError):  # it is not empty: the run is in it
                folder.rmdir()
        return


@contextmanager
def new_run_folder(folder: Path) -> Iterator[None]:
    """Make a folder for a new run, and hold it. Raises FormulaError if it is taken or can't be made.

    What a process left behind that was killed before it had written the settings is cleared away.
    """
    if str(folder) in ("", "."):
        raise FormulaError("--out is empty or this very folder; give one to make, such as --out runs/first")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormulaError(f"cannot make the folder {folder}: {reason(error)}") from None
    with exclusive(folder):
        if (folder / CONFIG_FILE).exists():
            raise FormulaError(f"{folder} holds a run already; continue it with: formula-env resume {folder}")
        if not is_unused(folder):
            raise FormulaError(f"{folder} is not empty; give another folder with --out")
        remove_leftovers(folder)
        sync_directory(folder.parent)
        yield
