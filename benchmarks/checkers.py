"""Formulae checked per second on one core, in batches and one by one: every other one is changed in a symbol.

python -m benchmarks.checkers [--rows 20000]
"""

from dataclasses import dataclass

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.timing import milliseconds
from formula_env.checkers import boolean, equation
from formula_env.tasks.base import SequenceTask
from formula_env.tasks.boolean import Boolean
from formula_env.tasks.equation import Equation
from formula_env.vocabulary import Tokens

EQUATIONS = [
    Equation(),
    Equation(length=13, operators="+-*", operands=3),
    Equation(length=20, operators="+-*/^", operands=4, parentheses=True, largest=20),
]
TAUTOLOGIES = [Boolean(), Boolean(length=15, variables=5), Boolean(length=21, variables=4)]


@dataclass(frozen=True)
class Options:
    rows: int = 20_000
    """Number of formulae in a batch."""


def half_changed(task: SequenceTask, n: int, replaced: int) -> Tokens:
    """n formulae `(n, T)`; in every other one the last of the first `replaced` symbols is another one of them."""
    tokens = task.sample(n, np.random.default_rng(0))
    rows = np.arange(0, n, 2)
    last = task.max_length - 1 - (tokens[rows, ::-1] < replaced).argmax(axis=1)
    tokens[rows, last] = (tokens[rows, last] + 1) % replaced
    return tokens


def main(options: Options) -> None:
    cpu, console = torch.device("cpu"), Console(width=120)
    table = Table("task", "correct", "tokens", "texts", "one by one", title="formulae per second, fastest run")
    cases = [(task, equation, task.base) for task in EQUATIONS]
    cases += [(task, boolean, task.variables) for task in TAUTOLOGIES]
    for task, checker, replaced in cases:
        tokens = half_changed(task, options.rows, replaced)
        texts = task.decode(tokens)
        verdicts = task.is_correct(tokens)
        assert np.array_equal(checker.check(texts), verdicts)
        assert [checker.is_correct(text) for text in texts] == verdicts.tolist()
        times = [
            milliseconds(lambda tokens=tokens, task=task: task.is_correct(tokens), cpu),
            milliseconds(lambda texts=texts, checker=checker: checker.check(texts), cpu),
            milliseconds(lambda texts=texts, checker=checker: [checker.is_correct(text) for text in texts], cpu),
        ]
        rates = (f"{1_000 * options.rows / time:,.0f}" for time in times)
        table.add_row(str(task), f"{verdicts.mean():.0%}", *rates)
    console.print(table)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
