"""TorchRL PPO in the manner of its tutorial, with one environment by id; γ = 1."""

import torch
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import Compose, DTypeCastTransform, GymEnv, InitTracker, StepCounter, TransformedEnv
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from benchmarks.clients.learning import Environment


def learn(environment: Environment, seed: int, total: int) -> None:
    torch.manual_seed(seed)
    env = make(environment)
    env.set_seed(seed)
    num_inputs, num_actions = env.observation_spec["observation"].shape[-1], env.action_spec.space.n
    actor = ProbabilisticActor(
        TensorDictModule(mlp(num_inputs, num_actions), in_keys=["observation"], out_keys=["logits"]),
        in_keys=["logits"],
        spec=env.action_spec,
        distribution_class=torch.distributions.OneHotCategorical,
        return_log_prob=True,
    )
    value = ValueOperator(mlp(num_inputs, 1), in_keys=["observation"])
    collector = Collector(env, actor, frames_per_batch=min(256, total), total_frames=total)
    advantage = GAE(gamma=1.0, lmbda=0.95, value_network=value)
    loss = ClipPPOLoss(actor, value)
    optimizer = torch.optim.Adam(loss.parameters(), lr=3e-4)
    for batch in collector:
        for _ in range(4):
            advantage(batch)
            losses = loss(batch.reshape(-1))
            total_loss = losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]
            optimizer.zero_grad()
            total_loss.backward()
            optimizer.step()
    collector.shutdown()


def make(environment: Environment) -> TransformedEnv:
    """The environment by its id, observations as flat float32."""
    env = TransformedEnv(GymEnv(environment.env_id, **environment.options), Compose(InitTracker(), StepCounter()))
    if env.observation_spec["observation"].dtype != torch.float32:
        env.append_transform(
            DTypeCastTransform(env.observation_spec["observation"].dtype, torch.float32, in_keys=["observation"])
        )
    return env


def mlp(num_inputs: int, num_outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(num_inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, num_outputs)
    )
