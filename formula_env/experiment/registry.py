"""Algorithms by name. A new one is a file in `agents/` or `gan/` and a line in `ALGORITHMS`.

Another package adds its own through the entry-point group `formula_env.algorithms` (name = "module:Class").
Classes are loaded when asked for, so a run never imports what another algorithm needs.
"""

from typing import Any

from formula_env.errors import FormulaError
from formula_env.plugins import with_entry_points
from formula_env.suggestions import unknown
from formula_env.tasks import BaseTask, all_tasks, load_class, task_class

ALGORITHMS = {
    "a2c": "formula_env.agents.sb3.algorithms:A2C",
    "ars": "formula_env.agents.sb3.algorithms:ARS",
    "bgan": "formula_env.agents.bgan:BGAN",
    "cot": "formula_env.agents.cot:CoT",
    "dqn": "formula_env.agents.sb3.algorithms:DQN",
    "eb-gfn": "formula_env.agents.eb_gfn:EBGFN",
    "gflownet": "formula_env.agents.gflownet:GFlowNet",
    "gumbel-softmax-gan": "formula_env.gan.gumbel_softmax:GumbelSoftmaxGAN",
    "leakgan": "formula_env.agents.leakgan:LeakGAN",
    "maligan": "formula_env.agents.maligan:MaliGAN",
    "maskable-ppo": "formula_env.agents.sb3.algorithms:MaskablePPO",
    "mle": "formula_env.agents.mle:MLE",
    "nce": "formula_env.agents.nce:NCE",
    "ppo": "formula_env.agents.sb3.algorithms:PPO",
    "qrdqn": "formula_env.agents.sb3.algorithms:QRDQN",
    "rankgan": "formula_env.agents.rankgan:RankGAN",
    "recurrent-ppo": "formula_env.agents.sb3.algorithms:RecurrentPPO",
    "relgan": "formula_env.gan.relgan:RelGAN",
    "seqgan": "formula_env.agents.seqgan:SeqGAN",
    "softmax-gan": "formula_env.gan.softmax:SoftmaxGAN",
    "trpo": "formula_env.agents.sb3.algorithms:TRPO",
    "vanilla-gan": "formula_env.gan.vanilla:VanillaGAN",
    "verified-mle": "formula_env.agents.verified_mle:VerifiedMLE",
    "wgan-gp": "formula_env.gan.wgan_gp:WGANGP",
}

ANALYSES = {
    "alternator": "formula_env.gan.analyses:alternator_rows",
    "bounds": "formula_env.gan.analyses:bound_rows",
    "conditionals": "formula_env.gan.analyses:conditional_rows",
    "estimators": "formula_env.agents.analyses:estimator_rows",
    "gumbel-softmax": "formula_env.gan.analyses:gumbel_softmax_rows",
    "perfect-generator": "formula_env.gan.analyses:perfect_generator_rows",
    "sampling": "formula_env.gan.analyses:sampling_rows",
    "switch-probability": "formula_env.gan.analyses:switch_probability_rows",
}
"""Analyses, which a study computes without training anything, as name -> function from a seed to rows."""


def all_algorithms() -> dict[str, str]:
    """Every algorithm that can be asked for by name, as name -> "module:Class"."""
    return with_entry_points(ALGORITHMS, "formula_env.algorithms")


CONTINUOUS = ("crossq", "ddpg", "sac", "td3", "tqc")
"""Well-known algorithms that choose real numbers."""


def algorithm_class(name: str) -> Any:
    """The class of this name (see `formula_env.algorithm.Algorithm`); raises FormulaError for an unknown one."""
    if name in CONTINUOUS and name not in all_algorithms():
        raise FormulaError(f"{name} acts by real numbers; formulae are made of symbols: use ppo, a2c, trpo or dqn")
    return load_class(all_algorithms(), "algorithm", name)


def preset(algorithm: str, name: str | None) -> dict[str, Any]:
    """The hyper-parameters of an algorithm's preset, {} for None; raises FormulaError for an unknown one."""
    if name is None:
        return {}
    presets: dict[str, dict[str, Any]] = getattr(algorithm_class(algorithm), "presets", {})
    if name not in list(presets):  # a study may give anything, hashable or not
        raise FormulaError(
            unknown("preset", name, presets) if presets else f"unknown preset {name!r}; {algorithm} has none"
        )
    return presets[name]


MANY_EXAMPLES = 10_000
"""Training formulae above which the variant of a preset for many of them, `NAME-many`, is the default."""


def default_preset(algorithm: str, task: type[BaseTask], data_size: float) -> str | None:
    """The preset with which an algorithm learns so many formulae of a task by default; None if it has none."""
    name = getattr(task, "default_preset", None)
    names = [f"{name}-many", name] if data_size > MANY_EXAMPLES else [name]
    presets = getattr(algorithm_class(algorithm), "presets", {})
    return next((each for each in names if each in presets), None)


def check_fit(algorithm: str, task_name: str, task: BaseTask) -> None:
    """Raise FormulaError for an algorithm that is for another kind of task."""
    wanted = algorithm_class(algorithm).task_type
    if not isinstance(task, wanted):
        fitting = [name for name in sorted(all_tasks()) if issubclass(task_class(name), wanted)]
        raise FormulaError(f"{algorithm} can't learn {task_name}; it is for: {', '.join(fitting)}")


def analysis(name: str) -> Any:
    """The analysis of this name; raises FormulaError for an unknown one."""
    return load_class(ANALYSES, "analysis", name)
