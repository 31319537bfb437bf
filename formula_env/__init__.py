"""Environments in which agents learn to write formulae that are true.

Importing this package registers one Gymnasium environment for each task:
`gymnasium.make("formula_env:Formula/BinarySum-v0", length=8)`.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

import gymnasium as _gym

from formula_env.errors import FormulaError
from formula_env.tasks import SequenceTask, make_task, symbol_tasks
from formula_env.vocabulary import Vocabulary
from formula_env.wrappers import MaskInObservation, VectorMaskInObservation

if TYPE_CHECKING:
    from formula_env.env import FormulaEnv
    from formula_env.rewards import DiversityFilter
    from formula_env.scoring import score
    from formula_env.trained import load
    from formula_env.vector_env import FormulaVectorEnv

for _name in symbol_tasks():
    _id = f"Formula/{''.join(word.capitalize() for word in _name.split('-'))}-v0"
    _gym.register(
        id=_id,
        entry_point="formula_env.env:FormulaEnv",
        vector_entry_point="formula_env.vector_env:FormulaVectorEnv",
        kwargs={"task": _name},
    )
    # With the module to import, `gymnasium.make(env.spec.id)` finds it in a new process, too.
    _spec = _gym.registry[_id]
    _spec.id = f"formula_env:{_id}"
    _gym.registry[_spec.id] = _spec


_LAZY = {
    "DiversityFilter": "formula_env.rewards",
    "FormulaEnv": "formula_env.env",
    "FormulaVectorEnv": "formula_env.vector_env",
    "load": "formula_env.trained",
    "score": "formula_env.scoring",
}


def __getattr__(name: str) -> Any:
    """These need torch, which takes a second to import, or look the package up: only when asked for."""
    if name == "__version__":
        return _import_module("importlib.metadata").version("formula-env")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_import_module(_LAZY[name]), name)


__all__ = [
    "DiversityFilter",
    "FormulaEnv",
    "FormulaError",
    "FormulaVectorEnv",
    "MaskInObservation",
    "SequenceTask",
    "VectorMaskInObservation",
    "Vocabulary",
    "load",
    "make_task",
    "score",
]
