"""Cooperative training: the mediator's optimum, the generator's loss by enumeration, and what it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from formula_env.agents.cot import CoT, CoTConfig
from formula_env.averaged import Averaged
from formula_env.networks import Generator
from formula_env.networks.generators import token_log_probs
from formula_env.tasks import make_task
from tests.even_ones import EvenOnes
from tests.tabular import Table, all_strings
from tests.training import trained

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


def test_what_it_lacks_of_the_jensen_shannon_divergence() -> None:
    """With M = (p + π)/2 held fixed, 2·∇JSD(p, π) is the loss' gradient and that by way of the prefixes.

    2·∇JSD = ∇KL(π ‖ M) = Σ_x π(x)·∇loss(x) + Σ_x ∇π(x)·loss(x), by listing all strings x.
    """
    rng = np.random.default_rng(0)
    generator, mediator = Table(TASK), Table(TASK)
    generator.become(rng.dirichlet(np.ones(16)))
    data = torch.from_numpy(rng.dirichlet(np.ones(16))).float()

    def gradient(value: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(value, generator.logits, retain_graph=True)[0].flatten()

    log_pi = generator.log_prob(STRINGS)
    pi = log_pi.exp()
    mixture = (data + pi) / 2
    jsd = (data * (data / mixture).log() + pi * (log_pi - mixture.log())).sum() / 2
    fixed = mixture.detach()
    torch.testing.assert_close(gradient(2 * jsd), gradient((pi * (log_pi - fixed.log())).sum()))
    mediator.become(fixed.numpy())
    algorithm = CoT(TASK, CONFIG, 0, CPU)
    algorithm.weights, algorithm.mediator = Averaged[Generator](generator, 0.0), mediator
    loss = torch.stack([algorithm.loss(string[None]) for string in STRINGS])
    ours, by_prefixes = gradient((pi.detach() * loss).sum()), gradient((pi * loss.detach()).sum())
    torch.testing.assert_close(ours + by_prefixes, gradient(2 * jsd), atol=1e-6, rtol=1e-5)
    assert by_prefixes.norm() / ours.norm() == pytest.approx(0.5016, abs=1e-4)
    assert torch.nn.functional.cosine_similarity(ours, gradient(jsd), dim=0) == pytest.approx(0.8712, abs=1e-4)


def test_what_is_behind_the_end_of_a_formula_does_not_count() -> None:
    task = EvenOnes(5)
    algorithm = CoT(task, CONFIG, 0, CPU)
    end, pad = task.vocabulary.eos, task.vocabulary.pad
    short = torch.tensor([[1, end, pad, pad, pad]])
    log_pi, log_m = (each(short).log_softmax(dim=2)[0, :2] for each in (algorithm.generator, algorithm.mediator))
    torch.testing.assert_close(algorithm.loss(short), (log_pi.exp() * (log_pi - log_m)).sum())


@pytest.mark.slow
def test_it_learns_the_examples_distribution() -> None:
    end = trained(CoT(TASK, CONFIG, 0, CPU), TASK)
    assert end["accuracy"] > 0.97
    assert end["jsd"] < 0.02
    assert end["coverage"] == 1


@pytest.mark.slow
def test_where_the_mediator_never_learns_it_learns_nothing() -> None:
    end = trained(CoT(TASK, replace(CONFIG, rounds=150, mediator_learning_rate=1e-12), 0, CPU), TASK)
    assert end["accuracy"] == pytest.approx(6 / 16, abs=0.1)
