"""skrl DQN on one environment, in the manner of its Gymnasium examples, but for γ = 1."""

from skrl.agents.torch.dqn import DQN, DQN_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.trainers.torch import SequentialTrainer
from skrl.utils import set_seed

from benchmarks.clients.learning import MakeEnv
from benchmarks.clients.skrl_ppo import Value


def learn(make_env: MakeEnv, seed: int, total: int) -> None:
    set_seed(seed)
    env = wrap_env(make_env())
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space, "device": env.device}
    models = {name: Value(env.action_space.n, **spaces) for name in ("q_network", "target_q_network")}
    memory = RandomMemory(memory_size=10_000, num_envs=env.num_envs, device=env.device)
    cfg = DQN_CFG(discount_factor=1.0, learning_starts=100, random_timesteps=50)
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    agent = DQN(models=models, memory=memory, cfg=cfg, **spaces)
    settings = {"timesteps": total, "headless": True, "disable_progressbar": True}
    SequentialTrainer(cfg=settings, env=env, agents=agent).train()
