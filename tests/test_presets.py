"""Every preset of every algorithm can be trained, to the end."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from formula_env.evaluators import SequenceEvaluator
from formula_env.experiment.config import algo_config
from formula_env.experiment.registry import algorithm_class, all_algorithms
from formula_env.tasks import make_task

CPU = torch.device("cpu")
TASK = make_task("binary-sum", length=4)
PRESETS = [
    pytest.param(name, preset, id=f"{name}-{preset}")
    for name in sorted(all_algorithms())
    for preset in getattr(algorithm_class(name), "presets", {})
]
SHORT = {
    "rounds": 3, "mle_rounds": 2, "discriminator_rounds": 1, "warmup_rounds": 1, "likelihood_every": 2,
    "search_every": 1, "search_size": 16, "batch_size": 8, "d_steps": 2, "num_rollouts": 2, "num_samples": 4,
    "num_references": 2, "comparison_size": 3,
}  # fmt: skip
NARROW = {"hidden_dim": 128, "channels": 16, "representations": 8}
"""Widths of RelGAN and WGAN-GP, which are large in the paper; those of all others stay as they are."""


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_it_can_be_trained_to_the_end(name: str, preset: str) -> None:
    """With fewer rounds, smaller batches and narrower networks than its own; all else stays."""
    cls = algorithm_class(name)
    whole = algo_config(name, cls.presets[preset])
    lower = {key: value for key, value in (SHORT | NARROW).items() if getattr(whole, key, 0) > value}
    algorithm = cls(TASK, replace(whole, **lower), 0, CPU)
    assert algorithm.rounds == 3
    rng, before = np.random.default_rng(0), algorithm.pretrain_rounds
    for done in range(before + 3):
        real = TASK.sample(algorithm.real_batch_size, rng)
        metrics = (
            algorithm.pretrain(real, done / before)
            if done < before
            else algorithm.update(real, (done - before) / 3)
        )
        assert metrics
        assert all(np.isfinite(value) for value in metrics.values()), done
    judged = SequenceEvaluator(TASK)(algorithm.sample(50, 0), algorithm.log_prob)
    assert all(np.isfinite(value) for value in judged.values())
