"""Cooperative training: the mediator's optimum, the generator's loss by enumeration, and what it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from formula_env.agents.cot import CoT, CoTConfig
from formula_env.evaluators import Metrics, SequenceEvaluator
from formula_env.networks.generators import token_log_probs
from formula_env.tasks import make_task
from tests.tabular import all_strings

CPU = torch.device("cpu")
TASK = make_task("binary-sum", length=4)
STRINGS = torch.from_numpy(all_strings(TASK))
CONFIG = CoTConfig(rounds=400, batch_size=256, hidden_dim=32, ema_decay=0.0)


@pytest.mark.slow
def test_the_mediator_becomes_the_mixture_of_data_and_generator() -> None:
    algorithm, rng = CoT(TASK, replace(CONFIG, learning_rate=1e-12), 0, CPU), np.random.default_rng(0)
    for round_ in range(400):
        algorithm.update(TASK.sample(256, rng), round_ / 400)
    mixture = (
        TASK.is_correct(STRINGS.numpy()) / 6 / 2 + algorithm.generator.log_prob(STRINGS).exp().detach().numpy() / 2
    )
    found = algorithm.mediator.log_prob(STRINGS).exp().detach().numpy()
    assert mixture.max() > 2 * mixture.min()
    assert found == pytest.approx(mixture, abs=0.012)


def test_the_loss_is_the_divergence_of_the_next_symbols_over_the_generator_s_prefixes() -> None:
    algorithm = CoT(TASK, CONFIG, 0, CPU)
    with torch.no_grad():
        for weights in algorithm.generator.parameters():
            weights.mul_(3)  # far from the mediator
    log_pi, log_m = (
        token_log_probs(each(STRINGS), STRINGS, 2) for each in (algorithm.generator, algorithm.mediator)
    )
    # Of formulae, Σ_t E[log π(y_t | s_t) - log M(y_t | s_t)] is KL(π ‖ M), by the chain rule.
    kl = (log_pi.sum(dim=1).exp() * (log_pi - log_m).sum(dim=1)).sum()
    per_string = torch.stack([algorithm.loss(string[None]) for string in STRINGS])
    found = (log_pi.sum(dim=1).exp() * per_string).sum()
    assert kl > 0.01
    torch.testing.assert_close(found, kl, atol=1e-5, rtol=1e-4)


def test_a_generator_that_is_the_mediator_stays_where_it_is() -> None:
    algorithm = CoT(TASK, CONFIG, 0, CPU)
    algorithm.mediator.load_state_dict(algorithm.generator.state_dict())
    loss = algorithm.loss(STRINGS)
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    gradients = torch.autograd.grad(loss, list(algorithm.generator.parameters()))
    assert max(float(each.abs().max()) for each in gradients) < 1e-6


def trained(config: CoTConfig) -> Metrics:
    algorithm, rng = CoT(TASK, config, 0, CPU), np.random.default_rng(0)
    for round_ in range(config.rounds):
        algorithm.update(TASK.sample(algorithm.real_batch_size, rng), round_ / config.rounds)
    return SequenceEvaluator(TASK)(algorithm.sample(500, 0), algorithm.log_prob)


@pytest.mark.slow
def test_it_learns_the_examples_distribution() -> None:
    end = trained(CONFIG)
    assert end["accuracy"] > 0.97
    assert end["jsd"] < 0.02
    assert end["coverage"] == 1


@pytest.mark.slow
def test_where_the_mediator_never_learns_it_learns_nothing() -> None:
    end = trained(replace(CONFIG, rounds=150, mediator_learning_rate=1e-12))
    assert end["accuracy"] == pytest.approx(6 / 16, abs=0.1)
