"""PPO in one file, in the manner of CleanRL: it has never heard of GANs.

The environment's reward is a discriminator that trains itself on what this agent writes, so the training is
adversarial all the same.

Longer: `python examples/cleanrl_style.py --steps 2000000`; from the checker instead of examples:
`python examples/cleanrl_style.py --reward-model soft`
"""

import argparse
from itertools import product

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from formula_env import make_task
from formula_env.evaluators import SequenceEvaluator
from formula_env.vocabulary import Tokens

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=200_000, help="symbols to write while learning")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument(
    "--reward-model",
    choices=["discriminator", "soft", "exact"],
    default="discriminator",
    help="what pays the agent",
)
parser.add_argument("--num-envs", type=int, default=64)
parser.add_argument("--num-steps", type=int, default=8, help="of each environment between updates")
parser.add_argument("--learning-rate", type=float, default=2e-3)
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--minibatches", type=int, default=1)
parser.add_argument("--gamma", type=float, default=1.0, help="only 1 makes the return the verdict on a formula")
parser.add_argument("--gae-lambda", type=float, default=1.0)
parser.add_argument("--clip", type=float, default=0.2)
parser.add_argument("--entropy", type=float, default=0.1, help="what holds the variety of formulae")


class Agent(nn.Module):
    """Policy and value, each an MLP on the prefix."""

    def __init__(self, num_inputs: int, num_actions: int) -> None:
        super().__init__()
        self.policy, self.value = mlp(num_inputs, num_actions), mlp(num_inputs, 1)

    def forward(self, observations: Tensor) -> tuple[Categorical, Tensor]:
        return Categorical(logits=self.policy(observations)), self.value(observations).squeeze(-1)


def mlp(num_inputs: int, num_outputs: int) -> nn.Module:
    hidden = 128
    return nn.Sequential(
        nn.Linear(num_inputs, hidden), nn.Tanh(),
        nn.Linear(hidden, hidden), nn.Tanh(),
        nn.Linear(hidden, num_outputs),
    )  # fmt: skip


def advantages_of(
    rewards: Tensor, values: Tensor, ended: Tensor, last: Tensor, args: argparse.Namespace
) -> Tensor:
    """Generalised advantage estimation; all are `(steps, envs)`, `last` `(envs,)` the value of what follows."""
    advantages, running = torch.zeros_like(rewards), torch.zeros_like(last)
    for t in reversed(range(len(rewards))):
        following = last if t == len(rewards) - 1 else values[t + 1]
        error = rewards[t] + args.gamma * following * ~ended[t] - values[t]
        running = error + args.gamma * args.gae_lambda * running * ~ended[t]
        advantages[t] = running
    return advantages


def main() -> None:
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)  # networks this small are fastest with one

    envs = gym.make_vec(
        "formula_env:Formula/BinarySum-v0",
        num_envs=args.num_envs,
        length=8,
        reward_model=args.reward_model,
        autoreset_mode="SameStep",
    )
    num_inputs = gym.spaces.flatdim(envs.single_observation_space)
    num_actions = gym.spaces.flatdim(envs.single_action_space)
    agent = Agent(num_inputs, num_actions)
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)

    size = (args.num_steps, args.num_envs)
    observations, actions = torch.zeros((*size, num_inputs)), torch.zeros(size, dtype=torch.int64)
    log_probs, rewards, values = torch.zeros(size), torch.zeros(size), torch.zeros(size)
    ended = torch.zeros(size, dtype=torch.bool)
    seen = torch.from_numpy(envs.reset(seed=args.seed)[0])
    num_updates = max(1, args.steps // (args.num_steps * args.num_envs))

    for update in range(num_updates):
        optimizer.param_groups[0]["lr"] = args.learning_rate * (1 - update / num_updates)

        for t in range(args.num_steps):
            with torch.no_grad():
                chosen, values[t] = agent(seen)
            observations[t], actions[t] = seen, chosen.sample()
            log_probs[t] = chosen.log_prob(actions[t])
            observation, reward, terminated, _, _ = envs.step(actions[t].numpy())
            seen, rewards[t], ended[t] = (torch.from_numpy(part) for part in (observation, reward, terminated))

        with torch.no_grad():
            advantages = advantages_of(rewards, values, ended, agent(seen)[1], args)
        returns = advantages + values
        batch = [part.flatten(0, 1) for part in (observations, actions, log_probs, advantages, returns)]

        for _ in range(args.epochs):
            for chosen_rows in torch.randperm(len(batch[0])).chunk(args.minibatches):
                obs, action, old_log_prob, advantage, target = (part[chosen_rows] for part in batch)
                distribution, value = agent(obs)
                ratio = (distribution.log_prob(action) - old_log_prob).exp()
                clipped = ratio.clamp(1 - args.clip, 1 + args.clip)
                policy_loss = -torch.min(ratio * advantage, clipped * advantage).mean()
                value_loss = 0.5 * (value - target).square().mean()
                loss = policy_loss + 0.5 * value_loss - args.entropy * distribution.entropy().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()

    report(agent)


# What follows only tells how well it went.


def report(agent: Agent) -> None:
    """The agent's exact accuracy and divergence from the uniform distribution over correct formulae."""
    task = make_task("binary-sum", length=8)
    every = np.array(list(product([0, 1], repeat=8)))
    found = SequenceEvaluator(task)(every, lambda tokens: log_prob(agent, tokens))
    print(f"accuracy {found['accuracy']:.4f}, JSD {found['jsd']:.4f} nats, both exact; ", end="")
    print(f"as varied as {found['effective_number']:.1f} of {found['num_formulae']} correct formulae")


@torch.no_grad()
def log_prob(agent: Agent, tokens: Tokens) -> np.ndarray:
    """The sum of the symbols' log-probabilities `(n,)`, each after the symbols before it."""
    n, length = tokens.shape
    symbols = torch.from_numpy(tokens)
    one_hot = nn.functional.one_hot(symbols, 2).float()
    total = torch.zeros(n)
    for t in range(length):
        prefix = one_hot.clone()
        prefix[:, t:] = 0
        total += agent(prefix.flatten(1))[0].log_prob(symbols[:, t])
    return total.double().numpy()


if __name__ == "__main__":
    main()
