"""Files of a run: written whole or not at all, and every failure said in one line."""

import os
import tempfile
from pathlib import Path

from formula_env.errors import FormulaError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace the file by this content; whatever happens on the way, the old file or the new one is there.

    Raises FormulaError if it can't be written.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise FormulaError(f"cannot write {path}: {error.strerror}; what was there before is intact") from error


def append_line(path: Path, line: str) -> None:
    """Add one line in one write. Raises FormulaError if it can't be written."""
    try:
        with open(path, "ab", buffering=0) as file:
            start = file.tell()
            data = f"{line}\n".encode()
            if file.write(data) != len(data):
                file.truncate(start)
                raise OSError(28, "No space left on device")
    except OSError as error:
        raise FormulaError(f"cannot write {path}: {error.strerror}") from error


def read_text(path: Path) -> str:
    """The file's text. Raises FormulaError if it can't be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FormulaError(f"cannot read {path}: {error}") from None


def make_run_folder(folder: Path) -> None:
    """Make a folder for a new run. Raises FormulaError if it is taken or can't be made."""
    if not str(folder) or str(folder) == ".":
        raise FormulaError("the output folder's name is empty; give one, such as --out runs/first")
    if (folder / "config.yaml").exists():
        raise FormulaError(f"{folder} holds a run already; continue it with: formula-env resume {folder}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FormulaError(f"{folder} is not empty; give another folder with --out")
    except OSError as error:
        raise FormulaError(f"cannot make the folder {folder}: {error.strerror}") from None
