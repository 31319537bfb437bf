"""Renew the table of what clients learned in docs/clients.md from its record, `learning.jsonl`.

A line of the record is a line of `python -m benchmarks.clients.sb3_ppo` and its siblings, with the client's name.
"""

import json
from pathlib import Path
from typing import Any

RECORD = Path(__file__).with_name("learning.jsonl")
DOCUMENT = Path(__file__).parents[2] / "docs/clients.md"
START, END = "<!-- learning -->\n", "<!-- end of learning -->\n"
GOALS = {"SB3 PPO": (0.97, 65, 0.05), "CleanRL PPO": (0.95, 60, None), "Tianshou PPO": (0.95, 60, None)}
"""What was asked for: share of correct formulae, formulae reached, JSD in nats."""


def learning_table(rows: list[dict[str, Any]]) -> str:
    """Markdown: each seed's result, and whether it is at the goal in every respect."""
    lines = [
        "| client | seed | correct | reached, of 70 | effectively | JSD (nats) | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        accuracy, reached, jsd = GOALS[row["client"]]
        at_goal = row["accuracy"] >= accuracy and row["reached"] >= reached and (jsd is None or row["jsd"] <= jsd)
        goal = f"≥ {accuracy}, ≥ {reached}" + (f", ≤ {jsd}" if jsd else "")
        lines.append(
            f"| {row['client']} | {row['seed']} | {row['accuracy']:.4f} | {row['reached']} | "
            f"{row['effective_number']:.1f} | {row['jsd']:.4f} | {goal}: {'reached' if at_goal else 'missed'} |"
        )
    return "\n".join(lines)


def read_record() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RECORD.read_text().splitlines()]


if __name__ == "__main__":
    head, _, rest = DOCUMENT.read_text().partition(START)
    DOCUMENT.write_text(f"{head}{START}{learning_table(read_record())}\n{END}{rest.partition(END)[2]}")
