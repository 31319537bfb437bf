"""The command line: `formula-env COMMAND …`, also `python -m formula_env`."""

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from inspect import getdoc

from formula_env.cli.evaluate import run_evaluate
from formula_env.cli.export import run_export
from formula_env.cli.found import run_found
from formula_env.cli.listing import run_list
from formula_env.cli.messages import say
from formula_env.cli.sample import run_sample
from formula_env.cli.score import run_score
from formula_env.cli.studies import run_figures, run_report, run_study
from formula_env.cli.train import run_resume, run_train
from formula_env.cli.tune import run_tune
from formula_env.errors import FormulaError
from formula_env.experiment.interrupt import Interrupted
from formula_env.experiment.isolation import isolated
from formula_env.experiment.output import safe_output
from formula_env.suggestions import unknown

COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "train": run_train,
    "resume": run_resume,
    "evaluate": run_evaluate,
    "sample": run_sample,
    "found": run_found,
    "export": run_export,
    "score": run_score,
    "tune": run_tune,
    "study": run_study,
    "figures": run_figures,
    "report": run_report,
    "list": run_list,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 for wrong input, 130 or 143 for a run that was interrupted.

    The process of the caller keeps its settings, random numbers, signal handlers and W&B run.
    """
    with safe_output(), isolated():
        return _run(list(sys.argv[1:] if argv is None else argv))


def _run(arguments: list[str]) -> int:
    try:
        _dispatch(arguments)
        sys.stdout.flush()
        return 0
    except FormulaError as error:
        return _complain(error)
    except Interrupted as stop:
        say(str(stop))
        return stop.exit_code
    except SystemExit:  # tyro's after a command's help; rich's when the reader of a table has seen enough
        return 0
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        return 0
    except (OSError, MemoryError) as error:
        return _complain(error)
    except RuntimeError as error:
        if "allocate memory" not in str(error):
            raise
        return _complain(error)  # torch's way to say that memory is short


def _complain(error: Exception) -> int:
    say(str(error) or type(error).__name__)
    return 2


def _dispatch(arguments: list[str]) -> None:
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command in ("-h", "--help"):
        print(_overview())
        return
    if command == "--version":
        print(f"formula-env {version('formula-env')}")
        return
    if command not in COMMANDS:
        raise FormulaError(unknown("command", command, COMMANDS))
    COMMANDS[command](rest)


def _overview() -> str:
    # Without docstrings (python -OO) the names alone.
    about = {name: (getdoc(run) or "").partition("\n")[0] for name, run in COMMANDS.items()}
    lines = [f"  {name:<10}{line}".rstrip() for name, line in about.items()]
    return "\n".join(
        ["usage: formula-env COMMAND [OPTIONS]", "", *lines, "", "formula-env COMMAND --help lists the options."]
    )
