"""A small transformer as a generator, with a key-value cache for one step at a time."""

import torch
from torch import Tensor, nn

from formula_env.networks.generators import Dropout, Generator, embed_before
from formula_env.networks.policy import State
from formula_env.vocabulary import Vocabulary


class TransformerGenerator(Generator):
    """Decoder-only transformer with pre-norm and learned positions (Vaswani et al. 2017; Radford et al. 2019).

    It generalises where an LSTM of this size memorises, given weight decay and dropout (Power et al. 2022).

    Args:
        vocabulary: of the formulae.
        max_length: T, the number of positions.
        hidden_dim: width of the residual stream; a multiple of `heads`.
        layers: number of blocks.
        heads: attention heads of each.
        dropout: probability of dropping an activation while training by likelihood.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        max_length: int,
        hidden_dim: int = 128,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.embedding = nn.Embedding(vocabulary.size + 2, hidden_dim)
        self.positions = nn.Embedding(max_length, hidden_dim)
        self.dropout = Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(hidden_dim, heads, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(hidden_dim)
        self.output = nn.Linear(hidden_dim, vocabulary.size)
        for embedding in (self.embedding, self.positions):
            nn.init.normal_(embedding.weight, std=INITIAL_STD)
        self.eval()

    def matrices(self) -> list[nn.Parameter]:
        """Weights of the linear maps inside the blocks."""
        return [weights for weights in self.blocks.parameters() if weights.ndim == 2]

    def start(self, n: int) -> State:
        """Empty caches: for each block the keys and values `(n, 2, t, d)` of the t symbols read so far."""
        width = self.norm.weight.shape[0]
        return tuple(self.norm.weight.new_zeros((n, 2, 0, width)) for _ in self.blocks)

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        hidden = self.embedding(symbols) + self.positions.weight[state[0].shape[2]]
        caches: list[Tensor] = []
        for block, cache in zip(self.blocks, state, strict=True):
            assert isinstance(block, Block)
            hidden, cache = block.step(hidden, cache)
            caches.append(cache)
        return self.output(self.norm(hidden)), tuple(caches)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = embed_before(self.embedding, self.vocabulary, tokens)
        hidden = self.dropout(hidden + self.positions.weight[: hidden.shape[1]])
        return self.output(self.norm(self.blocks(hidden)))


INITIAL_STD = 0.02
"""Standard deviation of embeddings at the start, as in GPT-2."""


class Block(nn.Module):
    """Causal self-attention and a feed-forward network, each on the normalised residual stream `(n, T, d)`."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        query, key, value = self.query_key_value(self.attention_norm(hidden)).chunk(3, dim=-1)
        attended = nn.functional.scaled_dot_product_attention(
            self._by_head(query), self._by_head(key), self._by_head(value), is_causal=True
        )
        hidden = hidden + self.dropout(self.projection(attended.transpose(1, 2).flatten(2)))
        return hidden + self.dropout(self.feed_forward(self.feed_forward_norm(hidden)))

    def step(self, hidden: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """The last position `(n, d)` alone, given the keys and values `(n, 2, t, d)` of those before."""
        query, key_value = self.query_key_value(self.attention_norm(hidden)).split(
            [hidden.shape[1], 2 * hidden.shape[1]], 1
        )
        cache = torch.cat([cache, key_value.view(len(hidden), 2, 1, -1)], dim=2)
        key, value = cache.unbind(1)
        attended = nn.functional.scaled_dot_product_attention(
            self._by_head(query[:, None]), self._by_head(key), self._by_head(value)
        )
        hidden = hidden + self.projection(attended.flatten(1))
        return hidden + self.feed_forward(self.feed_forward_norm(hidden)), cache

    def _by_head(self, x: Tensor) -> Tensor:
        """`(n, T, d)` as `(n, heads, T, d / heads)`."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
