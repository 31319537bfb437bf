"""Adversarial training by Stable-Baselines3: what the callback does; that the bridge adds nothing to `learn`."""

import io
import math
from inspect import signature
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import QRDQN
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor

from formula_env import FormulaEnv, make_task
from formula_env.adversary import AdversaryConfig
from formula_env.agents.sb3 import AdversarialCallback, FormulaVecEnv, RelabelledReplayBuffer, policy_of
from formula_env.agents.sb3.algorithms import GREEDY_DISCRIMINATOR
from formula_env.agents.sb3.bridge import RoundOfFormulae, SB3Config
from formula_env.errors import FormulaError
from formula_env.experiment.registry import ALGORITHMS, algorithm_class
from formula_env.randomness import seed_global_random
from formula_env.rollouts import exact_q
from formula_env.sampling import log_prob
from tests.helpers import saved_and_loaded, small_config
from tests.oracles import all_sequences

SB3_NAMES = [name for name, place in ALGORITHMS.items() if place.startswith("formula_env.agents.sb3")]
TASK = make_task("binary-sum", length=4)


def small_ppo(env: Any, **options: Any) -> PPO:
    return PPO("MlpPolicy", env, n_steps=4, batch_size=64, gamma=1.0, seed=0, device="cpu", **options)


def ppo_env(**options: Any) -> FormulaVecEnv:
    return FormulaVecEnv(TASK, 64, reward_model="constant", **options)


def callback(**options: Any) -> AdversarialCallback:
    return AdversarialCallback(batch_size=64, update_every=64, **options)


# --- the callback ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ratio", "plain"])
def test_the_discriminator_learns_and_is_the_reward(kind: Any) -> None:
    env, adversary = ppo_env(), callback(discriminator=AdversaryConfig(kind=kind, learning_rate=2e-3), d_steps=5)
    model = small_ppo(env, n_epochs=2)
    model.learn(256, adversary)
    sequences = all_sequences(TASK)
    before = adversary.adversary.discriminator(sequences).detach().clone()
    model.learn(256 * 19, adversary, reset_num_timesteps=False)
    assert adversary.num_updates == 5 * 20
    after = adversary.adversary.discriminator(sequences).detach()
    correct = torch.from_numpy(TASK.is_correct(sequences.numpy()))
    for scores, smallest in ((before, -math.inf), (after, 0.5)):
        assert (scores[correct].mean() - scores[~correct].mean()) > smallest
    assert env.vector_env.reward_model is adversary.reward_model
    assert adversary.reward_model.score(sequences) == pytest.approx(after.clamp(-5, 5))
    # What the model was last paid is a discriminator's verdict: no constant.
    paid = torch.from_numpy(model.rollout_buffer.rewards)
    assert torch.equal(paid[:3], torch.zeros(3, 64))
    assert paid[3].std() > 0


def test_the_reward_a_model_sees_moves_with_the_discriminator(monkeypatch: pytest.MonkeyPatch) -> None:
    """And doesn't without its updates."""

    def paid(skip: bool) -> list[float]:
        with monkeypatch.context() as patch:
            if skip:
                patch.setattr(AdversarialCallback, "train_discriminator", lambda self, finished: None)
            env, adversary = ppo_env(), callback(discriminator=GREEDY_DISCRIMINATOR, d_steps=20)
            model = small_ppo(env, learning_rate=0.0, n_epochs=1)  # the policy stands still
            model.learn(256 * 12, adversary)
            fixed = torch.from_numpy(TASK.sample(20, np.random.default_rng(0)))
            return adversary.reward_model.score(fixed).tolist()

    assert paid(skip=True) == pytest.approx([0.5] * 20, abs=0.05)
    assert np.mean(paid(skip=False)) > 0.6


def test_a_ratio_discriminator_knows_the_probabilities_of_the_policy() -> None:
    model, adversary = small_ppo(ppo_env()), callback()
    model.learn(1024, adversary)
    sequences = all_sequences(TASK)
    own = log_prob(policy_of(model, TASK), TASK.vocabulary, sequences).float()
    with torch.no_grad():
        logits = adversary.adversary.discriminator(sequences)
        assert logits == pytest.approx(adversary.adversary.network(sequences) - own, abs=1e-5)


@pytest.mark.slow
def test_ppo_learns_from_the_discriminator_alone() -> None:
    """From scratch; with a discriminator that never learns it doesn't."""
    accuracy = {}
    for rate in (4e-3, 1e-12):
        model, adversary = (
            small_ppo(ppo_env(), learning_rate=4e-3, n_epochs=4),
            callback(discriminator=AdversaryConfig(learning_rate=rate)),
        )
        model.learn(256 * 60, adversary)
        metrics = adversary.evaluate()
        assert metrics["jsd_exact"]
        accuracy[rate] = metrics["accuracy"]
    assert accuracy[4e-3] > 0.75  # a random sampler: 0.375
    assert accuracy[1e-12] < 0.5


def test_rollouts_follow_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    env = ppo_env(reward_mode="difference", q_estimator="exact")
    model, adversary = small_ppo(env), callback()
    model.learn(512, adversary)
    assert env.vector_env.credit.rollout_policy is adversary.policy
    assert adversary.policy.model is model
    # Differences of exact Q along an episode sum to D(Y) - Q_0.
    q = exact_q(
        adversary.policy,
        adversary.reward_model.score,
        TASK.vocabulary,
        all_sequences(TASK)[:1],
        torch.zeros(1, dtype=torch.int64),
    )
    env.reset()
    total = sum(env.step(np.zeros(64, dtype=np.int64))[1][0] for _ in range(4))
    assert total == pytest.approx(float(q[0, -1] - q[0, 0]), abs=1e-5)


def test_real_formulae_are_the_users_own() -> None:
    training = TASK.sample(3, np.random.default_rng(0))
    seen: list[Any] = []

    class Watched(AdversarialCallback):
        def _some_of(self, formulae: Any, n: int) -> Any:
            seen.append(super()._some_of(formulae, n))
            return seen[-1]

    small_ppo(ppo_env()).learn(512, Watched(training, batch_size=32, update_every=64))
    assert len(seen) == 4
    assert {tuple(row) for row in np.concatenate(seen)} == {tuple(row) for row in training}
    for wrong in (training[:, :3], training[:0], np.full((2, 4), 9), training / 2, [["0", "1"]]):
        with pytest.raises(FormulaError, match="training formulae"):
            small_ppo(ppo_env()).learn(256, AdversarialCallback(wrong))  # type: ignore[arg-type]
    with pytest.raises(FormulaError, match="no model to evaluate yet"):
        AdversarialCallback().evaluate()


def test_evaluations_are_logged_at_their_cadence() -> None:
    logged: list[dict[str, float]] = []

    class Watched(AdversarialCallback):
        def evaluate(self) -> dict[str, Any]:
            logged.append(super().evaluate())
            return logged[-1]

    small_ppo(ppo_env()).learn(256 * 6, Watched(eval_every=512, eval_samples=100))
    assert len(logged) == 3
    assert all(row["jsd_exact"] and row["num_samples"] == 100 for row in logged)


def test_it_is_saved_and_goes_on_bit_for_bit() -> None:
    def begun() -> AdversarialCallback:
        adversary = callback()
        small_ppo(ppo_env()).learn(512, adversary)
        return adversary

    adversary, other = begun(), begun()
    finished = TASK.sample(64, np.random.default_rng(5))
    adversary.train_discriminator(finished)
    other.load_state_dict(saved_and_loaded(adversary.state_dict()))
    for each in (adversary, other):
        each.train_discriminator(finished)
    sequences = all_sequences(TASK)
    assert torch.equal(adversary.adversary.network(sequences), other.adversary.network(sequences))
    assert adversary.num_updates == other.num_updates


# --- replay ---------------------------------------------------------------------------------------------------


def replaying(cls: Any, env: Any, **options: Any) -> Any:
    quantiles = {"policy_kwargs": {"n_quantiles": 5}} if cls is QRDQN else {}
    return cls(
        "MlpPolicy", env, buffer_size=4_000, learning_starts=64, batch_size=32, gamma=1.0, seed=0, device="cpu",
        replay_buffer_class=RelabelledReplayBuffer, **quantiles, **options,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("cls", [DQN, QRDQN])
@pytest.mark.parametrize("rewards", [{}, {"reward_mode": "difference", "q_estimator": "exact"}])
@pytest.mark.parametrize("make", ["ours", "dummy"])
def test_replayed_rewards_are_the_present_discriminators(cls: Any, rewards: dict[str, Any], make: str) -> None:
    if make == "ours":
        env: Any = ppo_env(**rewards)
    else:
        options = rewards or {"reward_mode": "terminal", "num_rollouts": 0}
        env = DummyVecEnv([lambda: FormulaEnv(TASK, **options) for _ in range(8)])
    model = replaying(cls, env)
    adversary = callback(discriminator=GREEDY_DISCRIMINATOR, d_steps=10)
    model.learn(1_000, adversary)
    buffer = model.replay_buffer
    rows = np.arange(buffer.size())
    np.random.seed(0)  # each picks one of the environments for each row
    replayed = buffer._get_samples(rows)
    np.random.seed(0)
    recorded = ReplayBuffer._get_samples(buffer, rows)
    assert torch.equal(replayed.next_observations, recorded.next_observations)
    after = torch.from_numpy(adversary.policy.codec.read(replayed.next_observations.numpy()))
    lengths = (after != TASK.vocabulary.pad).sum(dim=1)
    ended = replayed.dones[:, 0] > 0
    if not rewards:
        expected = torch.where(ended, adversary.reward_model.score(after), 0.0)
    else:
        q = exact_q(
            adversary.policy, adversary.reward_model.score, TASK.vocabulary, after, torch.zeros_like(lengths)
        )
        each = torch.arange(len(after))
        expected = q[each, lengths] - q[each, lengths - 1]
    assert replayed.rewards[:, 0] == pytest.approx(expected.float(), abs=1e-5)
    assert not torch.allclose(replayed.rewards[ended], recorded.rewards[ended], atol=1e-3)


# --- what doesn't go together ---------------------------------------------------------------------------------


def test_what_does_not_go_together_is_refused_in_one_line() -> None:
    greedy = {"discriminator": GREEDY_DISCRIMINATOR}
    cases: list[tuple[Any, AdversarialCallback, str]] = [
        (
            small_ppo(ppo_env(reward_mode="q")),
            callback(),
            'reward_mode "q" hands out Q_t itself; PPO with gamma 1.0',
        ),
        (replaying(DQN, ppo_env()), callback(), "DQN chooses greedily, so its formulae have no density"),
        (
            DQN("MlpPolicy", ppo_env(), buffer_size=100, device="cpu"),
            callback(**greedy),
            "make it with replay_buffer_class=RelabelledReplayBuffer",
        ),
        (
            A2C("MlpPolicy", SubprocVecEnv([lambda: FormulaEnv(TASK)], start_method="fork"), device="cpu"),
            callback(),
            "rewards in worker processes come from copies",
        ),
    ]
    for model, adversary, told in cases:
        with pytest.raises(FormulaError, match=told) as error:
            model.learn(512, adversary)
        assert "\n" not in str(error.value)
        model.env.close()
    with_q = PPO(
        "MlpPolicy",
        ppo_env(reward_mode="q", q_estimator="exact"),
        n_steps=4,
        batch_size=64,
        gamma=0.0,
        device="cpu",
    )
    with_q.learn(256, callback())
    with pytest.raises(FormulaError, match="kind must be"):
        callback(discriminator=AdversaryConfig(kind="other"))  # type: ignore[arg-type]


# --- the bridge -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", SB3_NAMES)
def test_rounds_are_one_call_of_learn(name: str) -> None:
    """A plain script with the same seed ends with the same weights, bit for bit."""
    cls = algorithm_class(name)
    config = cls.Config(**small_config(cls.Config))
    bridged = cls(TASK, config, 0, torch.device("cpu"))
    rounds = [TASK.sample(bridged.real_batch_size, np.random.default_rng(r)) for r in range(bridged.rounds)]
    for real in rounds:
        bridged.update(real, 0.0)

    seed_global_random(0)
    reals = RoundOfFormulae()
    updates = iter(rounds)

    class NextRound(AdversarialCallback):
        def train_discriminator(self, finished: Any) -> None:
            reals.put(next(updates))
            super().train_discriminator(finished)

    env = VecMonitor(FormulaVecEnv(TASK, config.num_envs))
    model = cls.model_class(
        cls.policy_name, env, learning_rate=bridged.model.learning_rate, policy_kwargs=bridged.policy_options(),
        seed=0, device="cpu", **bridged.model_options(),
    )  # fmt: skip
    plain = NextRound(
        reals.take, discriminator=config.discriminator, d_steps=config.d_steps,
        batch_size=config.discriminator_batch_size, update_every=config.num_envs,
    )  # fmt: skip
    model.learn(bridged.rounds * bridged.timesteps_per_round, plain, log_interval=1)
    assert model.num_timesteps == bridged.env_steps
    assert plain.num_updates == bridged.adversary.num_updates > 0
    ours, theirs = bridged.model.policy.state_dict(), model.policy.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    theirs = plain.adversary.network.state_dict()
    assert all(
        torch.equal(weight, theirs[key])
        for key, weight in bridged.adversary.adversary.network.state_dict().items()
    )


@pytest.mark.parametrize("name", SB3_NAMES)
def test_every_own_hyper_parameter_is_one_of_the_model(name: str) -> None:
    cls = algorithm_class(name)
    known = signature(cls.model_class).parameters
    own = set(cls.Config().own())
    assert own
    assert own <= set(known)
    assert not own & {"policy", "env", "seed", "device", "policy_kwargs"}
    assert isinstance(cls.Config(), SB3Config)


@pytest.mark.parametrize("name", SB3_NAMES)
def test_plain_stable_baselines_opens_what_it_exports(name: str) -> None:
    cls = algorithm_class(name)
    algorithm = cls(TASK, cls.Config(**small_config(cls.Config)), 0, torch.device("cpu"))
    algorithm.update(TASK.sample(algorithm.real_batch_size, np.random.default_rng(0)), 0.0)
    loaded = cls.model_class.load(io.BytesIO(algorithm.extra_files()["model.zip"]), device="cpu")
    assert not any("agents" in type(value).__module__ for value in vars(loaded).values())
    sequences = torch.from_numpy(TASK.enumerate())
    ours, theirs = (log_prob(policy_of(m, TASK), TASK.vocabulary, sequences) for m in (algorithm.model, loaded))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", SB3_NAMES)
def test_what_it_is_told_to_be_paid_by_pays_it(name: str) -> None:
    """By the checker or a constant: no discriminator is trained, and none reported."""
    cls = algorithm_class(name)
    for reward_model in ("exact", "constant"):
        algorithm = cls(
            TASK, cls.Config(**small_config(cls.Config, reward_model=reward_model)), 0, torch.device("cpu")
        )
        metrics = algorithm.update(TASK.sample(algorithm.real_batch_size, np.random.default_rng(0)), 0.0)
        assert not [key for key in metrics if key.startswith("discriminator")]
        assert algorithm.density_ratio is None
        returns = {info["r"] for info in algorithm.model.ep_info_buffer}
        assert returns <= ({0.0, 1.0} if reward_model == "exact" else {0.5})


def test_dqn_explores_from_the_start() -> None:
    cls = algorithm_class("dqn")
    algorithm = cls(TASK, cls.Config(**small_config(cls.Config)), 0, torch.device("cpu"))
    sequences = all_sequences(TASK).numpy()
    assert np.exp(algorithm.log_prob(sequences)) == pytest.approx(np.full(16, 1 / 16))
