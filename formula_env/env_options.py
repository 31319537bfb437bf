"""The options of an environment: checked, and with defaults that depend on each other."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import signature
from typing import Any, Literal, get_args

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from formula_env.errors import (
    MAX_REPEATS,
    FormulaError,
    UnexpectedArgument,
    check_choice,
    check_methods,
    check_range,
    unexpected_argument,
    whole_number,
)
from formula_env.modes import default_modes
from formula_env.rewards import (
    ConstantReward,
    DiversityFilter,
    ExactReward,
    RewardMode,
    RewardModel,
    RewardModelName,
)
from formula_env.rollouts import Estimator, Exact, MonteCarlo, NoRollouts
from formula_env.self_training import ObservedSoftReward, SelfTraining, SelfTrainingDiscriminator, shared_by
from formula_env.tasks import make_task, task_class
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens

QEstimator = Literal["monte-carlo", "exact"]

RewardOptions = Mapping[str, Any]
"""Options of reward_model="discriminator", of "soft", and of a diversity filter around any, by these names:"""
REWARD_OPTIONS = ("architecture", "update_every", "seed", "real", "shared")
SOFT_OPTIONS = ("beta", "update_every", "seed", "shared")
FILTER_OPTIONS = ("bucket_size", "threshold", "score_when_full")

RESET_OPTIONS = ("reset_mask", "prefix")

# --- of the constructor ---------------------------------------------------------------------------------------


def find_task(
    task: str | SequenceTask, options: dict[str, Any], environment_options: Iterable[str]
) -> SequenceTask:
    """The task itself, or the one of this name. Raises UnexpectedArgument for options that nothing here has."""
    if not isinstance(task, str | SequenceTask):
        raise FormulaError(f"task must be a task's name or a SequenceTask, got {task!r}")
    known = list(signature(task_class(task)).parameters) if isinstance(task, str) else []
    for name, value in options.items():
        if name not in known:
            _check_moved(name, value)
            raise unexpected_argument(f"the environment of {task}", name, [*known, *environment_options])
    return make_task(task, **options) if isinstance(task, str) else task


def _check_moved(name: str, value: Any) -> None:
    """Raise UnexpectedArgument for what was an argument before `reward_options`."""
    option = name.removeprefix("discriminator").removeprefix("_") or "architecture"
    if name.startswith("discriminator") and option in REWARD_OPTIONS:
        raise UnexpectedArgument(
            f"the environment got an unexpected keyword argument {name!r}; {name}={value!r} is now "
            f"reward_options={ {option: value}!r}"
        )


def find_estimator(
    reward_mode: RewardMode | None = None,
    q_estimator: QEstimator | None = None,
    num_rollouts: int | None = None,
    *,
    has_play: bool = True,
) -> tuple[RewardMode, Estimator]:
    """How Q becomes rewards and how it is estimated, with defaults for what is not given.

    Raises FormulaError for what is wrong or has no effect. `has_play`: whether the environment has `play` and
    `q_values`, for which an estimate is of use with terminal rewards, too.
    """
    wants_q = bool(num_rollouts) or q_estimator is not None
    mode: RewardMode = reward_mode or ("difference" if wants_q else "terminal")
    check_choice(get_args(RewardMode), reward_mode=mode)
    check_choice((None, *get_args(QEstimator)), q_estimator=q_estimator)
    if num_rollouts is not None:
        num_rollouts = whole_number(0 if mode == "terminal" else 1, num_rollouts=num_rollouts)
        check_range(0, MAX_REPEATS, num_rollouts=num_rollouts)
    if q_estimator == "exact" and num_rollouts is not None:
        raise FormulaError('num_rollouts has no effect with q_estimator "exact"; leave it out')
    if q_estimator is not None and num_rollouts == 0:
        raise FormulaError("q_estimator has no effect with num_rollouts 0, which estimates no Q; leave it out")
    if mode == "terminal" and wants_q and not has_play:
        raise FormulaError(
            'num_rollouts and q_estimator have no effect with reward_mode "terminal", which needs no Q; '
            'leave them out, or use reward_mode "difference" or "q"'
        )
    if q_estimator == "exact":
        return mode, Exact()
    if num_rollouts is None:
        num_rollouts = DEFAULT_ROLLOUTS if wants_q or mode != "terminal" else 0
    return mode, MonteCarlo(num_rollouts) if num_rollouts else NoRollouts()


DEFAULT_ROLLOUTS = 16


def find_autoreset_mode(mode: str | AutoresetMode) -> AutoresetMode:
    """Gymnasium's mode of this name ("SAME_STEP") or value ("SameStep")."""
    known = {key: each for each in AutoresetMode for key in (each.name, each.value)}
    if isinstance(mode, AutoresetMode):
        return mode
    check_choice(list(known), autoreset_mode=mode)
    return known[mode]


def make_reward_model(
    reward_model: RewardModelName | RewardModel,
    options: RewardOptions | None,
    task: SequenceTask,
    device: torch.device,
) -> RewardModel:
    """The reward model itself, or the one of this name; behind a diversity filter if there is a `bucket_size`.

    `options` have the keys `REWARD_OPTIONS`, `SOFT_OPTIONS` and `FILTER_OPTIONS`.
    """
    known = tuple(dict.fromkeys((*REWARD_OPTIONS, *SOFT_OPTIONS, *FILTER_OPTIONS)))
    own = _checked_options(options, known, "reward_options", "reward option")
    of_filter = {name: own.pop(name) for name in FILTER_OPTIONS if name in own}
    if of_filter and "bucket_size" not in of_filter:
        raise FormulaError(
            f"reward option {next(iter(of_filter))} has no effect without bucket_size; give a bucket_size"
        )
    model = _make_unfiltered(reward_model, own, task, device)
    return DiversityFilter(model, task, device=device, **of_filter) if of_filter else model


def _make_unfiltered(
    reward_model: RewardModelName | RewardModel,
    options: dict[str, Any],
    task: SequenceTask,
    device: torch.device,
) -> RewardModel:
    if not isinstance(reward_model, str):
        check_methods(reward_model, RewardModel, "reward model")
        _check_no_effect(options, "one of your own")
        return reward_model
    check_choice(get_args(RewardModelName), reward_model=reward_model)
    if reward_model == "discriminator":
        _check_options_of("discriminator", options, REWARD_OPTIONS)
        return _make_discriminator(task, device, **options)
    if reward_model == "soft":
        _check_options_of("soft", options, SOFT_OPTIONS)
        return _make_soft(task, device, **options)
    _check_no_effect(options, repr(reward_model))
    return ExactReward(task) if reward_model == "exact" else ConstantReward()


def _check_no_effect(options: dict[str, Any], reward_model: str) -> None:
    if options:
        raise FormulaError(
            f"reward_options have no effect with reward_model {reward_model}; leave them out, or use "
            'reward_model "discriminator" or "soft"'
        )


def _check_options_of(reward_model: str, options: dict[str, Any], known: Sequence[str]) -> None:
    for name in options:
        if name not in known:
            raise FormulaError(
                f'reward option {name} has no effect with reward_model "{reward_model}"; its own are '
                + ", ".join(known)
            )


def _checked_options(options: Any, known: Sequence[str], all_of_them: str, one: str) -> dict[str, Any]:
    if not isinstance(options, Mapping | None):
        raise FormulaError(f"{all_of_them} must be a dictionary, got {options!r}")
    for name in options or {}:
        check_choice(known, **{one: name})
    return dict(options or {})


def _make_discriminator(
    task: SequenceTask,
    device: torch.device,
    *,
    architecture: Any = "mlp",
    shared: bool = False,
    real: Sequence[str] | None = None,
    **options: Any,
) -> RewardModel:
    """`options` are those of `SelfTrainingDiscriminator`."""
    tokens = None if real is None else _encode_finished(task, real)
    options |= {"discriminator": architecture, "device": device, "real": tokens}
    return _make_self_training(SelfTrainingDiscriminator, task, shared, options)


def _make_soft(task: SequenceTask, device: torch.device, *, shared: bool = False, **options: Any) -> RewardModel:
    """`options` are those of `ObservedSoftReward`."""
    return _make_self_training(ObservedSoftReward, task, shared, options | {"device": device})


def _make_self_training(
    kind: Callable[..., SelfTraining], task: SequenceTask, shared: bool, options: dict[str, Any]
) -> RewardModel:
    if not isinstance(shared, bool | np.bool_):
        raise FormulaError(f"reward option shared must be True or False, got {shared!r}")
    with default_modes():
        return shared_by(kind, task, **options) if shared else kind(task, **options)


def _encode_finished(task: SequenceTask, formulae: Sequence[str]) -> Tokens:
    is_list = isinstance(formulae, Sequence) and not isinstance(formulae, str)
    if not is_list or not all(isinstance(formula, str) for formula in formulae):
        raise FormulaError(f"reward option real must be a list of formulae as text, got {formulae!r}")
    tokens = task.encode(formulae)
    if not len(tokens):
        raise FormulaError("reward option real holds no formula")
    if task.vocabulary.eos is None and (tokens == task.vocabulary.pad).any():
        shortest = min(formulae, key=len)
        raise FormulaError(f"reward option real: {shortest!r} must have {task.max_length} symbols")
    return tokens


# --- of reset and step ----------------------------------------------------------------------------------------


def find_reset_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options by name; raises FormulaError for others than `RESET_OPTIONS`."""
    return _checked_options(options, RESET_OPTIONS, "options of reset", "option of reset")


def find_seeds(seed: int | Sequence[int | None] | None, num_envs: int) -> list[int | None] | None:
    """One seed, or None, for each environment: those given, or seed + i; None: no seed is given.

    Raises FormulaError for anything else; NumPy's integers are as good as Python's.
    """
    seeds = seed.tolist() if isinstance(seed, np.ndarray) else seed
    if seeds is None:
        return None
    if isinstance(seeds, int | np.integer):
        return [whole_seed(seeds) + i for i in range(num_envs)]
    if not isinstance(seeds, Sequence) or isinstance(seeds, str | bytes):
        raise FormulaError(f"seed must be a whole number, or a list of one for each environment, got {seeds!r}")
    if len(seeds) != num_envs:
        raise FormulaError(f"{len(seeds)} seeds for {num_envs} environments; give one for each")
    return [None if each is None else whole_seed(each) for each in seeds]


def whole_seed(seed: Any) -> int:
    """A single seed as an int; raises FormulaError for what Gymnasium does not take."""
    if isinstance(seed, bool | np.bool_) or not isinstance(seed, int | np.integer) or seed < 0:
        raise FormulaError(f"seed must be a whole number of at least 0, got {seed!r}")
    return int(seed)


def find_reset_mask(options: Mapping[str, Any], num_envs: int) -> NDArray[np.bool_]:
    """Which environments begin anew, `(num_envs,)`."""
    if "reset_mask" not in options:
        return np.ones(num_envs, dtype=bool)
    mask = options["reset_mask"]
    if not isinstance(mask, np.ndarray) or mask.shape != (num_envs,) or mask.dtype != np.bool_:
        raise FormulaError(f'options["reset_mask"] must be a bool array of shape ({num_envs},)')
    if not mask.any():
        raise FormulaError('options["reset_mask"] must mark at least one environment')
    return mask.copy()


def find_prefixes(options: Mapping[str, Any], task: SequenceTask, num_envs: int) -> Tokens | None:
    """Prefixes of the formulae, `(num_envs, T)`; None without any."""
    texts = options.get("prefix")
    if texts is None:
        return None
    if isinstance(texts, str):
        return np.tile(encode_prefix(task, texts), (num_envs, 1))
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise FormulaError(f"prefix must be text, or one text for each environment, got {texts!r}")
    if len(texts) != num_envs:
        raise FormulaError(f"{len(texts)} prefixes for {num_envs} environments; give one, or one for each")
    return np.stack([encode_prefix(task, text) for text in texts])


def checked_actions(actions: NDArray[np.int64], num_envs: int, vocab_size: int) -> NDArray[np.int64]:
    """One symbol for each environment, `(num_envs,)`; raises FormulaError for anything else."""
    actions = np.asarray(actions)
    if actions.shape != (num_envs,) or not np.issubdtype(actions.dtype, np.integer):
        raise FormulaError(f"actions must be {num_envs} integers, got shape {actions.shape} of {actions.dtype}")
    if actions.min() < 0 or actions.max() >= vocab_size:
        wrong = actions[(actions < 0) | (actions >= vocab_size)][0]
        raise FormulaError(f"actions must be from 0 to {vocab_size - 1}, got {wrong}")
    return actions


def check_formulae(tokens: Tokens, num_envs: int, task: SequenceTask) -> None:
    """Raise FormulaError for what is not one formula or prefix of the task for each environment."""
    shape, pad = (num_envs, task.max_length), task.vocabulary.pad
    if not isinstance(tokens, np.ndarray) or tokens.shape != shape or tokens.dtype != np.int64:
        got = f"{tokens.dtype} {tokens.shape}" if isinstance(tokens, np.ndarray) else type(tokens).__name__
        raise FormulaError(f"tokens must be an int64 array {shape}, a formula for each environment, got {got}")
    if tokens.min() < 0 or tokens.max() > pad:
        wrong = tokens[(tokens < 0) | (tokens > pad)][0]
        raise FormulaError(f"tokens must be from 0 to {pad}, got {wrong}")


def encode_prefix(task: SequenceTask, text: str) -> Tokens:
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
