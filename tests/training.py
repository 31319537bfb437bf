"""Training an algorithm in a test, without the loop."""

import numpy as np

from formula_env.algorithm import SequenceAlgorithm
from formula_env.evaluators import Metrics, SequenceEvaluator
from formula_env.tasks.base import SequenceTask


def trained(algorithm: SequenceAlgorithm, task: SequenceTask) -> Metrics:
    """Metrics of the algorithm at the end of all its rounds, on fresh correct formulae."""
    rng, before = np.random.default_rng(0), algorithm.pretrain_rounds
    for round_ in range(before):
        algorithm.pretrain(task.sample(algorithm.real_batch_size, rng), round_ / before)
    for round_ in range(algorithm.rounds):
        algorithm.update(task.sample(algorithm.real_batch_size, rng), round_ / algorithm.rounds)
    return SequenceEvaluator(task)(algorithm.sample(500, 0), algorithm.log_prob)
