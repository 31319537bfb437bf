"""Files are written whole and durably, and states that were altered are never taken."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from formula_env.errors import FormulaError
from formula_env.files import append_line, load_state, save_state, write_atomically

KIND = "checkpoint 2"
STATE: dict[str, Any] = {"weights": torch.arange(12.0).reshape(3, 4), "round": 7, "names": ["a", None, True]}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "state.pt"
    save_state(path, STATE, KIND)
    return path


def test_a_state_is_read_as_it_was_written(saved: Path) -> None:
    state = load_state(saved, KIND)
    assert torch.equal(state.pop("weights"), STATE["weights"])
    assert state == {"round": 7, "names": ["a", None, True]}


def test_every_flipped_bit_of_a_state_is_noticed(saved: Path) -> None:
    """All bits of the two lines at the head, and every 29th of the archive."""
    content = saved.read_bytes()
    bits = range(8 * len(content))
    for bit in (*bits[:800], *bits[800::29]):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        saved.write_bytes(flipped)
        with pytest.raises(FormulaError, match=r"is damaged|is not a formula-env|by another version"):
            load_state(saved, KIND)


def test_a_state_that_was_cut_or_extended_is_noticed(saved: Path) -> None:
    content = saved.read_bytes()
    for length in range(0, len(content), 7):
        for part in (content[:length], content[len(content) - length :]):
            saved.write_bytes(part)
            with pytest.raises(FormulaError, match=r"is damaged|is not a formula-env"):
                load_state(saved, KIND)
    saved.write_bytes(content + b"\0")
    with pytest.raises(FormulaError, match="is damaged"):
        load_state(saved, KIND)


class Payload:
    """What a hostile file would run when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


def test_a_state_with_a_right_checksum_is_still_not_executed(tmp_path: Path) -> None:
    path, victim = tmp_path / "state.pt", tmp_path / "executed"
    save_state(path, {"weights": Payload(victim)}, KIND)
    with pytest.raises(FormulaError, match="holds code or foreign objects"):
        load_state(path, KIND)
    assert not victim.exists()


def test_a_state_of_another_version_is_refused_with_both_versions(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_state(path, {"weights": torch.zeros(2)}, "checkpoint 1")
    with pytest.raises(FormulaError, match=r"is a checkpoint 1, .* reads a checkpoint 2$"):
        load_state(path, "checkpoint 2")


def test_a_state_of_another_kind_is_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(FormulaError, match="is not a formula-env adversary 1"):
        load_state(saved, "adversary 1")
    with pytest.raises(FormulaError, match=r"cannot read .*: No such file"):
        load_state(tmp_path / "missing.pt", KIND)
    with pytest.raises(FormulaError, match=r"cannot read .*: Is a directory"):
        load_state(tmp_path, KIND)


def test_content_and_name_are_on_the_disk_before_a_write_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def note(handle: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        sync(handle)

    monkeypatch.setattr(os, "fsync", note)
    write_atomically(tmp_path / "file", "content")
    assert synced[0].startswith(".writing-")
    assert synced[1:] == [tmp_path.name]
    append_line(tmp_path / "rows", "a row")
    assert synced[2:] == ["rows"]


def test_a_line_that_can_not_be_written_whole_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    append_line(tmp_path / "rows", "one")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(FormulaError, match=r"cannot write .*rows: No space left on device"):
        append_line(tmp_path / "rows", "two")
    assert (tmp_path / "rows").read_text() == "one\n"
