"""Discriminators: formulae to logits, real = 1. All read ids `(n, T)` or relaxed one-hots `(n, T, V)`.

For formulae the position of a symbol matters, so none of them pools over time.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from formula_env.networks.generators import Generator, LSTMGenerator
from formula_env.vocabulary import Vocabulary

DiscriminatorKind = Literal["plain", "ratio"]
"""Meaning of the network's output: "plain", the logit, as in the thesis; "ratio", the logit plus log π."""


def one_hot(tokens: Tensor, vocab_size: int) -> Tensor:
    """Ids `(n, T)` as float one-hots `(n, T, V)`; PAD is all zeros. Relaxed `(n, T, V)` passes unchanged."""
    if tokens.is_floating_point():
        return tokens
    return nn.functional.one_hot(tokens, vocab_size + 1)[..., :vocab_size].float()


def padded_one_hot(tokens: Tensor, vocab_size: int) -> Tensor:
    """Ids `(n, T)` as float one-hots `(n, T, V)`, in which EOS fills what is behind it."""
    return one_hot(tokens.clamp(max=vocab_size - 1), vocab_size)


class SequenceLinear(nn.Linear):
    """A linear layer on the flat one-hot sequence.

    Where the one-hots are wide, ids `(n, T)` are not spelt out: the sum of their T columns of the weight is the
    same, and at T·V = 200 already costs a quarter (`F.embedding_bag`, PAD weighing 0).
    """

    def __init__(self, vocab_size: int, max_length: int, out_features: int) -> None:
        super().__init__(max_length * vocab_size, out_features)
        self.vocab_size = vocab_size

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name in nn.Linear)
        if input.is_floating_point() or self.in_features <= NARROW:
            return super().forward(one_hot(input, self.vocab_size).flatten(1))
        first_columns = torch.arange(input.shape[1], device=input.device) * self.vocab_size
        written = input != self.vocab_size
        columns = first_columns + input.masked_fill(~written, 0)
        weights = written.to(self.weight.dtype)
        columns_of_weight = self.weight.T.contiguous()
        total = nn.functional.embedding_bag(columns, columns_of_weight, mode="sum", per_sample_weights=weights)
        return total + self.bias


NARROW = 64
"""One-hot sequences up to this wide are cheaper to multiply than to look up."""


class Discriminator(nn.Module):
    """Base class of networks whose last layer gives the logit, and the one before it the features of a formula."""

    @abstractmethod
    def features(self, tokens: Tensor) -> Tensor:
        """The last hidden layer `(n, F)`."""

    @abstractmethod
    def forward(self, tokens: Tensor) -> Tensor:
        """Logits `(n,)`."""


class MLPDiscriminator(Discriminator):
    """Two hidden layers of 400 on the flat one-hot sequence: the thesis' discriminator (chapters 5 to 7)."""

    def __init__(self, vocabulary: Vocabulary, max_length: int, hidden_dim: int = 400) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            SequenceLinear(vocabulary.size, max_length, hidden_dim),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_dim, hidden_dim),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_dim, 1),
        )

    def features(self, tokens: Tensor) -> Tensor:
        return self.layers[:-1](tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.layers(tokens).squeeze(1)


class CNNDiscriminator(Discriminator):
    """Two convolutions over time whose full output, position by position, is read by a linear layer."""

    def __init__(self, vocabulary: Vocabulary, max_length: int, channels: int = 64) -> None:
        super().__init__()
        self.vocab_size = vocabulary.size
        self.layers = nn.Sequential(
            nn.Conv1d(vocabulary.size, channels, kernel_size=5, padding=2),
            nn.LeakyReLU(0.2),
            nn.Conv1d(channels, channels, kernel_size=5, padding=2),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(channels * max_length, 128),
            nn.LeakyReLU(0.2),
            nn.Linear(128, 1),
        )

    def features(self, tokens: Tensor) -> Tensor:
        return self.layers[:-1](one_hot(tokens, self.vocab_size).transpose(1, 2))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.layers(one_hot(tokens, self.vocab_size).transpose(1, 2)).squeeze(1)


class RecurrentDiscriminator(Discriminator):
    """An LSTM reads the formula; its last state gives the logit."""

    def __init__(self, vocabulary: Vocabulary, max_length: int, hidden_dim: int = 128) -> None:
        super().__init__()
        self.vocab_size = vocabulary.size
        self.lstm = nn.LSTM(vocabulary.size, hidden_dim, batch_first=True)
        self.output = nn.Linear(hidden_dim, 1)

    def features(self, tokens: Tensor) -> Tensor:
        hidden, _ = self.lstm(one_hot(tokens, self.vocab_size))
        return hidden[:, -1]

    def forward(self, tokens: Tensor) -> Tensor:
        return self.output(self.features(tokens)).squeeze(1)


class AutoregressiveDiscriminator(nn.Module):
    """f(x) = Σ_t log p(y_t | y_<t) + c: the energy of a `RatioDiscriminator` is a language model.

    It may begin as a copy of the generator and learns, from what the generator does wrong, to become the better
    one of the two. What it has learnt from one formula it applies to others with the same rule: trained on
    1,000 of 12,870 formulae it still separates unseen ones from near misses.
    """

    def __init__(self, vocabulary: Vocabulary, max_length: int, model: Generator | None = None) -> None:
        super().__init__()
        self.model = model or LSTMGenerator(vocabulary)
        self.offset = nn.Parameter(torch.zeros(()))
        self.train()  # a generator comes in evaluation mode

    def forward(self, tokens: Tensor) -> Tensor:
        if not tokens.is_floating_point():
            return self.model.log_prob(tokens) + self.offset
        return (tokens * self.model(tokens).log_softmax(dim=-1)).sum(dim=(1, 2)) + self.offset


class RatioDiscriminator(nn.Module):
    """logit(x) = f(x) - log q(x), where q is the known density of the fake formulae (Finn et al. 2016, eq. 2).

    A discriminator's best logit is log p_data(x) - log q(x), so here f's optimum is log p_data: a target that
    stays where it is while the generator moves. Nor must q be the generator: it may be any noise with a known
    density (noise-contrastive estimation, Gutmann & Hyvärinen 2010).

    Args:
        energy: f, ids `(n, T)` to `(n,)`; what is trained.
        log_prob: log q, ids `(n, T)` to nats `(n,)`; no gradient goes there.
    """

    def __init__(self, energy: nn.Module, log_prob: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.energy = energy
        self.log_prob = log_prob

    def forward(self, tokens: Tensor) -> Tensor:
        with torch.no_grad():
            log_probs = self.log_prob(tokens)
        return self.energy(tokens) - log_probs


@torch.no_grad()
def raw_logits(discriminator: nn.Module, formulae: Tensor) -> Tensor:
    """The logits `(n,)` of formulae, without dropout; the network's mode stays as it was."""
    was_training = discriminator.training
    discriminator.eval()
    logits = discriminator(formulae)
    discriminator.train(was_training)
    return logits
