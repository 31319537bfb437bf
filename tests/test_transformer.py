from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from formula_env.networks import TransformerGenerator
from formula_env.networks.discriminators import one_hot
from formula_env.rollouts import exact, exact_q, fronts, monte_carlo_q
from formula_env.sampling import log_prob
from formula_env.tasks import make_task
from tests.helpers import opinionated_transformer, sharpen
from tests.oracles import all_sequences
from tests.rollouts.test_rollouts import all_prefixes, keys, q_of

TASK = make_task("signed-equation", length=5)


def transformer(dropout: float = 0.0, seed: int = 0) -> TransformerGenerator:
    torch.manual_seed(seed)
    return TransformerGenerator(
        TASK.vocabulary, TASK.max_length, hidden_dim=16, layers=2, heads=2, dropout=dropout
    )


def test_no_symbol_is_seen_before_it_is_written() -> None:
    generator, _ = opinionated_transformer(TASK)
    tokens = torch.tensor([[0, 1, 2, 0, 3]])
    for position in range(TASK.max_length):
        other = tokens.clone()
        other[0, position] = (tokens[0, position] + 1) % TASK.vocabulary.size
        with torch.no_grad():
            same = (generator(tokens) == generator(other)).all(dim=-1)[0]
        assert same[: position + 1].all()
        assert not same[position + 1 :].any()


def test_every_symbol_before_matters_by_its_place() -> None:
    """Without positions, attention would read a bag of symbols."""
    generator, _ = opinionated_transformer(TASK)
    with torch.no_grad():
        one, other = (generator(torch.tensor([row]))[0, -1] for row in ([0, 1, 2, 0, 3], [1, 0, 2, 0, 3]))
    assert (one - other).abs().max() > 1e-3


def test_attention_is_that_of_the_paper() -> None:
    """softmax(Q·Kᵀ / √d) V over what is not later, head by head, in loops (Vaswani et al. 2017, eq. 1)."""
    generator = transformer()
    sharpen(generator, 3.0)
    block = generator.blocks[0].double()
    weights = block.state_dict()

    def layer(name: str, x: Tensor) -> Tensor:
        return nn.functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def normalised(name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=-1, keepdim=True)
        scaled = centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    hidden = torch.randn(1, 4, 16, dtype=torch.float64)
    query, key, value = layer("query_key_value", normalised("attention_norm", hidden))[0].split(16, 1)
    mixed = torch.zeros(4, 16, dtype=torch.float64)
    for head in (slice(0, 8), slice(8, 16)):
        for t in range(4):
            scores = torch.stack([query[t, head] @ key[s, head] / 8**0.5 for s in range(t + 1)])
            for s, weight in enumerate(scores.exp() / scores.exp().sum()):
                mixed[t, head] += weight * value[s, head]
    attended = hidden[0] + layer("projection", mixed)
    inner = nn.functional.gelu(layer("feed_forward.0", normalised("feed_forward_norm", attended)))
    torch.testing.assert_close(block(hidden)[0], attended + layer("feed_forward.2", inner))


def test_ids_and_one_hots_are_read_alike() -> None:
    generator, _ = opinionated_transformer(TASK)
    tokens = all_sequences(TASK)[:50]
    relaxed = one_hot(tokens, TASK.vocabulary.size).requires_grad_()
    torch.testing.assert_close(generator(relaxed), generator(tokens))
    generator(relaxed)[:, -1].sum().backward()
    assert relaxed.grad is not None
    assert (relaxed.grad.abs().sum(dim=(0, 2))[:-1] > 0).all()


def test_shared_prefixes_give_what_unshared_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, reward = opinionated_transformer(TASK)
    tokens, lengths = all_prefixes(TASK)
    key = keys(len(tokens))

    def estimate(rows: Tensor) -> Tensor:
        arguments = (generator, reward.score, TASK.vocabulary, tokens[rows], lengths[rows], key[rows], 8)
        return q_of(monte_carlo_q, lengths[rows], *arguments)

    together = estimate(torch.arange(len(tokens)))
    alone = torch.cat([estimate(torch.tensor([row])) for row in range(0, len(tokens), 7)])
    torch.testing.assert_close(alone, together[::7], atol=1e-5, rtol=0)
    monkeypatch.setattr(fronts, "STATE_LIMIT", 500)
    torch.testing.assert_close(estimate(torch.arange(len(tokens))), together, atol=1e-5, rtol=0)


@contextmanager
def watched(generator: TransformerGenerator, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The numbers in the states that `step` reads, call by call."""
    sizes: list[int] = []
    step = generator.step

    def watch(symbols: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        sizes.append(sum(part.numel() for part in state))
        return step(symbols, state)

    with monkeypatch.context() as patch:
        patch.setattr(generator, "step", watch)
        yield sizes


def test_memory_is_bounded_by_the_numbers_in_the_states(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, reward = opinionated_transformer(TASK)
    tokens = all_sequences(TASK)
    few = torch.arange(0, len(tokens), 9)
    arguments = (generator, reward.score, TASK.vocabulary, tokens[few], torch.zeros(len(few), dtype=torch.int64))
    with watched(generator, monkeypatch) as sizes:
        expected = log_prob(generator, TASK.vocabulary, tokens)
        monte_carlo_q(*arguments, keys(len(few)), 4)
        assert max(sizes) > 1000
    monkeypatch.setattr(fronts, "STATE_LIMIT", 1000)
    with watched(generator, monkeypatch) as sizes:
        torch.testing.assert_close(log_prob(generator, TASK.vocabulary, tokens), expected, atol=1e-3, rtol=0)
        monte_carlo_q(*arguments, keys(len(few)), 4)
        assert max(sizes) <= 1000
    exact_q(*arguments)
    monkeypatch.setattr(exact, "TREE_STATE_LIMIT", 1000)
    with pytest.raises(ValueError, match="exact Q needs a tree of more than"):
        exact_q(*arguments)
