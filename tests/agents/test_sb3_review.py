"""What users of Stable-Baselines3 do around `learn`: other wrappers, saving, going on, another model."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecExtractDictObs,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

from formula_env import FormulaEnv, MaskInObservation
from formula_env.adversary import AdversaryConfig
from formula_env.agents.sb3 import AdversarialCallback, FormulaVecEnv, RelabelledReplayBuffer
from formula_env.agents.sb3.algorithms import GREEDY_DISCRIMINATOR
from formula_env.errors import FormulaError
from tests.helpers import saved_and_loaded

NEVER = 10**9


def small_env(length: int = 6) -> FormulaVecEnv:
    return FormulaVecEnv("binary-sum", num_envs=16, length=length)


def small_ppo(env: Any) -> PPO:
    return PPO("MlpPolicy", env, n_steps=6, batch_size=96, n_epochs=1, gamma=1.0, seed=0, device="cpu")


def small_dqn(env: Any, **options: Any) -> DQN:
    options = {"policy": "MlpPolicy", "buffer_size": 1_000, "learning_starts": 10, "gamma": 1.0, **options}
    return DQN(env=env, replay_buffer_class=RelabelledReplayBuffer, seed=0, device="cpu", **options)


def callback(**options: Any) -> AdversarialCallback:
    return AdversarialCallback(**{"batch_size": 16, "update_every": 16, "eval_samples": 100, **options})


def test_normalised_observations_or_rewards_are_refused() -> None:
    """The formulae would be rewarded by a density that the policy doesn't have."""
    for norm_obs in (True, False):
        env = VecMonitor(VecNormalize(small_env(), norm_obs=norm_obs, norm_reward=not norm_obs))
        with pytest.raises(FormulaError, match=r"VecNormalize shows .* leave it out"):
            small_ppo(env).learn(96, callback=callback())


def test_other_observations_and_other_environments_are_refused() -> None:
    with pytest.raises(FormulaError, match=r"the policy reads observations of Box\(.*\(48,\)"):
        small_ppo(VecFrameStack(small_env(), 4)).learn(96, callback=callback())
    masks = make_vec_env(lambda: MaskInObservation(FormulaEnv("binary-sum", length=6)), n_envs=16)
    model = PPO("MultiInputPolicy", masks, n_steps=6, batch_size=96, device="cpu")
    with pytest.raises(FormulaError, match=r"the policy reads observations of Dict\("):
        model.learn(96, callback=callback())
    model = PPO("MlpPolicy", make_vec_env("CartPole-v1", n_envs=16), n_steps=6, batch_size=96, device="cpu")
    with pytest.raises(FormulaError, match="this environment writes no formulae"):
        model.learn(96, callback=callback())


def scaled(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    return gym.wrappers.TransformObservation(env, lambda seen: 2 * seen, env.observation_space)


@pytest.mark.parametrize("make", [small_ppo, lambda env: small_dqn(env)])
def test_scaled_observations_are_refused(make: Any) -> None:
    options = {"length": 6, "reward_mode": "terminal", "num_rollouts": 0}
    env = make_vec_env("formula_env:Formula/BinarySum-v0", n_envs=16, env_kwargs=options, wrapper_class=scaled)
    with pytest.raises(FormulaError, match="a wrapper changes the observations"):
        make(env).learn(96, callback=callback(discriminator=AdversaryConfig(kind="plain")))


def test_wrappers_that_change_nothing_are_fine() -> None:
    options = {"length": 6, "reward_mode": "terminal", "num_rollouts": 0}
    masks = make_vec_env(lambda: MaskInObservation(FormulaEnv("binary-sum", **options)), n_envs=16)
    for env in (VecCheckNan(VecFrameStack(VecMonitor(small_env()), 1)), VecExtractDictObs(masks, "observation")):
        adversary = callback()
        small_ppo(env).learn(96, callback=adversary)
        assert adversary.num_updates == adversary.d_steps


def test_masks_that_are_not_used_are_refused() -> None:
    env = FormulaVecEnv("signed-equation", num_envs=16, length=5)
    model = MaskablePPO("MlpPolicy", env, n_steps=5, batch_size=80, n_epochs=1, gamma=1.0, device="cpu")
    with pytest.raises(FormulaError, match="MaskablePPO without masks"):
        model.learn(80, callback=[callback()], use_masking=False)
    model.learn(80, callback=[callback()])


def test_single_environments_behind_monitors_are_judged_by_the_callback() -> None:
    options = {"length": 6, "reward_mode": "terminal", "num_rollouts": 0}
    env = make_vec_env("formula_env:Formula/BinarySum-v0", n_envs=16, env_kwargs=options, seed=0)
    adversary = callback()
    small_ppo(env).learn(3 * 96, callback=adversary)
    assert all(model is adversary.reward_model for model in env.get_attr("reward_model"))
    assert adversary.num_updates == 3 * adversary.d_steps


def test_each_learn_evaluates_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    adversary, moments = callback(eval_every=2 * 96), []
    monkeypatch.setattr(adversary, "evaluate", lambda: moments.append(adversary.num_timesteps) or {})
    model = small_ppo(small_env())
    model.learn(4 * 96, callback=adversary)
    assert moments == [2 * 96, 4 * 96]
    model.learn(2 * 96, callback=adversary)
    assert moments[2:] == [2 * 96]
    model.learn(4 * 96, callback=adversary, reset_num_timesteps=False)
    assert moments[3:] == [4 * 96, 6 * 96]


@pytest.mark.slow
def test_formulae_written_between_two_learns_are_no_experience() -> None:
    model, adversary = small_ppo(VecMonitor(small_env())), callback(update_every=100)
    model.learn(96, callback=adversary)
    assert len(adversary.finished.tokens) == 16
    env = model.get_env()
    assert env is not None
    evaluate_policy(model, env, n_eval_episodes=200)
    shown: list[int] = []
    adversary.train_discriminator = lambda finished: shown.append(len(finished))  # type: ignore[method-assign]
    model.learn(7 * 96, callback=adversary)
    assert shown == [7 * 16]


def test_a_callback_serves_another_model_but_not_another_task() -> None:
    adversary = callback()
    small_ppo(small_env()).learn(96, callback=adversary)
    second = small_ppo(small_env())
    second.learn(96, callback=adversary)
    assert adversary.policy.model is second
    assert adversary.num_updates == 2 * adversary.d_steps
    with pytest.raises(FormulaError, match=r"is for BinarySum\(length=6\), not BinarySum\(length=8\)"):
        small_ppo(small_env(length=8)).learn(96, callback=adversary)


def test_a_saved_discriminator_goes_on_with_a_saved_model(tmp_path: Path) -> None:
    model, adversary = small_ppo(small_env()), callback()
    model.learn(3 * 96, callback=adversary)
    model.save(tmp_path / "model")
    state = saved_and_loaded(adversary.state_dict())

    later = PPO.load(tmp_path / "model", env=small_env(), device="cpu")
    second = callback(update_every=NEVER)
    second.load_state_dict(state)
    later.learn(96, callback=second, reset_num_timesteps=False)
    assert second.num_updates == adversary.num_updates
    every = torch.from_numpy(second.task.enumerate())
    assert torch.equal(second.adversary.network(every), adversary.adversary.network(every))


def test_a_state_is_a_copy() -> None:
    model, adversary = small_ppo(small_env()), callback()
    model.learn(96, callback=adversary)
    state = adversary.state_dict()
    before = saved_and_loaded(state)
    for loaded in (False, True):
        if loaded:
            adversary.load_state_dict(state)
        model.learn(96, callback=adversary)
        for part in ("weights", "optimizer"):
            tensors = [
                {k: v for k, v in flat(s["adversary"][part]).items() if isinstance(v, torch.Tensor)}
                for s in (state, before)
            ]
            assert tensors[0]
            assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])


def flat(state: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(state, dict):
        return {name: state}
    return {k: v for key, part in state.items() for k, v in flat(part, f"{name}.{key}").items()}


def test_a_replay_buffer_is_saved_without_its_callback_and_judged_again_after(tmp_path: Path) -> None:
    options = {"discriminator": GREEDY_DISCRIMINATOR}
    model = small_dqn(small_env())
    model.learn(320, callback=callback(**options))
    model.save_replay_buffer(tmp_path / "buffer")

    later = small_dqn(small_env())
    later.load_replay_buffer(tmp_path / "buffer")
    buffer: Any = later.replay_buffer
    assert buffer.relabel is None
    np.testing.assert_array_equal(buffer.rewards, model.replay_buffer.rewards)  # type: ignore[union-attr]
    adversary = callback(**options, update_every=NEVER)
    later.learn(16, callback=adversary)
    last = np.argwhere(buffer.dones[: buffer.pos])[-1]
    samples = buffer._get_samples(np.array([last[0]]))
    tokens = torch.from_numpy(adversary.policy.codec.read(samples.next_observations.numpy()))
    assert adversary.reward_model.score(tokens).item() == pytest.approx(samples.rewards.item())


@pytest.mark.slow
@pytest.mark.parametrize("timeouts", [True, False])
@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("observation", ["one-hot", "tokens"])
@pytest.mark.parametrize("limit", [None, 3])
def test_a_replayed_reward_follows_from_observation_and_action(
    timeouts: bool, optimize: bool, observation: str, limit: int | None
) -> None:
    """However the buffer is laid out, over its end, and where a time limit cuts formulae off."""
    if optimize and timeouts:
        return  # Stable-Baselines3 refuses this itself
    options = {"reward_mode": "terminal", "num_rollouts": 0, "observation": observation}

    def make() -> gym.Env[Any, Any]:
        env = FormulaEnv("binary-sum", length=6, **options)  # type: ignore[arg-type]
        return env if limit is None else gym.wrappers.TimeLimit(env, limit)

    model = small_dqn(
        make_vec_env(make, n_envs=4),
        buffer_size=200,  # of each environment 50
        optimize_memory_usage=optimize,
        replay_buffer_kwargs={"handle_timeout_termination": timeouts},
    )
    adversary = callback(discriminator=GREEDY_DISCRIMINATOR, d_steps=10)
    model.learn(4 * 73, callback=adversary)
    buffer: Any = model.replay_buffer
    assert buffer.full
    rewards = []
    for _ in range(20):
        samples = buffer.sample(64)
        prefixes = adversary.policy.codec.read(samples.observations.numpy())
        lengths = (prefixes != 2).sum(axis=1)
        prefixes[np.arange(64), lengths] = samples.actions[:, 0].numpy()
        scores = adversary.reward_model.score(torch.from_numpy(prefixes))
        expected = torch.where(torch.from_numpy(lengths == 5), scores, 0.0)
        assert samples.rewards[:, 0] == pytest.approx(expected)
        rewards.append(samples.rewards)
    assert bool(torch.cat(rewards).any()) == (limit is None)  # no formula is finished in three steps


def test_replay_buffers_that_do_not_fit_are_refused() -> None:
    options = {"discriminator": GREEDY_DISCRIMINATOR}
    with pytest.raises(FormulaError, match="replays single steps; leave out n_steps=3"):
        small_dqn(small_env(), replay_buffer_kwargs={"n_steps": 3})
    with pytest.warns(UserWarning, match="n_steps"):
        model = small_dqn(small_env(), n_steps=3)
    with pytest.raises(FormulaError, match="replays single steps; leave out n_steps=3"):
        model.learn(96, callback=callback(**options))
    masks = make_vec_env(lambda: MaskInObservation(FormulaEnv("binary-sum", length=6)), n_envs=16)
    with pytest.raises(FormulaError, match=r"RelabelledReplayBuffer holds .*, not dictionaries"):
        small_dqn(masks, policy="MultiInputPolicy")
    model = small_dqn(small_env())
    for other in (small_env(length=8), FormulaVecEnv("binary-sum", 4, length=6)):
        model.replay_buffer = small_dqn(other).replay_buffer
        with pytest.raises(FormulaError, match=r"the replay buffer holds Box.* environments; DQN acts on Box"):
            model.learn(96, callback=callback(**options))
