"""Symbols as learnt vectors, for policies that read `observation="tokens"`."""

import gymnasium as gym
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from formula_env.errors import FormulaError


class SymbolEmbedding(BaseFeaturesExtractor):
    """The embeddings of a prefix' symbols side by side, `(n, T·E)`; PAD has one of its own.

    For `policy_kwargs={"features_extractor_class": SymbolEmbedding}`, with RecurrentPPO too. Stable-Baselines3
    spells ids out as one-hots before any extractor sees them, so looking up is a product with the table.

    Raises FormulaError for observations that are no ids.
    """

    def __init__(self, observation_space: gym.Space, embedding_dim: int = 16) -> None:
        if not isinstance(observation_space, gym.spaces.MultiDiscrete):
            raise FormulaError(
                f"SymbolEmbedding reads ids, not {observation_space}; make the environment with "
                'observation="tokens"'
            )
        self.length, self.num_ids = len(observation_space.nvec), int(observation_space.nvec[0])
        super().__init__(observation_space, features_dim=self.length * embedding_dim)
        self.table = nn.Parameter(torch.randn(self.num_ids, embedding_dim))

    def forward(self, observations: Tensor) -> Tensor:
        return (observations.view(-1, self.length, self.num_ids) @ self.table).flatten(1)
