"""TorchRL PPO in the manner of its tutorial, with one environment by id; γ = 1."""

import torch
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import Compose, GymEnv, InitTracker, StepCounter, TransformedEnv
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from benchmarks.clients.learning import Environment


def learn(environment: Environment, seed: int, total: int) -> None:
    torch.manual_seed(seed)
    env = make(environment)
    env.set_seed(seed)
    num_inputs = env.observation_spec["observation"].shape[-1]
    num_actions = env.action_spec.space.n  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    actor = ProbabilisticActor(
        TensorDictModule(Mlp(num_inputs, num_actions), in_keys=["observation"], out_keys=["logits"]),
        in_keys=["logits"],
        spec=env.action_spec,
        distribution_class=torch.distributions.Categorical,
        return_log_prob=True,
    )
    value = ValueOperator(Mlp(num_inputs, 1), in_keys=["observation"])
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
    """The environment by its id. With categorical encoding MultiDiscrete stays ids; else it becomes a matrix."""
    env = GymEnv(environment.env_id, categorical_action_encoding=True, **environment.options)
    return TransformedEnv(env, Compose(InitTracker(), StepCounter()))  # pyright: ignore[reportCallIssue]


class Mlp(nn.Module):
    """Observations `(…, num_inputs)`, of integers too, to outputs `(…, num_outputs)`."""

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        hidden = 64
        self.net = nn.Sequential(
            nn.Linear(num_inputs, hidden), nn.Tanh(),
            nn.Linear(hidden, hidden), nn.Tanh(),
            nn.Linear(hidden, num_outputs),
        )  # fmt: skip

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.net(observations.float())
