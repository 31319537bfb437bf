"""Renew the tables of what clients learned in docs/clients.md from their record, `learning.jsonl`.

The option `--record benchmarks/clients/learning.jsonl` of `python -m benchmarks.clients.sb3_ppo` and its siblings
appends to it.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.clients.learning import SETTINGS
from formula_env.metrics import METRICS

RECORD = Path(__file__).with_name("learning.jsonl")
DOCUMENT = Path(__file__).parents[2] / "docs/clients.md"
GOALS = {"SB3 PPO": (0.97, 65, 0.05), "CleanRL PPO": (0.95, 60, None), "Tianshou PPO": (0.95, 60, None)}
"""What was asked for: share of correct formulae, formulae reached, JSD in nats."""


def learning_table(rows: list[dict[str, Any]]) -> str:
    """Markdown: each seed's result with the usual settings, and whether it is at the goal in every respect."""
    lines = [
        "| client | seed | correct | reached, of 70 | effectively | JSD (nats) | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in _ordered(rows, "usual"):
        accuracy, reached, jsd = GOALS[row["client"]]
        goal = f"≥ {accuracy:.0%}, ≥ {reached}" + (f", ≤ {jsd}" if jsd else "")
        verdict = "reached" if at_goal(row) else "missed"
        lines.append(
            f"| {row['client']} | {row['seed']} | {_text('accuracy', row)} | {row['reached']} | "
            f"{_text('effective_number', row)} | {_text('jsd', row)} | {goal}: {verdict} |"
        )
    return "\n".join(lines)


def limits_table(rows: list[dict[str, Any]]) -> str:
    """Markdown: the range over seeds of each client and setting, and how many seeds are at the goal."""
    lines = ["| client | setting | at the goal | correct | JSD (nats) |", "|---|---|---|---|---|"]
    for client in GOALS:
        for setting in SETTINGS:
            found = [row for row in _ordered(rows, setting) if row["client"] == client]
            if found:
                ranges = [_range(name, found) for name in ("accuracy", "jsd")]
                reached = f"{sum(map(at_goal, found))} of {len(found)} seeds"
                lines.append(f"| {' | '.join([client, setting, reached, *ranges])} |")
    return "\n".join(lines)


def at_goal(row: dict[str, Any]) -> bool:
    """Whether a result is at the goal in every respect."""
    accuracy, reached, jsd = GOALS[row["client"]]
    return row["accuracy"] >= accuracy and row["reached"] >= reached and (jsd is None or row["jsd"] <= jsd)


def _ordered(rows: list[dict[str, Any]], setting: str) -> list[dict[str, Any]]:
    found = [row for row in rows if row["setting"] == setting]
    return sorted(found, key=lambda row: (list(GOALS).index(row["client"]), row["seed"]))


def _range(name: str, rows: list[dict[str, Any]]) -> str:
    values = [row[name] for row in rows]
    return " – ".join(METRICS[name].text(value) for value in sorted({min(values), max(values)}))


def _text(name: str, row: dict[str, Any]) -> str:
    return METRICS[name].text(row[name])


def read_record() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RECORD.read_text().splitlines()]


def main() -> None:
    text = DOCUMENT.read_text()
    for name, table in (("learning", learning_table), ("limits", limits_table)):
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        head, _, rest = text.partition(start)
        text = f"{head}{start}{table(read_record())}\n{end}{rest.partition(end)[2]}"
    DOCUMENT.write_text(text)


if __name__ == "__main__":
    main()
