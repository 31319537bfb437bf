"""The process that talks to Weights & Biases for one run: `python -m formula_env.experiment.wandb_process`.

W&B keeps global state (the current run, credentials, environment variables, exit hooks), reads its settings once
for a process, and may fail or hang. Here it does so out of reach of the training and of the caller's own W&B runs.

Commands come as lines of JSON on stdin, answers leave as lines of JSON on stdout. The first command opens the run;
stdin that ends without a "close" means that the training was killed.
"""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO


def main() -> int:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # the training decides when tracking ends
    commands, answers = _private_streams()
    try:
        for line in _serve(commands):
            answers.write(f"{json.dumps(line)}\n")
            answers.flush()
    except Exception as error:  # whatever W&B raises: the training prints it in one line and continues
        answers.write(f"{json.dumps({'error': _one_line(error), 'is_setting': _is_setting(error)})}\n")
        answers.flush()
        return 1
    return 0


def _private_streams() -> tuple[TextIO, TextIO]:
    """This process' stdin and stdout, out of reach of what W&B prints and starts."""
    commands = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(nothing, stream)
    return commands, answers


def _serve(commands: TextIO) -> Iterator[dict[str, Any]]:
    """Carry out the commands; yields the answers."""
    settings = json.loads(commands.readline())
    sys.argv = settings.pop("argv")  # W&B shows how the run was started
    _write_only_under(Path(settings["folder"], "wandb"))
    import wandb

    run, mode = _open(wandb, **settings)
    yield {"id": run.id, "mode": mode, "folder": run.settings.sync_dir}
    completed = False
    for line in commands:
        name, value = next(iter(json.loads(line).items()))
        if name == "log":
            run.log(value, step=value["round"])
        elif name == "finish":
            _finish(wandb, run, **value)
        elif name == "close":
            completed = value
    run.finish(exit_code=0 if completed else 1)


def _write_only_under(folder: Path) -> None:
    """Make all that W&B writes go there: caches, staged artifacts, logs and temporary files."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(temporary)
    os.environ |= {f"WANDB_{name}_DIR": str(folder / name.lower()) for name in ("CACHE", "DATA", "ARTIFACT")}
    # W&B takes our package `agents` for an LLM library of that name, and would advertise another product.
    os.environ["WANDB_DISABLE_WEAVE"] = "true"
    os.environ.pop("WANDB_SERVICE", None)  # the caller's service would write where the caller's runs do


def _open(wandb: Any, folder: str, training: int, tags: list[str], **options: Any) -> tuple[Any, str]:
    """The W&B run, and its mode: "online", "offline", "disabled", or "logged out" for offline because of that."""

    def stop() -> None:
        """Stop the training, as W&B's page asks to."""
        if os.getppid() == training:
            os.kill(training, signal.SIGINT)

    disabled = os.environ.get("WANDB_DISABLED", "").lower() in ("1", "true", "yes", "on")
    configured = "disabled" if disabled else wandb.setup().settings.mode
    logged_in = configured not in ("online", "run", "shared") or wandb.login(prompt=False, verify=False)
    run = wandb.init(
        dir=folder,
        tags=[*tags, *filter(None, os.environ.get("WANDB_TAGS", "").split(","))],
        mode=configured if logged_in else "offline",
        resume="allow",
        settings=wandb.Settings(silent=True, console="off", stop_fn=stop, x_stats_pid=training),
        **options,
    )
    run.define_metric("round")
    run.define_metric("*", step_metric="round")
    mode = "disabled" if run.disabled else "offline" if run.offline else "online"
    return run, mode if logged_in else "logged out"


def _finish(
    wandb: Any, run: Any, summary: dict[str, Any], formulae: list[dict[str, Any]],
    figures: list[str], files: list[str],
) -> None:  # fmt: skip
    table = wandb.Table(columns=list(formulae[0]), data=[list(row.values()) for row in formulae])
    images = {f"figures/{Path(path).stem}": wandb.Image(path) for path in figures}
    run.log({"formulae": table, **images}, step=summary["rounds"])
    run.summary.update(summary)
    artifact = wandb.Artifact(f"checkpoint-{run.id}", type="model")
    for path in files:  # immutable: they stay as they are, so W&B needs no copy
        artifact.add_file(path, policy="immutable", skip_cache=True)
    run.log_artifact(artifact)


def _one_line(error: Exception) -> str:
    """The message of an error in one line; pydantic, which checks W&B's settings, takes several."""
    if isinstance(error, ImportError):
        return f"its package can't be imported ({' '.join(str(error).split())}); install it by pip install wandb"
    problems = getattr(error, "errors", None)
    if callable(problems):
        each_problem: Any = problems()
        return "; ".join(f"{_origin(each)}: {each['msg']}, got {each['input']!r}" for each in each_problem)
    return " ".join(str(error).split())[:300] or type(error).__name__


def _is_setting(error: Exception) -> bool:
    """Whether W&B refused a setting: an invalid value (pydantic's error), or a name that it does not allow."""
    return callable(getattr(error, "errors", None)) or type(error).__name__ == "UsageError"


def _origin(problem: dict[str, Any]) -> str:
    """The environment variable that holds the value, or W&B's name of the setting."""
    named = (key for key, value in os.environ.items() if key.startswith("WANDB_") and value == problem["input"])
    return next(named, ".".join(map(str, problem["loc"])))


if __name__ == "__main__":
    sys.exit(main())
