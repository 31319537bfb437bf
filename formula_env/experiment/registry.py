"""Algorithms by name. A new one is a file in `agents/` or `gan/` and a line in `ALGORITHMS`.

Another package adds its own through the entry-point group `formula_env.algorithms` (name = "module:Class").
Classes are loaded when asked for, so a run never imports what another algorithm needs.
"""

from typing import Any

from formula_env.tasks import load_class, with_entry_points

ALGORITHMS = {
    "mle": "agents.mle:MLE",
    "seqgan": "agents.seqgan:SeqGAN",
}


def all_algorithms() -> dict[str, str]:
    """Every algorithm that can be asked for by name, as name -> "module:Class"."""
    return with_entry_points(ALGORITHMS, "formula_env.algorithms")


def algorithm_class(name: str) -> Any:
    """The class of this name (see `formula_env.algorithm.Algorithm`); raises FormulaError for an unknown one."""
    return load_class(all_algorithms(), "algorithm", name)
