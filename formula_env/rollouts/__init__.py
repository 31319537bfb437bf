"""Writing formulae under a policy, and the Q of prefixes: by Monte-Carlo completion, or exactly."""

from formula_env.rollouts.draws import cumulative_probs, inverse_cdf
from formula_env.rollouts.estimators import Estimator, Exact, MonteCarlo, NoRollouts
from formula_env.rollouts.exact import check_tree_size, exact_q
from formula_env.rollouts.fronts import Front, Group, completions
from formula_env.rollouts.monte_carlo import Score, monte_carlo_q, play, write
from formula_env.rollouts.prefix_tree import Level
from formula_env.rollouts.streams import derive_keys, stream_uniforms, writer_keys

__all__ = [
    "Estimator",
    "Exact",
    "Front",
    "Group",
    "Level",
    "MonteCarlo",
    "NoRollouts",
    "Score",
    "check_tree_size",
    "completions",
    "cumulative_probs",
    "derive_keys",
    "exact_q",
    "inverse_cdf",
    "monte_carlo_q",
    "play",
    "stream_uniforms",
    "write",
    "writer_keys",
]
