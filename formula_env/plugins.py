"""Tasks, algorithms and checkers that other installed packages add by entry points."""

import sys
from functools import cache
from importlib.metadata import entry_points


def with_entry_points(table: dict[str, str], group: str) -> dict[str, str]:
    """The table with what installed packages add to it; a name of our own can't be replaced."""
    return _entry_points(group, tuple(sys.path)) | table


@cache
def _entry_points(group: str, _path: tuple[str, ...]) -> dict[str, str]:
    """Names to "module:object". It reads all installed packages, some 10 ms, and a run's settings ask often."""
    return {entry.name: entry.value for entry in entry_points(group=group)}
