"""A trained generator by itself: saved as weights and plain text, loaded without running anything, ready to write.

A folder of three files:

    generator.safetensors   the weights
    generator.json          the task, the network and how it writes
    README.md               the model card
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as read_tensors
from safetensors.torch import save as tensor_bytes

from formula_env.errors import FormulaError, check_keys, check_range, check_seed, check_types
from formula_env.files import read_bytes, read_text, write_atomically
from formula_env.networks import Generator, GeneratorConfig, MaskedGenerator
from formula_env.networks.policy import Policy
from formula_env.sampling import Sampler
from formula_env.scoring import Score, score
from formula_env.tasks import is_code, make_task, task_class
from formula_env.tasks.base import SequenceTask

WEIGHTS_FILE, SETTINGS_FILE, CARD_FILE = "generator.safetensors", "generator.json", "README.md"

FORMAT = 1
"""Version of the settings file."""

MAX_FORMULAE = 10**7
"""Formulae of a sample at most."""


@dataclass(frozen=True)
class Settings(GeneratorConfig):
    """The network of a generator, and how it writes."""

    masked: bool = False
    """Whether it writes legal symbols only."""

    def __post_init__(self) -> None:
        check_types(self)
        self.check_generator()

    def make_generator(self, task: SequenceTask) -> Generator:
        generator = super().make_generator(task)
        return MaskedGenerator(generator, task.legal_symbols) if self.masked else generator


class TrainedGenerator:
    """A generator of formulae of a task, with exact likelihood.

    Args:
        task_name: name of the task.
        task: the task.
        settings: the network, and how it writes.
        generator: the network with its weights.
    """

    def __init__(self, task_name: str, task: SequenceTask, settings: Settings, generator: Generator) -> None:
        self.task_name, self.task, self.settings, self.generator = task_name, task, settings, generator
        self._sampler = Sampler(settings.decoded(generator), task, "cpu")

    @property
    def policy(self) -> Policy:
        """The generator step by step; see `formula_env.networks.policy`."""
        return self._sampler.policy

    def sample(self, n: int, seed: int = 0) -> list[str]:
        """n formulae as text, which depend on the seed alone."""
        check_range(1, MAX_FORMULAE, n=n)
        check_seed(seed)
        return self.task.decode(self._sampler.sample(n, seed))

    def log_prob(self, formulae: Sequence[str]) -> NDArray[np.float64]:
        """Log-likelihood `(n,)` of formulae, nats; raises FormulaError for text that can't be one of the task."""
        vocabulary, length = self.task.vocabulary, self.task.max_length
        rows = np.full((len(formulae), length), vocabulary.pad)
        for row, formula in zip(rows, formulae, strict=True):
            ids = vocabulary.read(formula)
            if len(ids) > length or (vocabulary.eos is None and len(ids) < length):
                limit = "at most" if vocabulary.eos is not None else "exactly"
                raise FormulaError(f"{formula!r} has {len(ids)} symbols; the generator writes {limit} {length}")
            row[: len(ids)] = ids
            if len(ids) < length:  # one that fills all positions has come to no end
                row[len(ids)] = vocabulary.eos
        return self._sampler.log_prob(rows)

    def score(self, n: int = 10_000, seed: int = 0) -> Score:
        """Validity, correctness, variety and coverage of n of its formulae; see `formula_env.score`."""
        return score(self.sample(n, seed), self.task)

    def save(self, folder: Path | str, card: str) -> None:
        """Write the folder with this model card, whole or not at all. Raises FormulaError if it is there."""
        folder = Path(folder)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            raise FormulaError(f"{folder} is there already; export to another folder, or delete it") from None
        except OSError as error:
            raise FormulaError(f"cannot make the folder {folder}: {error.strerror}") from None
        about = {
            "format": FORMAT,
            "formula_env": version("formula-env"),
            "task": {"name": self.task_name, **self.task.options},
            "generator": asdict(self.settings),
        }
        weights = {name: weight.contiguous() for name, weight in self.generator.state_dict().items()}
        try:
            write_atomically(folder / WEIGHTS_FILE, tensor_bytes(weights))
            write_atomically(folder / CARD_FILE, card)
            write_atomically(folder / SETTINGS_FILE, f"{json.dumps(about, indent=2)}\n")
        except BaseException:
            shutil.rmtree(folder)
            raise


def load(folder: Path | str, trust_code: bool = False) -> TrainedGenerator:
    """The generator in a folder that `formula-env export` wrote. Nothing in the folder is executed.

    Args:
        folder: the folder.
        trust_code: consent to running the task, or its checker, where the settings name code of somebody's own.

    Raises FormulaError if the folder holds no generator, is damaged, or names code that is not trusted.
    """
    folder = Path(folder)
    if not (folder / SETTINGS_FILE).is_file():
        raise FormulaError(f"{folder} holds no {SETTINGS_FILE}; make it by formula-env export RUN {folder}")
    about = _read_settings(folder / SETTINGS_FILE)
    options = dict(about["task"])
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise FormulaError(f"{folder / SETTINGS_FILE}: the task has no name")
    code = name if is_code(name) else task_class(name).code_in(options)
    if code is not None and not trust_code:
        raise FormulaError(
            f"{folder} has {code!r}, which is code and would run here; if you trust it: trust_code=True"
        )
    task, settings = make_task(name, **options), _settings(folder / SETTINGS_FILE, about["generator"])
    with torch.random.fork_rng([]):  # the first weights, which are not kept, are drawn
        generator = settings.make_generator(task)
    try:
        generator.load_state_dict(read_tensors(read_bytes(folder / WEIGHTS_FILE)))
    except FormulaError:
        raise
    except Exception as error:  # bytes that were made up can make the reader raise anything
        why = " ".join(str(error).split())[:200]
        raise FormulaError(f"{folder / WEIGHTS_FILE} is damaged, or of another network: {why}") from None
    if not all(
        weight.isfinite().all() for weight in generator.state_dict().values() if weight.is_floating_point()
    ):
        raise FormulaError(f"{folder / WEIGHTS_FILE} holds weights that are not finite")
    return TrainedGenerator(name, task, settings, generator)


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(read_text(path))
    except (ValueError, RecursionError):
        raise FormulaError(f"{path} is damaged: it is not JSON") from None
    check_keys(str(path), about, ("format", "task", "generator"))
    if about["format"] != FORMAT:
        raise FormulaError(
            f"{path} has format {about['format']!r}; formula-env {version('formula-env')} reads {FORMAT}"
        )
    for name in ("task", "generator"):
        if not isinstance(about[name], dict):
            raise FormulaError(f"{path}: {name} must be a table of settings, got {about[name]!r}")
    return about


def _settings(path: Path, values: dict[str, Any]) -> Settings:
    known = {field.name for field in fields(Settings)}
    if unknown := sorted(set(values) - known):
        raise FormulaError(f"{path}: unknown setting {unknown[0]!r} of the generator")
    try:
        return Settings(**values)
    except FormulaError as error:
        raise FormulaError(f"{path}: {error}") from None
