"""Everything that decides a run, and its file `config.yaml`."""

import platform
import subprocess
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import numpy as np
import torch
import tyro
import yaml

from formula_env.errors import FormulaError
from formula_env.experiment.files import read_text, write_atomically
from formula_env.experiment.registry import algorithm_class
from formula_env.tasks import make_task
from formula_env.tasks.base import Task
from formula_env.vocabulary import Tokens

TaskT = TypeVar("TaskT", bound=Task)
AlgoT = TypeVar("AlgoT")

CONFIG_FILE = "config.yaml"


@dataclass(frozen=True)
class DataConfig:
    """The training set."""

    size: int | float = 10_000
    """Training formulae, drawn uniformly with repetition; below 1: a share of all the correct ones, distinct."""
    distinct: bool = False
    """Draw that many different formulae, so that the others are unseen."""

    def training_set(self, task: Task, seed: int) -> Tokens:
        """`(size, T)`; raises FormulaError for a size that can't be had."""
        if self.distinct or (isinstance(self.size, float) and self.size < 1):
            return task.split(self.size, seed)[0]
        if self.size < 1:
            raise FormulaError(f"data.size must be at least 1 formula or a share above 0, got {self.size}")
        return task.sample(int(self.size), np.random.default_rng(seed))


@dataclass(frozen=True)
class RunConfig(Generic[TaskT, AlgoT]):
    """One training run."""

    algorithm: Annotated[str, tyro.conf.Positional]
    """What to train; `formula-env list algorithms` names them."""
    task: TaskT
    algo: AlgoT
    task_name: Annotated[str, tyro.conf.arg(name="task")] = "binary-sum"
    """Which formulae; `formula-env list tasks` names them."""
    data: DataConfig = field(default_factory=DataConfig)
    seed: int = 0
    """Of everything random."""
    out: Path | None = None
    """The run folder to make; default runs/ALGORITHM-TASK-sSEED-TIME."""
    eval_every: int = 50
    """Rounds between evaluations; each saves a checkpoint."""
    eval_samples: int = 10_000
    """Formulae in an evaluation's sample."""
    device: str = "cpu"
    """Where networks run: cpu, cuda, cuda:1, …"""
    threads: int = 1
    """CPU threads of torch; networks this small are fastest with one."""
    track: bool = False
    """Log to Weights & Biases too (offline if nobody is logged in)."""
    wandb_project: str = "formula-env"
    """The W&B project."""
    wandb_group: str | None = None
    """The W&B group, such as the cell of a study; default ALGORITHM-TASK."""

    def __post_init__(self) -> None:
        for name in ("eval_every", "eval_samples", "threads"):
            if getattr(self, name) < 1:
                flag = name.replace("_", "-")
                raise FormulaError(f"--{flag} must be at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise FormulaError(f"--seed must not be negative, got {self.seed}")
        _check_device(self.device)


def _check_device(device: str) -> None:
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise FormulaError(f"unknown device {device!r}; use cpu, cuda or cuda:N") from None
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not torch.cuda.is_available()):
        raise FormulaError(f"device {device!r} is not available here; use --device cpu")


def save_config(config: RunConfig[Any, Any], folder: Path) -> None:
    """Write `config.yaml`: the settings, and the versions and commit they ran with."""
    settings = {name: value for name, value in asdict(config).items() if name not in ("out", "task_name")}
    settings["task"] = {"name": config.task_name, **config.task.options}
    document = settings | {"environment": _environment()}
    write_atomically(folder / CONFIG_FILE, yaml.safe_dump(document, sort_keys=False))


def load_config(folder: Path) -> RunConfig[Any, Any]:
    """Read `config.yaml`; raises FormulaError where the folder is no run folder or the file was damaged."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise FormulaError(f"{folder} is not a run folder: it holds no {CONFIG_FILE}")
    try:
        settings = yaml.safe_load(read_text(path))
        settings.pop("environment", None)
        task = settings.pop("task")
        task_name = task.pop("name")
        return RunConfig(
            task_name=task_name,
            task=make_task(task_name, **task),
            algo=algorithm_class(settings["algorithm"]).Config(**settings.pop("algo")),
            data=DataConfig(**settings.pop("data")),
            **settings,
        )
    except FormulaError:
        raise
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise FormulaError(f"{path} is not a run's configuration any more: {reason}") from None


def _environment() -> dict[str, str]:
    packages = ("formula-env", "torch", "numpy", "gymnasium")
    return {"python": platform.python_version(), "commit": _git_commit()} | {
        package: version(package) for package in packages
    }


def _git_commit() -> str:
    root = Path(__file__).parents[2]
    try:
        told = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return "unknown"
    return told.stdout.strip() or "unknown"
