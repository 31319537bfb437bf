"""Checkers: exact verdicts on formulae as text, whose work is bounded by counting.

A new one is a file in this folder and a line in `CHECKERS`.

Another package adds its own through the entry-point group `formula_env.checkers` (name = "module:function").
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from formula_env.checkers.code import code_checker, is_code
from formula_env.errors import FormulaError
from formula_env.plugins import with_entry_points
from formula_env.suggestions import unknown

Checker = Callable[[Sequence[str]], NDArray[np.bool_]]
"""From n formulae as text to n verdicts; malformed text is merely not correct."""

CHECKERS: dict[str, str] = {
    "boolean": "formula_env.checkers.boolean:check",
    "calculus": "formula_env.checkers.calculus:check",
    "equation": "formula_env.checkers.equation:check",
}
"""Checkers by name, as name -> "module:function"."""

PROOFS: dict[str, str] = {
    "boolean": "formula_env.checkers.boolean:check",
    "calculus": "formula_env.checkers.calculus_proof:prove_all",
    "equation": "formula_env.checkers.equation:check",
}
"""Proofs of what a checker finds correct, by its name: the checker itself where its verdict is exact."""

UNDECIDED: dict[str, str] = {"calculus": "formula_env.checkers.calculus:undecided"}
"""Functions that mark formulae on which a checker can't decide, by its name; only of those that leave some."""

FORMS = {
    "boolean": "formula_env.checkers.boolean_forms",
    "calculus": "formula_env.checkers.calculus_forms",
    "equation": "formula_env.checkers.equation_forms",
}
"""Modules with `canonical`, `skeleton`, `to_latex` and `to_sympy` of what a checker judges, and perhaps with
`equal_forms`, by its name."""


def all_checkers() -> dict[str, str]:
    """Every checker that can be asked for by name."""
    return with_entry_points(CHECKERS, "formula_env.checkers")


def find_checker(spec: str) -> Checker:
    """The checker of a name, or of code such as `path.py:function`; raises FormulaError for an unknown name."""
    if is_code(spec):
        return code_checker(spec)
    known = all_checkers()
    if spec not in known:
        raise FormulaError(
            f"{unknown('checker', spec, known)}; or module:function, path.py:function, command:PROGRAM"
        )
    return _load(known[spec])


def find_proof(spec: str) -> Checker | None:
    """The prover of formulae that the checker of this name finds correct; None where there is none."""
    return _load(PROOFS[spec]) if spec in PROOFS else None  # not before it is needed: SymPy takes long to import


def find_undecided(spec: str) -> Checker | None:
    """Function that marks formulae on which the checker of this name can't decide; None if it decides on all."""
    return _load(UNDECIDED[spec]) if spec in UNDECIDED else None


def find_forms(spec: str) -> Any | None:
    """The module with the forms of this checker's formulae; None where there is none."""
    return import_module(FORMS[spec]) if spec in FORMS else None


def _load(path: str) -> Checker:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


__all__ = [
    "CHECKERS",
    "FORMS",
    "PROOFS",
    "UNDECIDED",
    "Checker",
    "all_checkers",
    "find_checker",
    "find_forms",
    "find_proof",
    "find_undecided",
    "is_code",
]
