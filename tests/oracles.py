"""Second, plainer ways to compute what the project computes. Slow and obvious on purpose."""

from itertools import product
from math import prod

import torch
from torch import Tensor

from formula_env.networks import Generator
from formula_env.networks.decoding import Decoding
from formula_env.rollouts import Score
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Vocabulary


def all_sequences(task: SequenceTask) -> Tensor:
    """Every sequence `(n, T)` the generator can emit; with EOS, what ends early is filled with PAD."""
    vocabulary = task.vocabulary
    if vocabulary.eos is None:
        return torch.tensor(list(product(range(vocabulary.size), repeat=task.max_length)))
    others = range(vocabulary.eos)
    rows = [list(row) for row in product(others, repeat=task.max_length)]
    for written in range(task.max_length):
        tail = [vocabulary.eos] + [vocabulary.pad] * (task.max_length - written - 1)
        rows += [[*row, *tail] for row in product(others, repeat=written)]
    return torch.tensor(rows)


def brute_force_q(generator: Generator, score: Score, task: SequenceTask, prefix: Tensor) -> float:
    """E[score] of the completions of one prefix `(t,)`, by listing every sequence there is."""
    sequences = all_sequences(task)
    sequences = sequences[(sequences[:, : len(prefix)] == prefix).all(dim=1)]
    with torch.no_grad():
        weights = torch.softmax(generator.log_prob(sequences).double(), dim=0)
        return float((weights * score(sequences).double()).sum())


def plain_loop_q(
    generator: Generator, score: Score, vocabulary: Vocabulary, tokens: Tensor, num_rollouts: int
) -> Tensor:
    """Monte-Carlo Q `(B, T)` as public SeqGANs compute it: a loop over positions, rollouts and symbols."""
    batch_size, length = tokens.shape
    q = torch.zeros(batch_size, length, dtype=torch.float64)
    with torch.no_grad():
        for t in range(1, length + 1):
            for _ in range(num_rollouts if t < length else 1):
                completed = _complete(generator, vocabulary, tokens, t)
                q[:, t - 1] += score(completed).double()
            if t < length:
                q[:, t - 1] /= num_rollouts
    return q


def batched_q(
    generator: Generator, score: Score, vocabulary: Vocabulary, tokens: Tensor, num_rollouts: int
) -> Tensor:
    """Monte-Carlo Q `(B, T)` with all positions and rollouts as one large batch, in which nothing is shared."""
    batch_size, length = tokens.shape
    prefix_lengths = torch.arange(1, length, device=tokens.device).repeat_interleave(num_rollouts)  # (L,)
    rows = tokens.repeat_interleave(len(prefix_lengths), dim=0)  # (B·L, T)
    state = generator.start(len(rows))
    symbols = torch.full((len(rows),), vocabulary.bos, device=tokens.device)
    written = []
    with torch.no_grad():
        for t in range(length):
            logits, state = generator.step(symbols, state)
            drawn = torch.multinomial(torch.softmax(logits, dim=1), 1).squeeze(1)
            symbols = torch.where(t < prefix_lengths.repeat(batch_size), rows[:, t], drawn)
            written.append(symbols)
        completed = score(torch.stack(written, dim=1)).double().view(batch_size, length - 1, num_rollouts)
        return torch.cat([completed.mean(dim=2), score(tokens).double()[:, None]], dim=1)


def _complete(generator: Generator, vocabulary: Vocabulary, tokens: Tensor, t: int) -> Tensor:
    state = generator.start(len(tokens))
    symbols = torch.full((len(tokens),), vocabulary.bos)
    written = []
    for position in range(tokens.shape[1]):
        logits, state = generator.step(symbols, state)
        drawn = torch.multinomial(torch.softmax(logits, dim=1), 1).squeeze(1)
        symbols = tokens[:, position] if position < t else drawn
        written.append(symbols)
    return torch.stack(written, dim=1)


def decoded_probs(probs: list[float], decoding: Decoding) -> list[float]:
    """What a distribution of the next symbol becomes under decoding rules."""
    powers = [p ** (1 / decoding.temperature) for p in probs]
    kept = [(p / sum(powers), -v) for v, p in enumerate(powers)]
    kept = sorted(kept, reverse=True)[: decoding.top_k or len(probs)]
    kept = [(p / sum(q for q, _ in kept), v) for p, v in kept]
    nucleus: list[tuple[float, int]] = []
    while kept and sum(p for p, _ in nucleus) < decoding.top_p:
        nucleus.append(kept.pop(0))
    nucleus = [(p / sum(q for q, _ in nucleus), v) for p, v in nucleus]
    left = [(p, v) for p, v in nucleus if p >= decoding.epsilon] or nucleus[:1]
    result = [0.0] * len(probs)
    for p, v in left:
        result[-v] = p / sum(q for q, _ in left)
    return result


def decoded_sequence_probs(generator: Generator, decoding: Decoding, sequences: Tensor) -> list[float]:
    """Probabilities of sequences `(n, T)` under decoding rules: the product over their symbols, PAD left out."""
    with torch.no_grad():
        conditional = torch.softmax(generator(sequences).double(), dim=-1).tolist()
    pad = generator.vocabulary.pad
    return [
        prod(decoded_probs(probs, decoding)[v] for probs, v in zip(rows, symbols, strict=True) if v != pad)
        for rows, symbols in zip(conditional, sequences.tolist(), strict=True)
    ]


def is_well_formed(task: SequenceTask, sequences: Tensor) -> Tensor:
    """Whether each symbol of sequences `(n, T)` is legal behind those before it: `(n,)`."""
    rows = sequences.numpy()
    good = torch.ones(len(rows), dtype=torch.bool)
    for t in range(rows.shape[1]):
        for i, legal in enumerate(task.legal_symbols(rows[:, :t]).tolist()):
            good[i] &= bool(rows[i, t] == task.vocabulary.pad or legal[rows[i, t]])
    return good
