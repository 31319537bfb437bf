"""Everything that decides a run, and its file `config.yaml`."""

import platform
import subprocess
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
import yaml

from formula_env.algorithm import Batch
from formula_env.errors import FormulaError, check_at_least, check_printable, check_range, check_seed, check_types
from formula_env.experiment.record import CONFIG_FILE
from formula_env.experiment.registry import algorithm_class, check_fit, preset
from formula_env.files import is_unused, read_text, write_atomically
from formula_env.suggestions import unknown
from formula_env.tasks import BaseTask, SequenceTask, is_code, make_any_task, task_class

TaskT = TypeVar("TaskT", bound=BaseTask)
AlgoT = TypeVar("AlgoT")

DECISIVE = ("algorithm", "task", "algo", "data", "seed", "eval_every", "eval_samples", "patience", "keep_samples")
"""Settings that decide a run's numbers, so that a run can't go on with others."""

DATA_LIMIT = 10**7
"""Formulae of a training set at most: it is held in memory."""

VALIDATION_STREAM = 1
"""Number that sets the random choice of validation formulae apart from others of the same seed."""

MAX_THREADS = 256

MAX_SAMPLES = 10**6
"""Formulae drawn at once at most, for an evaluation or by `sample`."""


@dataclass(frozen=True)
class DataConfig:
    """The training set."""

    size: int | float = 10_000
    """Number of training formulae, drawn uniformly with repetition; 0.5, 1.0: that share of all correct ones,
    distinct."""
    distinct: bool = False
    """Restriction to different formulae, so that the others are unseen."""
    equal_forms: bool = True
    """Extension by what differs from training formulae in form only, such as 2+1=3 from 1+2=3; where the task
    has such forms."""
    validation: int | float = 0
    """Number, or share, of the training formulae that are set aside: they are not trained on, and their likelihood
    is a metric."""

    def __post_init__(self) -> None:
        is_share, is_number = type(self.size) is float, type(self.size) is int
        if not ((is_share and 0 < self.size <= 1) or (is_number and 1 <= self.size <= DATA_LIMIT)):
            raise FormulaError(
                f"data.size must be a number of formulae from 1 to {DATA_LIMIT:,} or a share from 0 to 1.0, "
                f"got {self.size!r}"
            )
        check_types(self)
        check_at_least(0, validation=self.validation)

    def training_set(self, task: BaseTask, seed: int) -> Batch:
        """`(size, …)`, or what the task brings; raises FormulaError for a size that can't be had."""
        if isinstance(task, SequenceTask) and (own := task.training_set()) is not None:
            if (self.size, self.distinct) != (DataConfig.size, DataConfig.distinct):
                raise FormulaError(
                    "data: the task brings its own training set; leave out data.size, data.distinct"
                )
            return own
        if isinstance(self.size, int) and not self.distinct:
            return task.sample(self.size, np.random.default_rng(seed))
        if not isinstance(task, SequenceTask):
            raise FormulaError("data: vectors can't be listed; give data.size as a whole number, no data.distinct")
        if isinstance(self.size, float) and self.size * (task.count() or 0) > DATA_LIMIT:
            raise FormulaError(f"data.size: a share of {self.size} is more than {DATA_LIMIT:,} formulae")
        return task.split(self.size, seed, held_out=0)[0]

    def set_aside(self, formulae: Batch, seed: int) -> tuple[Batch, Batch]:
        """A training set `(n, …)` split at random into training and validation formulae.

        Raises FormulaError if nothing is left to train on.
        """
        share, total = self.validation, len(formulae)
        number = round(share * total) if isinstance(share, float) else share
        if number >= total:
            raise FormulaError(f"data.validation: {number:,} of {total:,} formulae leave none to train on")
        if number == 0:
            return formulae, formulae[:0]
        order = np.random.default_rng([seed, VALIDATION_STREAM]).permutation(total)
        return formulae[np.sort(order[number:])], formulae[np.sort(order[:number])]

    def extended(self, formulae: Batch, task: BaseTask, validation: Batch | None = None) -> Batch:
        """Training formulae with their equal forms, if the settings ask for them; none of another set of data."""
        if not self.equal_forms or not isinstance(task, SequenceTask):
            return formulae
        held_out = task.held_out()
        texts = dict.fromkeys(task.decode(formulae))
        apart = [formulae for formulae in (held_out, validation) if formulae is not None]
        known = {*texts, *(text for formulae in apart for text in task.decode(formulae))}
        forms = dict.fromkeys(form for text in texts for form in task.equal_forms(text) if form not in known)
        if not forms:
            return formulae
        rows, can_be = task.vocabulary.read_all(list(forms), task.max_length)
        rows = rows[can_be]
        return np.concatenate([formulae, rows[task.is_correct(rows)]])


@dataclass(frozen=True)
class RunConfig(Generic[TaskT, AlgoT]):
    """Settings of a training run."""

    algorithm: str
    """Algorithm to train; `formula-env list algorithms` names them."""
    task: TaskT
    algo: AlgoT
    task_name: str = "binary-sum"
    """Family of formulae, which `formula-env list tasks` names, or module:Class of your own."""
    data: DataConfig = field(default_factory=DataConfig)
    seed: int = 0
    """Random seed of data, networks and sampling."""
    out: Path | None = None
    """Run folder to make; default runs/ALGORITHM-TASK-sSEED-TIME."""
    eval_every: int = 50
    """Rounds between evaluations; each saves a checkpoint."""
    eval_samples: int = 10_000
    """Number of formulae in an evaluation's sample."""
    patience: int = 0
    """Evaluations without a lower validation NLL after which a run ends, with the weights of the lowest; 0: a run
    ends with its last."""
    device: str = "cpu"
    """Device of the networks: cpu, cuda, cuda:1, …"""
    threads: int = 1
    """CPU threads of torch; networks this small are fastest with one."""
    keep_samples: tuple[int, ...] = ()
    """Rounds whose samples are kept, 500 of each, as samples-ROUND.txt."""
    tensorboard: bool = False
    """Tracking by TensorBoard, in the folder tensorboard of the run."""
    track: bool = False
    """Tracking by Weights & Biases, offline without a login."""
    wandb_project: str = "formula-env"
    """Project in W&B."""
    wandb_group: str | None = None
    """Group in W&B; default ALGORITHM-TASK."""

    @property
    def code(self) -> str | None:
        """The user's code that defines the task or its checker, as one text; None if there is none."""
        return _whole_code(self.task_name, self.task.options)

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_types(self)
        check_at_least(1, eval_every=self.eval_every)
        check_at_least(0, patience=self.patience)
        if self.patience and not self.data.validation:
            raise FormulaError(
                "patience has no effect without formulae that validate; give data.validation, as 0.1"
            )
        check_range(1, MAX_SAMPLES, eval_samples=self.eval_samples)
        check_printable(device=self.device, wandb_project=self.wandb_project, wandb_group=self.wandb_group or "")
        if isinstance(self.task, BaseTask):  # the command line has defaults before it has a task
            check_fit(self.algorithm, self.task_name, self.task)
        if not 1 <= self.threads <= MAX_THREADS:
            raise FormulaError(f"threads must be from 1 to {MAX_THREADS}, got {self.threads}")
        check_at_least(0, keep_samples=min(self.keep_samples, default=0))


def check_device(device: str) -> None:
    """Raise FormulaError for a device that does not exist here."""
    try:
        wanted = torch.device(device)
    except RuntimeError:
        raise FormulaError(f"unknown device {device!r}; use cpu, cuda or cuda:N") from None
    there = {"cpu": 1, "cuda": torch.cuda.device_count()}.get(wanted.type, 0)
    if (wanted.index or 0) >= there:
        raise FormulaError(f"device {device!r} is not available here; use --device cpu")


def config_document(config: RunConfig[Any, Any]) -> dict[str, Any]:
    """Everything that repeats a run: the settings, and the versions and commit they ran with."""
    return settings_of(config) | {"environment": _environment()}


def settings_of(config: RunConfig[Any, Any]) -> dict[str, Any]:
    """The settings as plain values, from which `config_from` makes them again."""
    saved = [f.name for f in fields(RunConfig) if f.name not in ("out", "task_name")]
    settings = {name: value for name, value in asdict(config).items() if name in saved}
    return settings | {"task": {"name": config.task_name, **config.task.options}}


def settings_text(config: RunConfig[Any, Any]) -> str:
    """The settings as YAML, for a checkpoint to hold."""
    return yaml.safe_dump(settings_of(config), sort_keys=False)


def save_config(config: RunConfig[Any, Any], folder: Path) -> None:
    """Write `config.yaml`."""
    write_atomically(folder / CONFIG_FILE, yaml.safe_dump(config_document(config), sort_keys=False))


def load_config(
    folder: Path, device: str | None = None, trust_checker: bool | str | None = False
) -> RunConfig[Any, Any]:
    """Read `config.yaml`, perhaps for another device than the run was trained on.

    Raises FormulaError where the folder is no run folder or the file was damaged, and where the task's checker is
    code that is not trusted: `trust_checker` is True for any, or the only code there may be, None for none.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise FormulaError(f"{folder} is not a run folder: it holds no {CONFIG_FILE}{_advice(folder)}")
    text = read_text(path)
    try:
        return parse_settings(text, device, trust_checker)
    except FormulaError as error:
        raise FormulaError(f"{error}{_written_by(text)}") from None
    except (yaml.YAMLError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise FormulaError(f"{path} is not a run's configuration any more: {reason}") from None


def _written_by(text: str) -> str:
    """The version of formula-env that wrote settings which this one refuses, if it is another one."""
    there = yaml.safe_load(text).get("environment")
    then, now = there.get("formula-env") if isinstance(there, dict) else None, version("formula-env")
    return "" if then in (None, now) else f" (written by formula-env {then}; this is {now})"


def _advice(folder: Path) -> str:
    """The advice for a folder in which a run was killed before anything of it was there."""
    if not folder.is_dir() or not is_unused(folder):
        return ""
    return f"; nothing of a run is in it, so begin one: formula-env train ALGORITHM --out {folder}"


def parse_settings(
    text: str, device: str | None = None, trusted: bool | str | None = False
) -> RunConfig[Any, Any]:
    """Settings from YAML, perhaps for another device. Raises FormulaError or other errors if they are damaged."""
    settings = yaml.safe_load(text)
    if not isinstance(settings, dict):
        raise TypeError("it holds no settings")
    settings.pop("environment", None)
    if device is not None:
        settings["device"] = device
    return config_from(settings, trusted)


def first_difference(then: RunConfig[Any, Any], now: RunConfig[Any, Any]) -> tuple[str, Any, Any] | None:
    """The first decisive setting in which two runs differ, with its two values; None if there is none."""
    for name in DECISIVE:
        one, other = getattr(then, name), getattr(now, name)
        if one != other:
            return _innermost(name, one, other)
    return None


def first_difference_of(then: dict[str, Any], now: dict[str, Any]) -> tuple[str, Any, Any] | None:
    """The first decisive setting that differs between settings as plain values; see `first_difference`."""
    for name in dict.fromkeys([*then, *now]):
        one, other = then.get(name), now.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            if (inner := first_difference_of(one, other)) is not None:
                return f"{name}.{inner[0]}", inner[1], inner[2]
        elif one != other:
            return name, one, other
    return None


def _innermost(name: str, then: Any, now: Any) -> tuple[str, Any, Any]:
    if is_dataclass(then) and type(then) is type(now):
        for f in fields(then):
            one, other = getattr(then, f.name), getattr(now, f.name)
            if one != other:
                return _innermost(f"{name}.{f.name}", one, other)
    return name, then, now


def config_from(settings: dict[str, Any], trusted: bool | str | None = False) -> RunConfig[Any, Any]:
    """A run's settings from plain values, as `config.yaml` and a study's cells hold them; the latter may name
    a `preset`, over which `algo` prevails.

    Raises FormulaError for names and values that are wrong, and where the task would run code that is not trusted:
    `trusted` is True for any, or the only code there may be, None for none.
    """
    for name in ("algorithm", "task"):
        if name not in settings:
            raise FormulaError(f"{name} is missing")
    for name in ("task", "algo", "data"):
        if not isinstance(settings.get(name, {}), dict):
            raise FormulaError(f"{name} must be a table of settings, got {settings[name]!r}")
    if not isinstance(settings.get("keep_samples", []), list):
        raise FormulaError(f"keep_samples must be a list of rounds, got {settings['keep_samples']!r}")
    task = {"name": "", **settings["task"]}
    task_name = task.pop("name")
    for what, name in (("algorithm", settings["algorithm"]), ("task.name", task_name)):
        if not isinstance(name, str):
            raise FormulaError(f"{what} must be text, got {name!r}")
    code = task_name if is_code(task_name) else task_class(task_name).code_in(task)  # before anything is imported
    if code is not None and trusted is False:
        verb = "is" if code == task_name else "has"
        raise FormulaError(
            f"the task {verb} {code!r}, which is code and would run on your machine; "
            "if you trust it: --trust-checker"
        )
    if code is not None and trusted is not True:
        if isinstance(trusted, str) and f"{trusted}{WITH}".startswith(f"{code}{WITH}"):
            code = _whole_code(task_name, task)
        if code != trusted:
            raise FormulaError(f"the task has {code!r}, which is code; it must have {trusted or 'none'}")
    settings = dict(settings)
    preset_name = settings.pop("preset", None)
    algo = merge(preset(settings["algorithm"], preset_name), settings.get("algo", {}))
    parts = {
        "task_name": task_name,
        "task": make_any_task(task_name, **task),
        "algo": algo_config(settings["algorithm"], algo),
        "data": _build(DataConfig, settings.get("data", {}), "data"),
        "keep_samples": tuple(settings.get("keep_samples", [])),
    }
    return _build(RunConfig, {**settings, **parts}, "run")


def _whole_code(task_name: str, options: dict[str, Any]) -> str | None:
    """All code of a task as one text: the class, where that is code, and what the class itself would run."""
    inner = task_class(task_name).code_in(options)
    if not is_code(task_name):
        return inner
    return task_name if inner is None else f"{task_name}{WITH}{inner}"


WITH = " with "
"""What stands between a task that is code and the code that it names itself."""


def algo_config(algorithm: str, values: dict[str, Any]) -> Any:
    """An algorithm's hyper-parameters from plain values; raises FormulaError for unknown or wrong ones."""
    return _build(algorithm_class(algorithm).Config, values, "algo")


def load_preset(path: Path, algorithm: str) -> dict[str, Any]:
    """The hyper-parameters in a preset file, which holds `algorithm: NAME` and a table `algo`.

    Raises FormulaError for a file that is none, or another algorithm's.
    """
    try:
        document = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise FormulaError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict) or not isinstance(document.get("algo"), dict):
        raise FormulaError(f"{path} is not a preset file: it needs 'algorithm: NAME' and a table 'algo'")
    for name in document:
        if name not in PRESET_KEYS:
            raise FormulaError(unknown("key", name, PRESET_KEYS, str(path)))
    if document.get("algorithm") != algorithm:
        raise FormulaError(f"{path} is a preset of {document.get('algorithm')!r}, not of {algorithm}")
    return document["algo"]


PRESET_KEYS = ("algorithm", "algo")


def preset_text(algorithm: str, algo: Any, comment: str) -> str:
    """A preset file: the settings in which an algorithm's config differs from its defaults."""
    values = _differences(algo, type(algo)())
    document = yaml.safe_dump({"algorithm": algorithm, "algo": values}, sort_keys=False)
    return "".join(f"# {line}\n" for line in comment.splitlines()) + document


def _differences(config: Any, default: Any) -> dict[str, Any]:
    pairs = {field.name: (getattr(config, field.name), getattr(default, field.name)) for field in fields(config)}
    return {
        name: _differences(value, usual) if is_dataclass(value) else value
        for name, (value, usual) in pairs.items()
        if value != usual
    }


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Two tables of settings as one; the second prevails, setting by setting."""
    merged = dict(below)
    for name, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = merge(merged[name], value) if both else value
    return merged


def _build(cls: Any, values: dict[str, Any], what: str) -> Any:
    """A dataclass of settings; a table within it replaces some of the default's settings there."""
    defaults = {field.name: field.default for field in fields(cls)}
    arguments = dict(values)
    for name, value in values.items():
        if name not in defaults:
            raise FormulaError(unknown(f"{what} setting", name, list(defaults)))
        default: Any = defaults[name]
        if is_dataclass(default) and isinstance(value, dict):
            settings = {field.name: getattr(default, field.name) for field in fields(default)}
            arguments[name] = _build(type(default), settings | value, f"{what}.{name}")
    return cls(**arguments)


def _environment() -> dict[str, str]:
    packages = ("formula-env", "torch", "numpy", "gymnasium")
    return {"python": platform.python_version(), "commit": _git_commit()} | {
        package: version(package) for package in packages
    }


def _git_commit() -> str:
    root = Path(__file__).parents[2]
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return "unknown"
    return answer.stdout.strip() or "unknown"
