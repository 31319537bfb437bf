"""Stable-Baselines3 in an adversarial game.

In a script of your own:

    from stable_baselines3 import PPO
    from formula_env.agents.sb3 import AdversarialCallback, FormulaVecEnv

    env = FormulaVecEnv("binary-sum", num_envs=64, length=8)
    model = PPO("MlpPolicy", env, learning_rate=2e-3, n_steps=8, batch_size=512, n_epochs=4, gamma=1.0)
    adversary = AdversarialCallback(eval_every=50_000)
    model.learn(150_000, callback=adversary)

PPO's own defaults are for other worlds. Here γ is 1, for the return is the verdict on a whole formula; an update
takes all 512 symbols at once; and `torch.set_num_threads(1)` is fastest for networks this small.

To go on later, save the discriminator with the model, and load both:

    model.save("model"), adversary.save("adversary.pt")
    PPO.load("model", env).learn(150_000, callback=AdversarialCallback.load("adversary.pt"))

From the command line: `formula-env train ppo`, and so the other algorithms in `algorithms`.
"""

from formula_env.agents.sb3.callback import AdversarialCallback
from formula_env.agents.sb3.extractor import SymbolEmbedding
from formula_env.agents.sb3.policies import SB3Policy, policy_of, register_policy
from formula_env.agents.sb3.replay import RelabelledReplayBuffer
from formula_env.agents.sb3.vec_env import FormulaVecEnv
from formula_env.agents.sb3.wandb_writer import WandbWriter

__all__ = [
    "AdversarialCallback",
    "FormulaVecEnv",
    "RelabelledReplayBuffer",
    "SB3Policy",
    "SymbolEmbedding",
    "WandbWriter",
    "policy_of",
    "register_policy",
]
