# %% [markdown]
# # Stable-Baselines3 against a discriminator
#
# PPO never sees whether a formula is correct. A discriminator learns to tell its formulae from real ones, and
# that verdict is the only reward.

# %%
import torch
from stable_baselines3 import PPO

from formula_env.agents.sb3 import AdversarialCallback, FormulaVecEnv

torch.set_num_threads(1)  # networks this small are fastest with one
env = FormulaVecEnv("binary-sum", num_envs=64, length=6)
model = PPO(
    "MlpPolicy", env, n_steps=6, batch_size=384, n_epochs=4, gamma=1.0, gae_lambda=1.0, learning_rate=2e-3,
    seed=0, device="cpu",
)  # fmt: skip

# %% [markdown]
# The callback trains the discriminator on what the agent has just written. `evaluate` is exact: it asks the
# policy for the probability of each of the 20 correct formulae.

# %%
adversary = AdversarialCallback()
for steps in (20_000, 40_000):
    model.learn(20_000, callback=adversary, reset_num_timesteps=False)
    found = adversary.evaluate()
    print(f"{steps} symbols: accuracy {found['accuracy']:.3f}, JSD {found['jsd']:.4f} nats")
