"""Where a run's rows go: `metrics.jsonl` always, Weights & Biases if asked for."""

import os
import secrets
import sys
from pathlib import Path
from typing import Any, Literal, Protocol

from formula_env.errors import FormulaError
from formula_env.experiment.config import RunConfig, config_document
from formula_env.experiment.files import read_text, write_atomically
from formula_env.experiment.rows import Row

WANDB_FILE = "wandb_run_id.txt"


class Tracker(Protocol):
    """Receives what the training loop has to tell."""

    def log(self, row: Row) -> None: ...

    def finish(self, summary: Row, formulae: list[Row], folder: Path) -> None:
        """The end: the summary, formulae as the judge describes them, and the folder with figures and weights."""
        ...

    def close(self, completed: bool) -> None:
        """The run ends here: completed, or failed or interrupted."""
        ...


class NoTracker:
    """Nothing beyond `metrics.jsonl`."""

    def log(self, row: Row) -> None:
        pass

    def finish(self, summary: Row, formulae: list[Row], folder: Path) -> None:
        pass

    def close(self, completed: bool) -> None:
        pass


class WandbTracker:
    """Weights & Biases: rows, a table of formulae, figures, and the last checkpoint as an artifact."""

    def __init__(self, config: RunConfig[Any, Any], folder: Path) -> None:
        # W&B takes our package `agents` for an LLM library of that name, and would advertise another product.
        os.environ.setdefault("WANDB_DISABLE_WEAVE", "true")
        import wandb  # only here: it is slow to import, and most runs do without

        self._wandb = wandb
        id_file = folder / WANDB_FILE
        run_id = read_text(id_file).strip() if id_file.exists() else secrets.token_hex(4)
        name = f"{config.algorithm}-{config.task_name}"
        try:
            self._run = wandb.init(
                project=config.wandb_project,
                group=config.wandb_group or name,
                name=f"{name}-s{config.seed}",
                id=run_id,
                resume="allow",
                config=config_document(config),
                dir=str(folder),
                mode=_wandb_mode(wandb),
                settings=wandb.Settings(silent=True),
            )
        except wandb.Error as error:
            raise FormulaError(
                f"W&B: {error}; mend that, or leave out --track (in config.yaml: track: false)"
            ) from None
        write_atomically(id_file, f"{self._run.id}\n")  # in a sweep its agent chooses the id, whatever we ask for
        self._run.define_metric("round")
        self._run.define_metric("*", step_metric="round")

    def log(self, row: Row) -> None:
        self._run.log(row, step=row["round"])

    def finish(self, summary: Row, formulae: list[Row], folder: Path) -> None:
        table = self._wandb.Table(columns=list(formulae[0]), data=[list(row.values()) for row in formulae])
        figures = {
            f"figures/{path.stem}": self._wandb.Image(str(path))
            for path in sorted((folder / "figures").glob("*.png"))
        }
        self._run.log({"formulae": table, **figures}, step=summary["rounds"])
        self._run.summary.update(summary)
        artifact = self._wandb.Artifact(f"checkpoint-{self._run.id}", type="model")
        for path in (*sorted(folder.glob("checkpoint-*.pt"))[-1:], folder / "config.yaml"):
            artifact.add_file(str(path))
        self._run.log_artifact(artifact)

    def close(self, completed: bool) -> None:
        self._run.finish(exit_code=0 if completed else 1)


def _wandb_mode(wandb: Any) -> Literal["offline"] | None:
    """None where W&B has its own answer; "offline", with one notice, where nobody is logged in."""
    if os.environ.get("WANDB_MODE") or wandb.login(prompt=False):
        return None
    print(
        "W&B: nobody is logged in, so this run is tracked offline (later: wandb login; wandb sync)",
        file=sys.stderr,
    )
    return "offline"
