"""Names that a misspelt one may stand for."""

from collections.abc import Iterable
from typing import Any

MAX_SUGGESTIONS = 3


def unknown(what: str, wrong: Any, known: Iterable[Any], where: str = "") -> str:
    """`unknown key 'lgo' in panels 0; perhaps you meant log; there are: metric, label, log`"""
    names = [str(name) for name in known]
    close = nearest(wrong, names) if isinstance(wrong, str) else []
    suggestion = f"; perhaps you meant {' or '.join(close)}" if close else ""
    place = f" in {where}" if where else ""
    return f"unknown {what} {wrong!r}{place}{suggestion}; there are: {', '.join(names) or 'none'}"


def nearest(wrong: str, names: Iterable[str]) -> list[str]:
    """The names that take the fewest changes to reach, if those are few."""
    distances = {name: edit_distance(wrong, name) for name in names}
    least = min(distances.values(), default=0)
    if least > max(1, (len(wrong) + 1) // 3):
        return []
    return [name for name, distance in distances.items() if distance == least][:MAX_SUGGESTIONS]


def edit_distance(one: str, other: str) -> int:
    """The fewest characters to insert, delete, replace or swap with their neighbour to make one text the other."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        last_but_one, before, row = before, row, [i]
        for j, b in enumerate(other, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, last_but_one[j - 2] + 1)
            row.append(cost)
    return row[-1]
