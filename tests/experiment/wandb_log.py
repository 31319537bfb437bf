"""Reads an offline W&B run back: LevelDB-style log records of protobufs, in blocks of 32 KiB."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK = 32 * 1024
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[Any]:
    data = path.read_bytes()
    assert data.startswith(b":W&B")
    position, parts = 7, b""
    while position + 7 <= len(data):
        room = BLOCK - position % BLOCK
        if room < 7:  # a header never straddles two blocks
            position += room
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        if not kind:  # zero-filled rest
            position += room
            continue
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (FULL, LAST):
            record: Any = wandb_internal_pb2.Record()  # pyright: ignore[reportAttributeAccessIssue]
            record.ParseFromString(parts)
            yield record
            parts = b""


def items(entries: Any) -> dict[str, Any]:
    """The key-value pairs of a history, config or summary."""
    return {".".join(e.nested_key) or e.key: json.loads(e.value_json) for e in entries}
