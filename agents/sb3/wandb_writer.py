"""Weights & Biases as an output of Stable-Baselines3's logger."""

from typing import Any

import numpy as np
from stable_baselines3.common.logger import KVWriter, filter_excluded_keys


class WandbWriter(KVWriter):
    """Writer of all that a model logs, its callbacks' metrics included, to a W&B run, over `num_timesteps`.

    `model.set_logger(Logger(None, [WandbWriter(wandb.init(project=…))]))`

    Args:
        run: an open `wandb` run; who opened it finishes it.
    """

    def __init__(self, run: Any) -> None:
        self.run = run
        run.define_metric("num_timesteps")
        run.define_metric("*", step_metric="num_timesteps")

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Numbers and text; figures and videos are for other writers."""
        kept = filter_excluded_keys(key_values, key_excluded, "wandb")
        logged = {name: value for name, value in kept.items() if isinstance(value, np.ScalarType)}
        # Not as W&B's own step, which can't go back: a second `learn` counts from 0 again.
        self.run.log({**logged, "num_timesteps": step})

    def close(self) -> None:
        pass
