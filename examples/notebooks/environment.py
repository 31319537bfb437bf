# %% [markdown]
# # The environment
#
# A formula is written symbol by symbol, and is right or wrong exactly. This notebook steps one environment, then
# a vector of them, and compares random writing with the truth.

# %%
from typing import Any

import gymnasium as gym
import numpy as np

import formula_env
from formula_env.evaluators import make_evaluator

env = gym.make("formula_env:Formula/BinarySum-v0", length=8)
observation, info = env.reset(seed=0)
print("observation", env.observation_space)
print("action", env.action_space)

# %% [markdown]
# An episode is one formula. `info["action_mask"]` marks the symbols that keep it well-formed; of binary sums all
# do.

# %%
terminated, reward = False, 0.0
while not terminated:
    action = env.action_space.sample(mask=info["action_mask"])
    observation, reward, terminated, truncated, info = env.step(action)
print(env.get_wrapper_attr("formula"), "reward", reward, "correct", info["is_correct"])

# %% [markdown]
# Many formulae at once: the vector environment is much faster than many single ones.

# %%
envs: Any = gym.make_vec("formula_env:Formula/BinarySum-v0", num_envs=1000, length=8)
envs.reset(seed=0)
rng, rewards = np.random.default_rng(0), np.zeros(1000)
for _ in range(8):
    observations, rewards, terminated_all, _, infos = envs.step(rng.integers(2, size=1000))
share = float(np.mean(rewards))
print(f"random writing: {share:.1%} correct; 70 of 256 strings are, {70 / 256:.1%}")

# %% [markdown]
# The task itself counts, samples and judges, and an evaluator compares any sample with the truth.

# %%
task = formula_env.make_task("binary-sum", length=8)
metrics = make_evaluator(task)(task.sample(10_000, rng))
print("correct formulae:", task.count())
print({name: round(metrics[name], 4) for name in ("accuracy", "coverage", "jsd", "jsd_floor")})
