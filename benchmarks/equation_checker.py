"""Equations checked per second on one core, in batches and one by one: half of them correct.

python -m benchmarks.equation_checker [--rows 20000]
"""

from dataclasses import dataclass

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.timing import milliseconds
from formula_env.checkers.equation import check, is_correct
from formula_env.tasks.equation import Equation
from formula_env.vocabulary import Tokens

TASKS = [
    Equation(),
    Equation(length=13, operators="+-*", operands=3),
    Equation(length=20, operators="+-*/^", operands=4, parentheses=True, largest=20),
]


@dataclass(frozen=True)
class Options:
    rows: int = 20_000
    """Number of formulae in a batch."""


def half_wrong(task: Equation, n: int) -> Tokens:
    """n formulae `(n, T)`; in every other one the last digit is too large by 1."""
    tokens = task.sample(n, np.random.default_rng(0))
    rows = np.arange(0, n, 2)
    last = (tokens[rows] == task.vocabulary.eos).argmax(axis=1) - 1
    tokens[rows, last] = (tokens[rows, last] + 1) % task.base
    return tokens


def main(options: Options) -> None:
    cpu, console = torch.device("cpu"), Console(width=120)
    table = Table("task", "tokens", "texts", "one by one", title="formulae checked per second, fastest run")
    for task in TASKS:
        tokens = half_wrong(task, options.rows)
        texts = task.decode(tokens)
        verdicts = task.is_correct(tokens)
        assert np.array_equal(check(texts), verdicts)
        assert [is_correct(text) for text in texts] == verdicts.tolist()
        times = [
            milliseconds(lambda tokens=tokens, task=task: task.is_correct(tokens), cpu),
            milliseconds(lambda texts=texts: check(texts), cpu),
            milliseconds(lambda texts=texts: [is_correct(text) for text in texts], cpu),
        ]
        table.add_row(str(task), *(f"{1_000 * options.rows / time:,.0f}" for time in times))
    console.print(table)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
