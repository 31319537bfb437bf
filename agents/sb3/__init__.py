"""Stable-Baselines3 in an adversarial game.

In a script of your own:

    from stable_baselines3 import PPO
    from agents.sb3 import AdversarialCallback, FormulaVecEnv

    model = PPO("MlpPolicy", FormulaVecEnv("binary-sum", length=8), n_steps=8, gamma=1.0)
    model.learn(500_000, callback=AdversarialCallback(eval_every=50_000))

From the command line: `formula-env train ppo`, and likewise the other algorithms in `agents.sb3.algorithms`.
"""

from agents.sb3.callback import AdversarialCallback
from agents.sb3.extractor import SymbolEmbedding
from agents.sb3.policies import SB3Policy, policy_of
from agents.sb3.replay import RelabelledReplayBuffer
from agents.sb3.vec_env import FormulaVecEnv
from agents.sb3.wandb_writer import WandbWriter

__all__ = [
    "AdversarialCallback",
    "FormulaVecEnv",
    "RelabelledReplayBuffer",
    "SB3Policy",
    "SymbolEmbedding",
    "WandbWriter",
    "policy_of",
]
