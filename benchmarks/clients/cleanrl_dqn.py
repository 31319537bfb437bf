"""CleanRL's dqn.py, the file itself: its own defaults but for γ = 1, and an earlier start of learning."""

from benchmarks.clients.cleanrl_ppo import run_script
from benchmarks.clients.learning import MakeEnv


def learn(make_env: MakeEnv, seed: int, total: int) -> None:
    run_script("dqn.py", make_env, seed=seed, total_timesteps=total, learning_starts=100, gamma=1.0)
