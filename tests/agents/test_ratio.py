"""What the ratio discriminator and the log-ratio reward promise, by listing every sequence."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from formula_env.adversarial import discriminator_loss
from formula_env.adversary import AdversaryConfig
from formula_env.agents.seqgan import SeqGAN, SeqGANConfig
from formula_env.networks import AutoregressiveDiscriminator, LSTMGenerator, RatioDiscriminator
from formula_env.networks.decoding import DecodedGenerator, Decoding
from formula_env.rewards import DiscriminatorReward
from formula_env.sampling import log_prob
from formula_env.tasks import make_task
from tests.even_ones import EvenOnes
from tests.helpers import sharpen
from tests.oracles import all_sequences

TASK = make_task("binary-sum", length=4)
SEQUENCES = all_sequences(TASK)
NO_CLIP = 1e3


class Table(nn.Module):
    """A function of sequences of two symbols, with a number for each."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(2**length, dtype=torch.float64))
        self.place = 2 ** torch.arange(length)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.values[tokens @ self.place]


def some_generator(seed: int = 0) -> LSTMGenerator:
    torch.manual_seed(seed)
    generator = LSTMGenerator(TASK.vocabulary, embedding_dim=8, hidden_dim=16).double()
    sharpen(generator, 3.0)
    return generator


def some_data() -> Tensor:
    """p_data `(16,)`: the correct ones more probable, each to another degree; none impossible."""
    correct = torch.from_numpy(TASK.is_correct(SEQUENCES.numpy())).double()
    weights = (0.05 + correct) * torch.linspace(1, 3, len(SEQUENCES), dtype=torch.float64)
    return weights / weights.sum()


def train_to_convergence(discriminator: nn.Module, real: Tensor, fake: Tensor) -> None:
    """On the exact expectations: probabilities of real and of fake `(16,)` instead of batches."""
    optimizer = torch.optim.LBFGS(
        discriminator.parameters(), max_iter=500, tolerance_grad=1e-10, tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = discriminator_loss(discriminator(SEQUENCES), real / 2, fake / 2)
        value.backward()
        return value

    optimizer.step(loss)


def expected_gradient(generator: LSTMGenerator, reward: Tensor) -> Tensor:
    """∇E_π[r] of a reward `(16,)` held fixed."""
    return flat_gradient((generator.log_prob(SEQUENCES).exp() * reward).sum(), generator)


def flat_gradient(value: Tensor, generator: LSTMGenerator) -> Tensor:
    return torch.cat([part.flatten() for part in torch.autograd.grad(value, list(generator.parameters()))])


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_its_optimum_is_the_density_of_the_data_whatever_the_noise(temperature: float) -> None:
    generator, data = some_generator(), some_data()
    noise, energy = DecodedGenerator(generator, Decoding(temperature)), Table(4)
    with torch.no_grad():
        log_probs, fake = generator.log_prob(SEQUENCES), noise.log_prob(SEQUENCES).exp()
    assert (log_probs - data.log()).abs().max() > 1, "the generator is far from the data"
    train_to_convergence(RatioDiscriminator(energy, noise.log_prob), data, fake)
    f = energy(SEQUENCES).detach()
    assert f.exp().sum().item() == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(f, data.log(), atol=1e-3, rtol=0)
    judge = RatioDiscriminator(energy, generator.log_prob)
    reward = DiscriminatorReward(judge, "log-ratio", NO_CLIP).score(SEQUENCES)
    torch.testing.assert_close(reward, data.log() - log_probs, atol=1e-3, rtol=0)
    clipped = DiscriminatorReward(judge, "log-ratio", 0.5).score(SEQUENCES)
    torch.testing.assert_close(clipped, reward.clamp(-0.5, 0.5))


def test_climbing_the_reward_descends_the_divergence() -> None:
    """∇E_π[r], the reward held fixed, is -∇KL(π ‖ p), nothing held fixed."""
    generator, data = some_generator(), some_data()
    log_probs = generator.log_prob(SEQUENCES)
    divergence = (log_probs.exp() * (log_probs - data.log())).sum()
    downhill = -flat_gradient(divergence, generator)
    reward = data.log() - generator.log_prob(SEQUENCES).detach()
    torch.testing.assert_close(expected_gradient(generator, reward), downhill)
    assert downhill.norm() > 0.1


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_at_the_truth_nothing_is_left_to_do(temperature: float) -> None:
    """Data that the generator itself makes: the trained discriminator pays 0 for all, and the update is 0."""
    generator, energy = some_generator(), Table(4)
    noise = DecodedGenerator(generator, Decoding(temperature))
    with torch.no_grad():
        data, fake = generator.log_prob(SEQUENCES).exp(), noise.log_prob(SEQUENCES).exp()
    train_to_convergence(RatioDiscriminator(energy, noise.log_prob), data, fake)
    judge = RatioDiscriminator(energy, generator.log_prob)
    reward = DiscriminatorReward(judge, "log-ratio", NO_CLIP).score(SEQUENCES)
    assert reward.abs().max() < 2e-3
    assert expected_gradient(generator, reward).norm() < 1e-3
    wrong = torch.linspace(-1, 1, 16, dtype=torch.float64)  # as a reward that is not 0 would
    assert expected_gradient(generator, wrong).norm() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_seqgan_trains_it_against_the_noise_and_pays_by_the_generator(temperature: float) -> None:
    """All as SeqGAN has put it together, with its MLP."""
    config = SeqGANConfig(
        discriminator=AdversaryConfig(proposal_temperature=temperature, reward_clip=20.0),
        embedding_dim=8,
        hidden_dim=16,
    )
    seqgan = SeqGAN(TASK, config, 0, torch.device("cpu"))
    sharpen(seqgan.generator, 3.0)
    data = some_data()
    with torch.no_grad():
        log_probs = seqgan.generator.log_prob(SEQUENCES).double()
        fake = log_prob(seqgan.proposal.policy, TASK.vocabulary, SEQUENCES).exp()
    train_to_convergence(seqgan.adversary._trained, data.float(), fake)
    reward = seqgan.env.reward_model.score(SEQUENCES).double()
    torch.testing.assert_close(reward, data.log() - log_probs, atol=0.05, rtol=0)
    logits, told = seqgan.density_ratio(SEQUENCES.numpy())
    np.testing.assert_allclose(logits, reward, atol=1e-5)
    np.testing.assert_allclose(told, log_probs, atol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "autoregressive"])
def test_it_owns_its_energy_alone(name: Any) -> None:
    """Neither its state nor its gradient reaches the generator, which is somebody else's to train and save."""
    seqgan = SeqGAN(
        TASK,
        SeqGANConfig(discriminator=AdversaryConfig(architecture=name, proposal_temperature=2.0)),
        0,
        torch.device("cpu"),
    )
    for ratio in (seqgan.adversary.discriminator, seqgan.adversary._trained):
        assert isinstance(ratio, RatioDiscriminator)
        own, expected = list(ratio.parameters()), list(seqgan.adversary.network.parameters())
        assert [id(p) for p in own] == [id(p) for p in expected]
        assert set(ratio.state_dict()) == {f"energy.{key}" for key in seqgan.adversary.network.state_dict()}
        ratio(SEQUENCES).sum().backward()
    assert all(p.grad is None for p in seqgan.generator.parameters())
    assert any(p.grad is not None for p in seqgan.adversary.network.parameters())


@pytest.mark.parametrize("task", [TASK, EvenOnes(5)], ids=["BinarySum", "EvenOnes"])
def test_an_autoregressive_one_begins_as_the_generator_that_likelihood_made(task: Any) -> None:
    config = SeqGANConfig(
        mle_rounds=2, batch_size=16, d_steps=2, discriminator=AdversaryConfig(architecture="autoregressive")
    )
    seqgan = SeqGAN(task, config, 0, torch.device("cpu"))
    sequences = all_sequences(task)
    assert isinstance(seqgan.adversary.network, AutoregressiveDiscriminator)
    with torch.no_grad():
        seqgan.adversary.network.offset.fill_(0.25)
        assert not torch.allclose(seqgan.adversary.network(sequences), seqgan.generator.log_prob(sequences) + 0.25)
        for _ in range(seqgan.pretrain_rounds):
            with torch.enable_grad():
                seqgan.pretrain(task.sample(seqgan.real_batch_size, np.random.default_rng(0)), 0.0)
        expected = seqgan.generator.log_prob(sequences) + 0.25
        torch.testing.assert_close(seqgan.adversary.network(sequences), expected)
        torch.testing.assert_close(seqgan.adversary.discriminator(sequences), torch.full((len(sequences),), 0.25))
    before = expected.clone()
    seqgan.update(task.sample(seqgan.real_batch_size, np.random.default_rng(1)), 0.0)
    with torch.no_grad():
        assert not torch.allclose(seqgan.adversary.network(sequences), before, atol=1e-6), (
            "and then goes its own way"
        )
        after = seqgan.generator.log_prob(sequences) + 0.25
        assert not torch.allclose(seqgan.adversary.network(sequences), after, atol=1e-6)
