from itertools import pairwise
from math import log

import pytest
import torch
from torch import nn

from formula_env.adversarial import (
    discriminator_loss,
    discriminator_step,
    generator_step,
    labelled,
    mle_step,
    move_weights,
    r1_penalty,
)
from formula_env.networks import DISCRIMINATORS, LSTMGenerator, RatioDiscriminator, make_discriminator
from formula_env.networks.discriminators import one_hot
from formula_env.optimizers import adam
from formula_env.sampling import sample
from formula_env.tasks import make_task

TASK = make_task("binary-sum")


def ids(*formulae: str) -> torch.Tensor:
    return torch.from_numpy(TASK.encode(formulae))


def test_discriminator_loss_by_hand() -> None:
    """Repeated formulae, one of them in both halves, halves of different size: each half's mean counts ½."""
    torch.manual_seed(0)
    discriminator = make_discriminator("mlp", TASK)
    real, fake = ids("01100101", "01100101", "11110000"), ids("01100101", "00000001")
    d = torch.sigmoid
    by_hand = -(d(discriminator(real)).log().mean() + (1 - d(discriminator(fake))).log().mean()) / 2
    formulae, real_share, fake_share = labelled(real, fake)
    assert len(formulae) == 3
    loss = discriminator_loss(discriminator(formulae), real_share, fake_share)
    torch.testing.assert_close(loss, by_hand)
    relaxed = labelled(one_hot(real, 2), one_hot(fake, 2))
    torch.testing.assert_close(discriminator_loss(discriminator(relaxed[0]), *relaxed[1:]), by_hand)
    gradients = [torch.autograd.grad(value, list(discriminator.parameters())) for value in (loss, by_hand)]
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected)


def test_a_discriminator_step_reports_what_it_saw() -> None:
    discriminator = make_discriminator("mlp", TASK)
    real, fake = ids("01100101", "01100101", "11110000"), ids("01100101", "00000001")
    with torch.no_grad():
        right = ((discriminator(real) > 0).float().mean() + (discriminator(fake) <= 0).float().mean()) / 2
    metrics = discriminator_step(discriminator, adam(discriminator.parameters(), 1e-3), real, fake)
    torch.testing.assert_close(metrics["discriminator/accuracy"], right)


def test_what_it_cannot_tell_apart_costs_log_2() -> None:
    shares = torch.tensor([0.5, 0.0]), torch.tensor([0.0, 0.5])
    assert discriminator_loss(torch.zeros(2), *shares).item() == pytest.approx(log(2))


def test_its_gradient_against_finite_differences() -> None:
    logits = torch.randn(4, dtype=torch.float64, requires_grad=True)
    real, fake = torch.tensor([0.2, 0.3, 0.0, 0.0]).double(), torch.tensor([0.1, 0.0, 0.15, 0.25]).double()
    assert torch.autograd.gradcheck(lambda x: discriminator_loss(x, real, fake), (logits,))


def test_a_discriminator_step_tells_its_mean_verdict_on_fakes() -> None:
    discriminator = make_discriminator("mlp", TASK)
    real, fake = ids("01100101"), ids("01100101", "00000001", "00000001")
    with torch.no_grad():
        by_hand = torch.sigmoid(discriminator(fake)).mean()
    for halves in ((real, fake), (one_hot(real, 2), one_hot(fake, 2))):
        metrics = discriminator_step(discriminator, adam(discriminator.parameters(), 1e-12), *halves)
        torch.testing.assert_close(metrics["discriminator/fake"], by_hand)


def test_weight_decay_shrinks_weights_without_a_gradient() -> None:
    """Decoupled: by 1 - lr · decay each step, whatever Adam makes of the gradient, here 0."""
    weight = nn.Parameter(torch.tensor([2.0, -3.0]))
    optimizer = adam([weight], 0.1, weight_decay=0.3)
    for step in range(1, 4):
        weight.grad = torch.zeros(2)
        optimizer.step()
        torch.testing.assert_close(weight.detach(), (1 - 0.1 * 0.3) ** step * torch.tensor([2.0, -3.0]))


def test_without_weight_decay_it_is_adam() -> None:
    """Its first step is lr · sign(gradient), its second what Kingma & Ba's formulae say."""
    weight = nn.Parameter(torch.tensor([2.0, -3.0], dtype=torch.float64))
    optimizer = adam([weight], 0.1)
    for gradient in ([4.0, -5.0], [1.0, 1.0]):
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    expected = []
    for start, g1, g2 in ((2.0, 4.0, 1.0), (-3.0, -5.0, 1.0)):
        mean, square = 0.9 * 0.1 * g1 + 0.1 * g2, 0.999 * 0.001 * g1**2 + 0.001 * g2**2
        second = 0.1 * (mean / (1 - 0.9**2)) / ((square / (1 - 0.999**2)) ** 0.5 + 1e-8)
        expected.append(start - 0.1 * (1 if g1 > 0 else -1) - second)
    assert weight.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("max_grad_norm", [0.05, 1e6, float("inf")])
def test_the_norm_of_a_discriminator_steps_gradient_is_clipped(max_grad_norm: float) -> None:
    """Plain descent at rate 1 moves the weights by the gradient itself."""
    torch.manual_seed(0)
    discriminator = make_discriminator("mlp", TASK)
    real, fake = ids("01100101", "01100101", "11110000"), ids("01100101", "00000001")
    formulae, real_share, fake_share = labelled(real, fake)
    parameters = list(discriminator.parameters())
    loss = discriminator_loss(discriminator(formulae), real_share, fake_share)
    gradient = torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters)])
    before = nn.utils.parameters_to_vector(parameters).detach().clone()
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    discriminator_step(discriminator, optimizer, real, fake, max_grad_norm=max_grad_norm)
    moved = before - nn.utils.parameters_to_vector(parameters).detach()
    assert gradient.norm() > 0.1
    expected = gradient * min(1.0, max_grad_norm / gradient.norm().item())
    torch.testing.assert_close(moved, expected, atol=1e-6, rtol=1e-3)


def test_r1_by_hand() -> None:
    """For D(x) = w·x the gradient is w everywhere; for D(x) = |x|²/2 it is x."""
    linear = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))
    real = torch.randn(5, 3)
    weight = next(linear.parameters()).detach()
    torch.testing.assert_close(r1_penalty(linear, real), weight.square().sum() / 2)

    class Bowl(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.square().flatten(1).sum(dim=1) / 2

    torch.testing.assert_close(r1_penalty(Bowl(), real), real.square().sum(dim=1).mean() / 2)


def test_r1_and_its_gradient_against_finite_differences() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0)).double()
    real, step = torch.randn(3, 4, dtype=torch.float64), 1e-6
    slopes = torch.zeros_like(real)
    for i in range(4):
        shift = torch.zeros(4, dtype=torch.float64)
        shift[i] = step
        slopes[:, i] = (network(real + shift) - network(real - shift)).detach() / (2 * step)
    penalty = r1_penalty(network, real)
    torch.testing.assert_close(penalty, slopes.square().sum(dim=1).mean() / 2, atol=1e-7, rtol=1e-5)
    weight = network[0].weight
    assert isinstance(weight, torch.Tensor)
    (gradient,) = torch.autograd.grad(penalty, weight)
    weight.data[2, 1] += step
    above = r1_penalty(network, real).item()
    weight.data[2, 1] -= 2 * step
    below = r1_penalty(network, real).item()
    assert float(gradient[2, 1]) == pytest.approx((above - below) / (2 * step), rel=1e-4, abs=1e-7)


def test_r1_flattens_the_discriminator_where_data_are() -> None:
    steepness = {}
    real, fake = one_hot(ids("01100101", "11110000"), 2), one_hot(ids("00000001", "11111110"), 2)
    for r1 in (0.0, 1.0):
        torch.manual_seed(0)
        discriminator = make_discriminator("mlp", TASK)
        optimizer = adam(discriminator.parameters(), 1e-3)
        for _ in range(200):
            discriminator_step(discriminator, optimizer, real, fake, r1)
        steepness[r1] = r1_penalty(discriminator, real).item()
    assert steepness[1.0] < steepness[0.0] / 10


def test_a_generator_step_descends_the_non_saturating_loss_and_moves_nobody_else() -> None:
    torch.manual_seed(0)
    generator, discriminator = nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))
    noise = torch.randn(64, 2)
    before = [parameter.detach().clone() for parameter in discriminator.parameters()]
    by_hand = -torch.log(torch.sigmoid(discriminator(generator(noise)))).mean()
    optimizer = torch.optim.SGD(generator.parameters(), lr=0.1)
    losses = [
        generator_step(generator, optimizer, discriminator, generator(noise))["train/loss"] for _ in range(20)
    ]
    torch.testing.assert_close(losses[0], by_hand.detach())
    assert all(later < earlier for earlier, later in pairwise(losses))
    for parameter, old in zip(discriminator.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
        assert parameter.grad is None


def uniform_log_prob(tokens: torch.Tensor) -> torch.Tensor:
    return torch.full((len(tokens),), -8 * log(2))


@pytest.mark.slow
@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_every_discriminator_learns_the_checker(name: str) -> None:
    """Correct formulae against incorrect ones: it must come to tell all 256 apart."""
    every = torch.cartesian_prod(*[torch.arange(2)] * 8)
    correct = torch.from_numpy(TASK.is_correct(every.numpy()))
    discriminator = make_discriminator(name, TASK)
    if name == "autoregressive":  # a log-density, which says nothing without one to compare with
        discriminator = RatioDiscriminator(discriminator, uniform_log_prob)
    optimizer = adam(discriminator.parameters(), 3e-3)
    steps = [discriminator_step(discriminator, optimizer, every[correct], every[~correct]) for _ in range(250)]
    assert steps[0]["discriminator/loss"] > 0.6
    assert steps[-1]["discriminator/accuracy"] > 0.97
    with torch.no_grad():
        assert ((discriminator(every) > 0) == correct).float().mean() > 0.97


def test_mle_steps_raise_the_likelihood_of_what_they_see() -> None:
    generator = LSTMGenerator(TASK.vocabulary)
    optimizer = adam(generator.parameters(), 1e-2)
    real = torch.from_numpy(TASK.enumerate())
    losses = [
        float(mle_step(generator, optimizer, real, TASK.vocabulary.pad, 5.0)["train/nll"]) for _ in range(150)
    ]
    assert losses[0] == pytest.approx(8 * log(2), abs=0.2)
    assert log(70) <= losses[-1] < log(70) + 0.15
    drawn = sample(generator, TASK.vocabulary, 8, 2_000, torch.Generator().manual_seed(0)).numpy()
    assert TASK.is_correct(drawn).mean() > 0.8


def test_move_weights_is_the_moving_average() -> None:
    old, new = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    expected = 0.8 * old.weight.detach() + 0.2 * new.weight.detach()
    move_weights(old, new, decay=0.8)
    torch.testing.assert_close(old.weight.detach(), expected)
    move_weights(old, new, decay=0.0)
    assert torch.equal(old.weight, new.weight)
