"""The optimum of noise-contrastive estimation by enumeration, for both kinds of noise."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from formula_env.adversarial import discriminator_loss
from formula_env.agents.nce import NCE, NCEConfig
from formula_env.errors import FormulaError
from formula_env.networks import Generator
from formula_env.tasks import make_task
from formula_env.tasks.base import SequenceTask
from tests.even_ones import EvenOnes
from tests.oracles import all_sequences
from tests.tabular import Table, all_strings

CPU = torch.device("cpu")
TASK = make_task("binary-sum", length=4)
SEQUENCES = all_sequences(TASK)
TINY: dict[str, Any] = {"rounds": 10, "batch_size": 8, "embedding_dim": 4, "hidden_dim": 8}
NOISE: dict[str, dict[str, Any]] = {"uniform": {}, "tempered": {"noise": "tempered", "noise_temperature": 3.0}}
EXACT: dict[str, Any] = {"weight_decay": 0.0, "ema_decay": 0.0}
DATA = np.random.default_rng(0).dirichlet(np.full(16, 2.0))
"""p_data of the 16 strings, none of them impossible."""

both = pytest.mark.parametrize("noise", NOISE)


@dataclass(frozen=True)
class TableConfig(NCEConfig):
    """Trains a table instead of a network."""

    def make_generator(self, task: SequenceTask) -> Generator:
        return Table(task)


def table(noise: str, **settings: Any) -> tuple[NCE, Table]:
    algorithm = NCE(TASK, TableConfig(**EXACT | settings | NOISE[noise]), 0, CPU)
    assert isinstance(algorithm.generator, Table)
    return algorithm, algorithm.generator


def noise_of(generator: Table, noise: str) -> np.ndarray:
    """q of the 16 strings, each symbol's probability raised to 1/τ and normalised."""
    if noise == "uniform":
        return np.full(16, 1 / 16)
    symbol = np.exp(generator.logits.detach().double().numpy())
    symbol = (symbol / symbol.sum(axis=1, keepdims=True)) ** (1 / 3)
    symbol /= symbol.sum(axis=1, keepdims=True)
    probs = []
    for string in SEQUENCES.tolist():
        node, prob = 1, 1.0
        for bit in string:
            prob *= symbol[node, bit]
            node = 2 * node + bit
        probs.append(prob)
    return np.array(probs)


def expected_loss(algorithm: NCE, generator: Table, noise: str) -> Tensor:
    """Over all real and noise strings, each weighted by its probability."""
    q = noise_of(generator, noise)
    assert q.sum() == pytest.approx(1)
    logits = algorithm.discriminator(SEQUENCES)
    return discriminator_loss(logits.double(), torch.from_numpy(DATA / 2), torch.from_numpy(q / 2))


@both
def test_the_logit_is_the_log_ratio_of_the_generator_to_the_noise(noise: str) -> None:
    algorithm, generator = table(noise)
    generator.become(DATA)
    expected = np.log(DATA) - np.log(noise_of(generator, noise))
    np.testing.assert_allclose(algorithm.discriminator(SEQUENCES).detach(), expected, atol=1e-5)
    np.testing.assert_allclose(
        np.exp(algorithm.noise.log_prob(SEQUENCES.numpy())), noise_of(generator, noise), rtol=1e-5
    )


@both
def test_the_gradient_is_zero_where_the_generator_is_the_data_and_there_alone(noise: str) -> None:
    sizes = []
    for distribution in (DATA, DATA**0.9, DATA[::-1]):
        algorithm, generator = table(noise)
        generator.become(distribution)
        expected_loss(algorithm, generator, noise).backward()
        assert generator.logits.grad is not None
        sizes.append(generator.logits.grad.norm().item())
    assert sizes[0] < 1e-6 < 1e-3 < min(sizes[1:])


@both
def test_descending_its_gradient_leads_to_the_data(noise: str) -> None:
    """On the expected loss, noise and all, from a table that starts uniform."""
    algorithm, generator = table(noise)
    optimizer = torch.optim.Adam(generator.parameters(), lr=0.05)
    for _ in range(600):
        optimizer.zero_grad()
        expected_loss(algorithm, generator, noise).backward()
        optimizer.step()
    np.testing.assert_allclose(np.exp(algorithm.log_prob(SEQUENCES.numpy())), DATA, rtol=1e-3)


@both
def test_batches_lead_there_too(noise: str) -> None:
    algorithm, _ = table(noise, rounds=400, batch_size=512, learning_rate=0.1)
    rng = np.random.default_rng(1)
    for done in range(400):
        algorithm.update(SEQUENCES.numpy()[rng.choice(16, size=512, p=DATA)], done / 400)
    probs = np.exp(algorithm.log_prob(SEQUENCES.numpy()))
    assert 0.5 * np.abs(probs - DATA).sum() < 0.03


@pytest.mark.parametrize(("noise", "left"), [("uniform", 0.2), ("tempered", 0.05)])
def test_strings_that_uniform_noise_never_writes_become_improbable_too(noise: str, left: float) -> None:
    """Those that are not well-formed: π sums to 1, so they lose what the data gain; tempered noise has them."""
    task = EvenOnes(5)
    config = NCEConfig(rounds=300, batch_size=64, hidden_dim=32, learning_rate=0.01, **EXACT, **NOISE[noise])
    algorithm = NCE(task, config, 0, CPU)
    strings = all_strings(task)
    is_well_formed, is_correct = task.is_well_formed(strings), task.is_correct(strings)
    noise_probs = np.exp(algorithm.noise.log_prob(strings))
    assert noise_probs.sum() == pytest.approx(1)
    assert (noise_probs[~is_well_formed].sum() == 0) == (noise == "uniform")
    assert np.exp(algorithm.log_prob(strings))[~is_well_formed].sum() > 0.4
    for done in range(300):
        algorithm.update(task.sample(64, np.random.default_rng(done)), done / 300)
    probs = np.exp(algorithm.log_prob(strings))
    assert probs[~is_well_formed].sum() < left
    assert probs[is_well_formed & ~is_correct].sum() < 0.05


def test_verdicts_are_not_used() -> None:
    """A task whose checker raises is learnt from its examples."""

    class NoChecker(EvenOnes):
        def is_correct(self, tokens: Any) -> Any:
            raise AssertionError

    task = NoChecker(5)
    algorithm = NCE(task, NCEConfig(**TINY), 0, CPU)
    assert algorithm.update(EvenOnes(5).sample(8, np.random.default_rng(0)), 0.0)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"rounds": 0}, "rounds must be at least 1"),
    ({"noise": "normal"}, "noise must be"),
    ({"noise_temperature": 2.0}, "noise_temperature has no effect with noise uniform"),
    ({"noise": "tempered", "noise_temperature": 0.0}, "noise_temperature must be above 0"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        NCEConfig(**settings)
