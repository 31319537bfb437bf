"""The options of an environment: checked, and with defaults that depend on each other."""

from collections.abc import Iterable, Sequence
from inspect import signature
from typing import Any, Literal, get_args

import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from formula_env.errors import FormulaError, check_choice, unexpected_argument, whole_number
from formula_env.modes import default_modes
from formula_env.rewards import (
    ConstantReward,
    ExactReward,
    RewardMode,
    RewardModel,
    RewardModelName,
)
from formula_env.self_training import SelfTrainingDiscriminator, shared_discriminator
from formula_env.tasks import make_task, task_class
from formula_env.tasks.base import Task
from formula_env.vocabulary import Tokens

ObservationName = Literal["one-hot", "tokens"]
QEstimator = Literal["monte-carlo", "exact"]


def find_task(task: str | Task, options: dict[str, Any], environment_options: Iterable[str]) -> Task:
    """The task itself, or the one of this name. Raises UnexpectedArgument for options that nothing here has."""
    if not isinstance(task, str | Task):
        raise FormulaError(f"task must be a task's name or a Task, got {task!r}")
    known = list(signature(task_class(task)).parameters) if isinstance(task, str) else []
    for name in options:
        if name not in known:
            raise unexpected_argument(f"the environment of {task}", name, [*known, *environment_options])
    return make_task(task, **options) if isinstance(task, str) else task


def credit(
    reward_mode: RewardMode | None, q_estimator: QEstimator | None, num_rollouts: int | None
) -> tuple[RewardMode, QEstimator, int]:
    """How Q is estimated and becomes rewards, with defaults for what is not given."""
    wants_q = bool(num_rollouts) or q_estimator is not None
    mode: RewardMode = reward_mode or ("difference" if wants_q else "terminal")
    check_choice(get_args(RewardMode), reward_mode=mode)
    check_choice((None, *get_args(QEstimator)), q_estimator=q_estimator)
    if num_rollouts is not None:
        num_rollouts = whole_number(0 if mode == "terminal" else 1, num_rollouts=num_rollouts)
    if q_estimator == "exact" and num_rollouts is not None:
        raise FormulaError('num_rollouts has no effect with q_estimator "exact"; leave it out')
    if num_rollouts is None:
        num_rollouts = 0 if q_estimator == "exact" or not (wants_q or mode != "terminal") else 16
    return mode, q_estimator or "monte-carlo", num_rollouts


def find_autoreset_mode(mode: str | AutoresetMode) -> AutoresetMode:
    """Gymnasium's mode of this name ("SAME_STEP") or value ("SameStep")."""
    known = {key: each for each in AutoresetMode for key in (each.name, each.value)}
    if isinstance(mode, str):
        check_choice(list(known), autoreset_mode=mode)
        return known[mode]
    return AutoresetMode(mode)


def make_reward_model(
    name: RewardModelName, task: Task, device: torch.device, shared: bool | None, **options: Any
) -> RewardModel:
    """The reward model of this name. `options` are those of `SelfTrainingDiscriminator`, None where not given."""
    check_choice(get_args(RewardModelName), reward_model=name)
    given = {option: value for option, value in options.items() if value is not None}
    if name != "discriminator":
        if given or shared is not None:
            raise FormulaError(
                f"the discriminator's options have no effect with reward_model {name!r}; leave them out, or use "
                'reward_model "discriminator"'
            )
        return ExactReward(task) if name == "exact" else ConstantReward()
    if "real" in given:
        given["real"] = _encode_finished(task, given["real"])
    with default_modes():
        make = shared_discriminator if shared else SelfTrainingDiscriminator
        return make(task, device=device, **given)


def encode_prefix(task: Task, text: str) -> Tokens:
    """The beginning of a formula as tokens `(T,)`; raises FormulaError if no formula begins with it."""
    ids = task.vocabulary.read(text)
    if len(ids) >= task.max_length:
        raise FormulaError(
            f"prefix {text!r} has {len(ids)} symbols; at most {task.max_length - 1} leave one to write"
        )
    tokens = np.full(task.max_length, task.vocabulary.pad)
    for t, symbol in enumerate(ids):
        if not task.legal_symbols(tokens[None, :t])[0, symbol]:
            name = task.vocabulary.symbols[symbol]
            raise FormulaError(f"no formula begins with prefix {text!r}: {name!r} can't be symbol {t + 1}")
        tokens[t] = symbol
    return tokens


def _encode_finished(task: Task, formulae: Sequence[str]) -> Tokens:
    if isinstance(formulae, str) or not all(isinstance(formula, str) for formula in formulae):
        raise FormulaError(f"discriminator_real must be a list of formulae as text, got {formulae!r}")
    tokens = task.encode(formulae)
    if not len(tokens):
        raise FormulaError("discriminator_real holds no formula")
    if task.vocabulary.eos is None and (tokens == task.vocabulary.pad).any():
        shortest = min(formulae, key=len)
        raise FormulaError(f"discriminator_real: {shortest!r} must have {task.max_length} symbols")
    return tokens
