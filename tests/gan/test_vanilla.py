import numpy as np
import pytest
import torch

from formula_env.evaluators import ContinuousEvaluator
from formula_env.gan.vanilla import VanillaGAN, VanillaGANConfig
from formula_env.tasks.integer_sum import IntegerSum

CONFIG = VanillaGANConfig(
    rounds=1200, batch_size=64, hidden_dim=64, generator_learning_rate=2e-3, discriminator_learning_rate=2e-3,
    ema_decay=0.98, r1=1.0,
)  # fmt: skip
TASK = IntegerSum(largest=2, real=True)


def trained(spoil: bool) -> dict[str, float | int | bool]:
    """The metrics after training; `spoil` tears the sums in the training data apart from their terms."""
    gan = VanillaGAN(TASK, CONFIG, 0, torch.device("cpu"))
    data, rng = TASK.sample(5_000, np.random.default_rng(0)), np.random.default_rng(1)
    if spoil:
        data[:, 2] = rng.permutation(data[:, 2])
    for done in range(CONFIG.rounds):
        gan.update(data[rng.integers(len(data), size=64)], done / CONFIG.rounds)
    return ContinuousEvaluator(TASK)(gan.sample(2_000, seed=0))


@pytest.mark.slow
def test_it_learns_the_sum_and_the_terms() -> None:
    random, learnt = ContinuousEvaluator(TASK).random_sampler(2_000, seed=0), trained(spoil=False)
    assert random["mse"] == pytest.approx(2, rel=0.1)
    assert learnt["mse"] < 0.05
    assert learnt["marginal_distance"] < 0.6
    assert learnt["coverage"] == 1


@pytest.mark.slow
def test_where_there_is_no_sum_it_learns_none() -> None:
    assert trained(spoil=True)["mse"] > 0.2


def test_learning_rates_fall_linearly_to_their_end_factor() -> None:
    gan = VanillaGAN(
        IntegerSum(), VanillaGANConfig(rounds=4, lr_end_factor=0.2, hidden_dim=4), 0, torch.device("cpu")
    )
    real = IntegerSum().sample(8, np.random.default_rng(0))
    rates = []
    for done in range(4):
        gan.update(real, done / 4)
        rates.append(gan.generator_optimizer.param_groups[0]["lr"] / 5e-4)
    assert rates == pytest.approx([1.0, 0.8, 0.6, 0.4])
