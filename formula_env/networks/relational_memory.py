"""A relational memory core as a generator: a memory that attends to itself and to each new symbol."""

import torch
from torch import Tensor, nn

from formula_env.networks.generators import Dropout, Generator, embed_before
from formula_env.networks.policy import State
from formula_env.vocabulary import Vocabulary


class RelationalMemoryGenerator(Generator):
    """Recurrent network whose state is updated by attention, then gated (Santoro et al. 2018); one memory slot.

    Args:
        vocabulary: of the formulae.
        embedding_dim: size of the symbol embedding.
        hidden_dim: size of the memory; a multiple of `heads`.
        heads: number of attention heads.
        dropout: probability of dropping an activation while training by likelihood.
    """

    def __init__(
        self, vocabulary: Vocabulary, embedding_dim: int, hidden_dim: int, heads: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.vocabulary, self.heads = vocabulary, heads
        self.embedding = nn.Embedding(vocabulary.size + 2, embedding_dim)
        self.input = nn.Linear(embedding_dim, hidden_dim)
        self.query = nn.Linear(hidden_dim, hidden_dim)
        self.key_value = nn.Linear(hidden_dim, 2 * hidden_dim)
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(hidden_dim), nn.LayerNorm(hidden_dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(hidden_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, hidden_dim)
        )
        self.input_gates, self.memory_gates = (nn.Linear(hidden_dim, 2 * hidden_dim) for _ in range(2))
        self.output = nn.Linear(hidden_dim, vocabulary.size)
        self.dropout = Dropout(dropout)
        self.eval()

    def start(self, n: int) -> State:
        """The first unit vector, as the authors' memory begins as the identity."""
        memory = self.output.weight.new_zeros((n, self.output.in_features))
        memory[:, 0] = 1
        return (memory,)

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        memory = self.remember(self.input(self.embedding(symbols)), state[0])
        return self.output(memory), (memory,)

    def forward(self, tokens: Tensor) -> Tensor:
        inputs = self.input(self.dropout(embed_before(self.embedding, self.vocabulary, tokens)))
        (memory,) = self.start(len(tokens))
        memories: list[Tensor] = []
        for t in range(inputs.shape[1]):
            memory = self.remember(inputs[:, t], memory)
            memories.append(memory)
        return self.output(self.dropout(torch.stack(memories, dim=1)))

    def remember(self, inputs: Tensor, memory: Tensor) -> Tensor:
        """The next memory `(n, d)`: attention to the last one and the input, gates between old and new."""
        both = torch.stack([memory, inputs], dim=1)
        key, value = self.key_value(both).chunk(2, dim=-1)
        query = self.query(memory)[:, None]
        attended = nn.functional.scaled_dot_product_attention(
            self._by_head(query), self._by_head(key), self._by_head(value)
        )
        new = self.attention_norm(memory + attended.flatten(1))
        new = self.feed_forward_norm(new + self.feed_forward(new))
        in_gate, forget_gate = (self.input_gates(inputs) + self.memory_gates(memory.tanh())).chunk(2, dim=1)
        return torch.sigmoid(in_gate) * new.tanh() + torch.sigmoid(forget_gate + FORGET_BIAS) * memory

    def _by_head(self, x: Tensor) -> Tensor:
        """`(n, T, d)` as `(n, heads, T, d / heads)`."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


FORGET_BIAS = 1.0
"""What keeps the memory at the start, as in the authors' code."""
