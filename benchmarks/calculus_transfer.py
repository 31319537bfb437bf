"""Identities of calculus: trained on one generator's, tested on the other's.

Each run is given left sides, with their `=`, of new identities of each generator, and completes them by the most
probable symbols. The table has the shares of right sides that are correct.

formula-env train mle --task calculus --data.size 20000 --data.distinct --algo.rounds 1000 --out runs/derivative
formula-env train mle --task calculus --task.generator integral --data.size 20000 --data.distinct \\
    --algo.rounds 1000 --out runs/integral
python -m benchmarks.calculus_transfer runs/derivative runs/integral
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from formula_env.evaluators import SequenceEvaluator
from formula_env.experiment.loop import load_algorithm
from formula_env.networks.policy import Policy
from formula_env.tasks.calculus import Calculus
from formula_env.vocabulary import Tokens

GENERATORS: tuple[Literal["derivative", "integral"], ...] = ("derivative", "integral")


@dataclass(frozen=True)
class Options:
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of the runs."""
    rows: int = 1_000
    """Number of test identities of each generator."""


def new_identities(task: Calculus, n: int, evaluator: SequenceEvaluator) -> Tokens:
    """n different identities `(n, T)` of the task's generator that are not in the evaluator's training set."""
    rng = np.random.default_rng(0)
    found = np.empty((0, task.max_length), dtype=np.int64)
    while len(found) < n:
        drawn = task.sample(n, rng)
        found = np.unique(np.concatenate([found, drawn[evaluator.is_novel(drawn)]]), axis=0)
    return rng.permutation(found)[:n]


@torch.no_grad()
def completed(policy: Policy, task: Calculus, formulae: Tokens) -> Tokens:
    """These formulae `(n, T)` with the right side that the policy gives, always the most probable symbol."""
    vocabulary, tokens = task.vocabulary, torch.from_numpy(formulae)
    equals = vocabulary.symbols.index("=")
    is_given = (tokens == equals).cumsum(1) - (tokens == equals).long() == 0
    symbols, state = torch.full((len(tokens),), vocabulary.bos), policy.start(len(tokens))
    written = torch.full_like(tokens, vocabulary.pad)
    is_ended = torch.zeros(len(tokens), dtype=torch.bool)
    for t in range(tokens.shape[1]):
        logits, state = policy.step(symbols, state)
        symbols = torch.where(is_given[:, t], tokens[:, t], logits.argmax(dim=1))
        written[:, t] = torch.where(is_ended, vocabulary.pad, symbols)
        is_ended |= symbols == vocabulary.eos
    return written.numpy()


def main(options: Options) -> None:
    table = Table("trained on", *(f"tested on: {generator}" for generator in GENERATORS))
    for folder in options.runs:
        config, algorithm, evaluator = load_algorithm(folder)
        assert isinstance(evaluator, SequenceEvaluator)
        assert algorithm.policy is not None
        shares = []
        for generator in GENERATORS:
            task = Calculus(config.task.length, generator)
            formulae = new_identities(task, options.rows, evaluator)
            shares.append(task.is_correct(completed(algorithm.policy, task, formulae)).mean())
        table.add_row(config.task.generator, *(f"{share:.1%}" for share in shares))
    Console(width=120).print(table)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
