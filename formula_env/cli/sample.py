"""The command `sample`."""

import csv
import io
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from formula_env.algorithm import Algorithm, Batch, LogProb
from formula_env.arguments import Positional, option, parse
from formula_env.cli.decoding import Rules, decoded, policy_of
from formula_env.cli.proofs import first_proved
from formula_env.conditional import conditional_sampler
from formula_env.errors import FormulaError, check_range, check_seed
from formula_env.evaluators import Evaluator, SequenceEvaluator
from formula_env.experiment.config import MAX_SAMPLES, RunConfig
from formula_env.experiment.loop import load_algorithm
from formula_env.experiment.notices import notice
from formula_env.networks.decoding import Decoding
from formula_env.tasks import BaseTask, SequenceTask
from formula_env.tasks.templates import TemplateMask, read_prefix, read_template
from formula_env.vocabulary import Tokens, distinct_rows, row_keys

DRAWS_PER_FORMULA, MAX_DRAWS = 1_000, 10**8
"""How many formulae `sample` draws at most: for each one that it is asked for, and in all."""

Draws = Callable[[int, int], Batch]
"""A number n and a seed to n formulae `(n, …)`."""

Format = Literal["text", "jsonl", "csv", "latex", "sympy"]


@dataclass(frozen=True)
class SampleOptions:
    folder: Annotated[Path, Positional]
    """Folder of the run."""
    num: Annotated[int, option(short="-n")] = 20
    """Number of formulae."""
    seed: int = 0
    """Random seed of the drawing."""
    device: str | None = None
    """Device of the generator; default the run's own."""
    trust_checker: bool = False
    """Consent to running the checker of the run, or its task, where that is code."""
    correct: bool = False
    """Restriction to correct formulae."""
    novel: bool = False
    """Restriction to correct formulae that are not in the training set, and of a file to those not in the file."""
    proved: bool = False
    """Restriction to formulae that are proved: by SymPy for calculus, by the checker where it is exact."""
    unique: Literal["False", "True", "canonical"] = "False"
    """Restriction to different formulae; canonical: to those that differ in more than their form."""
    prefix: str | None = None
    """Beginning of every formula, such as "12+"."""
    template: str | None = None
    """Form of every formula, such as "?+?=100"; each ? stands for one or more symbols."""
    decoding: Rules = Decoding()
    format: Format = "text"
    """Form of the output; jsonl and csv have a field each for correct, novel, and the log-probability where it is
    known, sympy is for correct formulae only."""

    @property
    def only_correct(self) -> bool:
        """Whether a filter or the format lets only correct formulae pass."""
        return self.correct or self.novel or self.proved or self.format == "sympy"

    @property
    def is_unique(self) -> bool:
        """Whether only different formulae pass."""
        return self.unique != "False"


def run_sample(arguments: list[str]) -> None:
    """Generate formulae from a trained generator, one per line."""
    options = parse(SampleOptions, "sample", arguments)
    check_range(1, MAX_SAMPLES, num=options.num)
    check_seed(options.seed)
    config, algorithm, evaluator = load_algorithm(options.folder, options.device, options.trust_checker)
    batch = _draw(options, _draws(options, config, algorithm), evaluator)
    log_prob = decoded(options.decoding, config, algorithm).log_prob
    sys.stdout.write(format_formulae(config.task, evaluator, batch, options.format, log_prob))
    sys.stdout.flush()


def _draws(options: SampleOptions, config: RunConfig[Any, Any], algorithm: Algorithm) -> Draws:
    """The sampler of formulae: the generator under the decoding rules, given the prefix or template.

    With either of these, a line on stderr states which distribution that is.
    """
    if options.prefix is not None and options.template is not None:
        raise FormulaError("--prefix and --template exclude each other; a template can begin with the prefix")
    if options.prefix is None and options.template is None:
        return decoded(options.decoding, config, algorithm).sample
    policy, vocabulary = policy_of(config, algorithm), config.task.vocabulary
    if options.prefix is not None:
        template = read_prefix(options.prefix, vocabulary)
    else:
        template = read_template(options.template or "", vocabulary)
    mask = TemplateMask(config.task, template)
    sampler = conditional_sampler(policy, options.decoding, mask, config.device)
    notice(sampler.description)
    return sampler.sample


def _draw(options: SampleOptions, draws: Draws, evaluator: Evaluator) -> Batch:
    """`(num, …)` formulae that pass the filters; raises FormulaError if they don't turn up."""
    if not (options.only_correct or options.is_unique):
        return draws(options.num, int(np.random.default_rng(options.seed).integers(2**31)))
    if not isinstance(evaluator, SequenceEvaluator):
        raise FormulaError("vectors are neither correct nor wrong, nor twice the same; leave out such filters")
    total = evaluator.task.count()
    if options.is_unique and options.only_correct and total is not None and options.num > total:
        raise FormulaError(f"there are only {total} correct formulae, not {options.num}")
    kept = np.empty((0, evaluator.task.max_length), dtype=np.int64)
    rng = np.random.default_rng(options.seed)
    batch = max(1_000, options.num)
    drawn, limit = 0, max(batch, min(options.num * DRAWS_PER_FORMULA, MAX_DRAWS))
    while len(kept) < options.num and drawn < limit:
        kept = _with_new(kept, draws(batch, int(rng.integers(2**31))), options, evaluator)
        drawn += batch
    if len(kept) < options.num:
        raise FormulaError(f"only {len(kept)} such formulae in {drawn:,} draws, not {options.num}")
    return kept[: options.num]


def _with_new(kept: Tokens, tokens: Tokens, options: SampleOptions, evaluator: SequenceEvaluator) -> Tokens:
    """The formulae that were kept `(m, T)`, and behind them those of new ones `(n, T)` that pass the filters."""
    task = evaluator.task
    if options.novel:
        tokens = tokens[evaluator.is_novel(tokens) & ~_is_held_out(task, tokens)]
    elif options.only_correct:
        tokens = tokens[task.is_correct(tokens)]
    joined = np.concatenate([kept, tokens])
    if options.is_unique:
        joined = joined[_first_of_each(task, joined, options.unique == "canonical")]
    if not options.proved:
        return joined
    new = joined[len(kept) :]
    return np.concatenate([kept, new[first_proved(task, new, options.num - len(kept))]])


def _is_held_out(task: SequenceTask, tokens: Tokens) -> NDArray[np.bool_]:
    """Which of the formulae `(n, T)` a task that brings its own keeps from the training: `(n,)`."""
    held_out = task.held_out()
    if held_out is None:
        return np.zeros(len(tokens), dtype=bool)
    return np.isin(row_keys(tokens), row_keys(held_out))


def _first_of_each(task: SequenceTask, tokens: Tokens, canonical: bool) -> NDArray[np.int64]:
    """The rows `(m,)` of formulae `(n, T)` that are not the same as an earlier one, or not of the same form."""
    if not canonical:
        return np.sort(distinct_rows(tokens)[0])
    forms = task.canonical(task.decode(tokens))
    return np.sort(np.unique(forms, return_index=True)[1])


def format_formulae(
    task: BaseTask, evaluator: Evaluator, batch: Batch, form: Format, log_prob: LogProb | None = None
) -> str:
    """Formulae as text, one per line (csv: after a header); jsonl and csv with what is known of each."""
    if form in ("text", "latex", "sympy"):
        write: Callable[[str], str] = {"text": str, "latex": task.to_latex, "sympy": task.to_sympy}[form]
        return "".join(f"{write(text)}\n" for text in task.decode(batch))
    rows = evaluator.describe(batch)
    if log_prob is not None:
        rows = [row | {"log_prob": _finite(value)} for row, value in zip(rows, log_prob(batch), strict=True)]
    if form == "jsonl":
        return "".join(f"{json.dumps(row)}\n" for row in rows)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _finite(value: float) -> float | None:
    """The number, or None for one that JSON can't hold: that of a formula which the rules make impossible."""
    return float(value) if math.isfinite(value) else None
