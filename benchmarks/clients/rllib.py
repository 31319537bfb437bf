"""What the scripts of RLlib share: one small Ray for each process, and training by the environment's id."""

from typing import Any

import ray

from benchmarks.clients.learning import Environment

OBJECT_STORE = 100_000_000
"""Bytes; by default Ray takes 30% of the memory."""


def train(config: Any, environment: Environment, seed: int, total: int) -> None:
    """Train what is configured for at least `total` symbols, in one worker process; γ is the configuration's."""
    ray.init(
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=OBJECT_STORE,
        ignore_reinit_error=True,
    )
    algorithm = (
        config.environment(environment.env_id, env_config=environment.options)
        .env_runners(num_env_runners=1, rollout_fragment_length="auto")
        .debugging(seed=seed)
        .build_algo()
    )
    try:
        written = 0
        while written < total:
            written = algorithm.train()["env_runners"]["num_env_steps_sampled_lifetime"]
    finally:
        algorithm.stop()
