"""Files of a run: written whole or not at all, and every failure said in one line."""

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from formula_env.errors import FormulaError

TEMPORARY = ".writing-"
"""How the names of files begin that are not whole yet."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace the file by this content; whatever happens on the way, the old file or the new one is there.

    Raises FormulaError if it can't be written.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
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
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise FormulaError(f"cannot write {path}: {error.strerror}") from error


def read_text(path: Path) -> str:
    """The file's text. Raises FormulaError if it can't be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FormulaError(f"cannot read {path}: {error}") from None


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed process was writing."""
    for path in folder.rglob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a run's folder for this process alone. Raises FormulaError if another one has it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FormulaError(f"another process is at work in {folder}; wait for it or stop it") from None
        yield
    finally:
        os.close(handle)


@contextmanager
def new_run_folder(folder: Path) -> Iterator[None]:
    """Make a folder for a new run, and hold it. Raises FormulaError if it is taken or can't be made."""
    if str(folder) in ("", "."):
        raise FormulaError("--out is empty or this very folder; give one to make, such as --out runs/first")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormulaError(f"cannot make the folder {folder}: {error.strerror}") from None
    with exclusive(folder):
        if (folder / "config.yaml").exists():
            raise FormulaError(f"{folder} holds a run already; continue it with: formula-env resume {folder}")
        if any(folder.iterdir()):
            raise FormulaError(f"{folder} is not empty; give another folder with --out")
        yield
