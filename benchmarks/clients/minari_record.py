"""Minari's recorder: random actions, written as a data set."""

import tempfile
from unittest.mock import patch

import minari

from benchmarks.clients.learning import MakeEnv


def learn(make_env: MakeEnv, seed: int, total: int) -> None:
    with tempfile.TemporaryDirectory() as folder, patch.dict("os.environ", MINARI_DATASETS_PATH=folder):
        env = minari.DataCollector(make_env(), record_infos=True)
        env.reset(seed=seed)
        for _ in range(total):
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                env.reset()
        dataset = env.create_dataset("formula/random-v0", description="Random symbols")
        assert sum(len(episode) for episode in dataset.iterate_episodes()) >= total - 1
