"""TorchRL DQN in the manner of its tutorial, with one environment by id; γ = 1."""

import torch
from tensordict.nn import TensorDictSequential
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, ReplayBuffer
from torchrl.modules import EGreedyModule, QValueActor
from torchrl.objectives import DQNLoss, SoftUpdate

from benchmarks.clients.learning import Environment
from benchmarks.clients.torchrl_ppo import Mlp, make


def learn(environment: Environment, seed: int, total: int) -> None:
    torch.manual_seed(seed)
    env = make(environment)
    env.set_seed(seed)
    num_inputs = env.observation_spec["observation"].shape[-1]
    num_actions = env.action_spec.space.n  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    actor = QValueActor(Mlp(num_inputs, num_actions), in_keys=["observation"], spec=env.action_spec)
    e_greedy = EGreedyModule(env.action_spec, annealing_num_steps=total)
    exploring = TensorDictSequential(actor, e_greedy)  # pyright: ignore[reportArgumentType]
    collector = Collector(env, exploring, frames_per_batch=32, total_frames=total, init_random_frames=64)
    memory = ReplayBuffer(storage=LazyTensorStorage(10_000))
    loss = DQNLoss(actor, delay_value=True, action_space=env.action_spec)
    loss.make_value_estimator(gamma=1.0)
    optimizer, target = torch.optim.Adam(loss.parameters(), lr=1e-3), SoftUpdate(loss, eps=0.99)
    for batch in collector:
        memory.extend(batch.reshape(-1))
        if len(memory) < 64:
            continue
        optimizer.zero_grad()
        loss(memory.sample(64))["loss"].backward()
        optimizer.step()
        target.step()
    collector.shutdown()
