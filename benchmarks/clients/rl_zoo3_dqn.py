"""RL Zoo's command line for DQN, in a process of its own; γ = 1."""

from functools import partial

from benchmarks.clients.rl_zoo3_ppo import learn as learn_ppo

learn = partial(learn_ppo, algorithm="dqn")
