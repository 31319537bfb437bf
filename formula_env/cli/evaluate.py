"""The command `evaluate`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from formula_env.arguments import Positional, parse
from formula_env.cli.decoding import Rules, decoded
from formula_env.errors import check_range, check_seed
from formula_env.experiment.config import MAX_SAMPLES
from formula_env.experiment.loop import load_algorithm
from formula_env.experiment.run_report import print_evaluation
from formula_env.networks.decoding import Decoding


@dataclass(frozen=True)
class EvaluateOptions:
    folder: Annotated[Path, Positional]
    """Folder of the run."""
    samples: int = 10_000
    """Number of formulae to draw."""
    seed: int = 0
    """Random seed of the drawing."""
    device: str | None = None
    """Device of the generator; default the run's own."""
    trust_checker: bool = False
    """Consent to running the checker of the run, or its task, where that is code."""
    decoding: Rules = Decoding()
    json: bool = False
    """Output of the metrics as JSON."""


def run_evaluate(arguments: list[str]) -> None:
    """Evaluate a run's newest weights."""
    options = parse(EvaluateOptions, "evaluate", arguments)
    check_range(1, MAX_SAMPLES, samples=options.samples)
    check_seed(options.seed)
    config, algorithm, evaluator = load_algorithm(options.folder, options.device, options.trust_checker)
    sampler = decoded(options.decoding, config, algorithm)
    batch = sampler.sample(options.samples, options.seed)
    metrics = evaluator(batch, sampler.log_prob, algorithm.density_ratio)
    if options.json:
        print(json.dumps(metrics))
    else:
        print_evaluation(metrics)
