"""The command `export`."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import yaml

from formula_env.algorithm import Algorithm
from formula_env.arguments import Positional, parse
from formula_env.errors import FormulaError
from formula_env.experiment.config import RunConfig, settings_of
from formula_env.experiment.loop import load_algorithm
from formula_env.experiment.rows import Row
from formula_env.experiment.run_folder import RunFolder
from formula_env.experiment.run_report import task_name
from formula_env.experiment.terminal import printable
from formula_env.hub import check_installed, upload
from formula_env.metrics import METRICS
from formula_env.networks import Generator, MaskedGenerator
from formula_env.trained import Settings, TrainedGenerator

CARD_METRICS = ("accuracy", "jsd", "coverage", "novelty", "nll")
"""Metrics on the model card, where a run has them."""


@dataclass(frozen=True)
class ExportOptions:
    folder: Annotated[Path, Positional]
    """Folder of the run."""
    to: Annotated[Path, Positional]
    """Folder to make."""
    hub: str = ""
    """Repository on the Hugging Face Hub, USER/NAME, that the folder is uploaded to; private if it is new."""
    trust_checker: bool = False
    """Consent to running the checker of the run, or its task, where that is code."""


def run_export(arguments: list[str]) -> None:
    """Export a trained generator as weights, settings and a model card: formula-env export RUN FOLDER"""
    options = parse(ExportOptions, "export", arguments)
    if options.hub:
        check_installed()
    config, algorithm, _ = load_algorithm(options.folder, "cpu", options.trust_checker)
    trained = trained_generator(config, algorithm)
    trained.save(options.to, model_card(config, RunFolder(options.folder).summary()))
    print(printable(f'{options.to}: formula_env.load("{options.to}").sample(5)'))
    if options.hub:
        try:
            address = upload(options.to, options.hub)
        except FormulaError as error:
            again = f"formula_env.hub.upload({str(options.to)!r}, {options.hub!r})"
            raise FormulaError(f"{error}; the export itself is whole; to upload it in Python: {again}") from None
        print(printable(address))


def trained_generator(config: RunConfig[Any, Any], algorithm: Algorithm) -> TrainedGenerator:
    """The generator that a run reports, by itself; raises FormulaError where it can't be without the rest."""
    generator = getattr(getattr(algorithm, "weights", None), "average", None)
    names = {field.name for field in fields(Settings)} - {"masked"}
    if not isinstance(generator, Generator) or not names <= {field.name for field in fields(config.algo)}:
        raise FormulaError(
            f"{config.algorithm} has no generator that can be exported; mle, seqgan and gflownet have one"
        )
    values = {name: getattr(config.algo, name) for name in names}
    settings = Settings(**values, masked=isinstance(generator, MaskedGenerator))
    if type(settings.make_generator(config.task)) is not type(generator):
        raise FormulaError(
            f"{config.algorithm}'s generator reads its discriminator and can't be exported without it"
        )
    if "path" in config.task.options:
        raise FormulaError(
            "the task reads a file of your own, which an export does not hold; share the run folder"
        )
    return TrainedGenerator(config.task_name, config.task, settings, generator)


def model_card(config: RunConfig[Any, Any], summary: Row | None) -> str:
    """The README.md of an export, with the metrics of a finished run."""
    task = task_name(config.task_name, config.task.options)
    settings = yaml.safe_dump(settings_of(config), sort_keys=False)
    known = [name for name in CARD_METRICS if summary is not None and isinstance(summary.get(name), int | float)]
    lines = [f"| {METRICS[name].heading} | {METRICS[name].text((summary or {})[name])} |" for name in known]
    table = ["| metric | value |", "|---|---|", *lines] if lines else ["The run was not finished."]
    return "\n".join(
        [
            "---", "library_name: formula-env",
            f"tags: [formula-env, {config.algorithm}, {config.task_name}]", "---",
            f"# {config.algorithm} on {task}", "",
            f"A generator of formulae of the task {task}, trained by `formula-env train {config.algorithm}`.", "",
            "```python", "import formula_env", "", 'generator = formula_env.load("this-folder")',
            "print(generator.sample(5))", "```", "", "## Metrics", "",
            "Defined in the documentation of formula-env; at the end of the training.", "",
            *table, "", "## Training", "", "```yaml", f"{settings.rstrip()}", "```", "",
        ]
    )  # fmt: skip
