"""Identities of calculus checked per second on one core, uncached and with parsing, and shares of verdicts.

Rows: formulae that the task draws; formulae as they are drawn, before the checker selects; sampled ones with the
last operator changed, most of which are wrong.

python -m benchmarks.calculus_checker [--rows 10000]
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from random import Random

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.timing import milliseconds
from formula_env.checkers.calculus import Verdict, verdicts
from formula_env.tasks.calculus import Calculus
from formula_env.tasks.calculus_data import derivative, integral

MAX_CHARACTERS = 40
"""Characters of the longest formula as it is drawn; the task's have at most 24 symbols."""


@dataclass(frozen=True)
class Options:
    rows: int = 10_000
    """Number of formulae in a batch."""


def as_drawn(generator: str) -> Iterator[str]:
    """Formulae of a generator, whether they have a value or not."""
    rng = Random(0)
    draw = partial(derivative, rng, 24) if generator == "derivative" else partial(integral, rng)
    while True:
        text = draw()
        if text is not None and len(text) <= MAX_CHARACTERS:
            yield text


def changed(text: str) -> str:
    """The formula with another operator in the place of its last one; or a term more if it has none."""
    other = {"+": "-", "-": "+", "*": "/", "/": "*", "^": "*"}
    found = re.search(r"(?<![(=])[-+*/^](?=[^-+*/^]*$)", text)
    return f"{text}+x" if found is None else f"{text[: found.start()]}{other[found[0]]}{text[found.end() :]}"


def main(options: Options) -> None:
    console = Console(width=120)
    table = Table("formulae", "per second", *(each.value for each in Verdict), title="verdicts, fastest run")
    for generator in ("derivative", "integral"):
        task = Calculus(generator=generator)
        sample = task.decode(task.sample(options.rows, np.random.default_rng(0)))
        drawn = list(islice(as_drawn(generator), options.rows))
        for name, texts in (("sampled", sample), ("as drawn", drawn), ("changed", [*map(changed, sample)])):
            shares = Counter(verdicts(texts))
            time = milliseconds(lambda texts=texts: verdicts(texts), torch.device("cpu"), seconds=3)
            row = (f"{shares[each] / options.rows:.2%}" for each in Verdict)
            table.add_row(f"{generator}, {name}", f"{1_000 * options.rows / time:,.0f}", *row)
    console.print(table)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
