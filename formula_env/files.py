"""Files that are written whole or not at all, and states of tensors that are read unaltered or not at all."""

import errno
import fcntl
import hashlib
import io
import os
import pickle
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from formula_env.errors import FormulaError, reason

TEMPORARY = ".writing-"
"""Prefix of the names of files that are not whole yet."""


class InUse(FormulaError):
    """Another process is at work in a folder."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace the file by this content durably: at every moment either the old content or the new one is there.

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
        raise FormulaError(f"cannot write {path}: {reason(error)}; what was there before is intact") from error
    sync_directory(path.parent)


def sync_directory(folder: Path) -> None:
    """Make the names of a folder's files survive a loss of power. Raises FormulaError if that fails."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that can't do it for directories
            raise FormulaError(f"cannot write to {folder} durably: {reason(error)}") from error


def append_line(path: Path, line: str) -> None:
    """Add one line, durably, in one write. Raises FormulaError if it can't be written."""
    try:
        with open(path, "ab", buffering=0) as file:
            start = file.tell()
            data = f"{line}\n".encode()
            try:
                if file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(start)
                raise
    except OSError as error:
        raise FormulaError(f"cannot write {path}: {reason(error)}") from error


def read_bytes(path: Path) -> bytes:
    """The file's bytes. Raises FormulaError if it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormulaError(f"cannot read {path}: {reason(error)}") from None


def read_text(path: Path) -> str:
    """The file's text. Raises FormulaError if it can't be read."""
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError:
        raise FormulaError(f"{path} is damaged: it is not UTF-8 text") from None


def is_unused(folder: Path) -> bool:
    """Whether a folder holds nothing but what a killed process was writing."""
    return all(path.name.startswith(TEMPORARY) for path in folder.iterdir())


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed process was writing."""
    for path in folder.rglob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone. Raises InUse, a FormulaError, if another one has it."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise FormulaError(f"cannot open the folder {folder}: {reason(error)}") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(f"another process is at work in {folder}; wait for it or stop it") from None
        yield
    finally:
        os.close(handle)


# --- states ---------------------------------------------------------------------------------------------------


def save_state(path: Path, state: dict[str, Any], kind: str) -> None:
    """Write a state of tensors and plain values, with a checksum of every byte. Raises FormulaError if it can't.

    The file is a line `formula-env KIND`, a line with the SHA-256 (in hexadecimal) of all the rest of the file,
    and what `torch.save` makes of the state. A kind ends with the version of its format, such as "checkpoint 2".
    """
    import torch  # takes a second, which those who only write texts need not wait for

    buffer = io.BytesIO()
    torch.save(state, buffer)
    title, data = _title(kind), buffer.getvalue()
    write_atomically(path, title + _checksum(title, data) + data)


def load_state(path: Path, kind: str) -> dict[str, Any]:
    """Read what `save_state` wrote, onto the CPU. What the file holds is never executed.

    Raises FormulaError if the file is of another kind or of another version's format, or if a single bit of it was
    altered, added or lost.
    """
    content, title = read_bytes(path), _title(kind)
    if not content.startswith(title):
        name = kind.rpartition(" ")[0]
        if header := re.match(rb"formula-env (%b \d+)\n" % name.encode(), content):
            raise FormulaError(
                f"{path} is a {header[1].decode()}, written by another version of formula-env; "
                f"{version('formula-env')} reads a {kind}"
            )
        raise FormulaError(f"{path} is not a formula-env {kind}")
    end = len(title) + len(_checksum(b"", b""))
    checksum, data = content[len(title) : end], content[end:]
    if checksum != _checksum(title, data):
        raise FormulaError(f"{path} is damaged: its bytes don't match its checksum")
    return unpack_state(path, data)


def unpack_state(path: Path, data: bytes) -> dict[str, Any]:
    """The state that `torch.save` wrote as these bytes of a file. Raises FormulaError for anything else."""
    import torch

    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise FormulaError(f"{path} holds code or foreign objects and was not loaded") from None
    except Exception as error:  # bytes that were made up can make the reader raise anything
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise FormulaError(f"{path} is damaged ({why})") from None
    if not isinstance(state, dict):
        raise FormulaError(f"{path} holds no state, but a {type(state).__name__}")
    return state


def _title(kind: str) -> bytes:
    return f"formula-env {kind}\n".encode()


def _checksum(title: bytes, data: bytes) -> bytes:
    digest = hashlib.sha256(title)
    digest.update(data)
    return f"{digest.hexdigest()}\n".encode()
