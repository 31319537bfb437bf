"""Training is continued: the discriminator is saved with the model, or a new one is warmed up before it pays."""

import logging
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import ARS, MaskablePPO, RecurrentPPO
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import LinearSchedule

from formula_env import make_task
from formula_env.adversary import Adversary, AdversaryConfig
from formula_env.agents.sb3 import AdversarialCallback, FormulaVecEnv, RelabelledReplayBuffer, policy_of
from formula_env.agents.sb3.algorithms import GREEDY_DISCRIMINATOR
from formula_env.errors import FormulaError
from formula_env.randomness import global_random_state
from formula_env.sampling import log_prob

pytestmark = pytest.mark.slow

TASK = make_task("binary-sum", length=4)
ROLLOUT = 4 * 64
"""Symbols of 64 formulae."""
NEVER = 10**9
GREEDY = {"discriminator": GREEDY_DISCRIMINATOR}


def make_env(length: int = 4, num_envs: int = 64) -> FormulaVecEnv:
    return FormulaVecEnv("binary-sum", num_envs, length=length)


def make_ppo(cls: Any = PPO, **options: Any) -> Any:
    name = "MlpLstmPolicy" if cls is RecurrentPPO else "MlpPolicy"
    options = {"learning_rate": 4e-3, "n_steps": 4, "batch_size": ROLLOUT, "n_epochs": 4, **options}
    return cls(name, make_env(), gamma=1.0, gae_lambda=1.0, seed=0, device="cpu", **options)


def small(**options: Any) -> AdversarialCallback:
    return AdversarialCallback(**{"batch_size": 32, "update_every": 64, "eval_samples": 100, **options})


def accuracy(model: Any) -> float:
    """The probability of a correct formula, exact."""
    log_probs = log_prob(policy_of(model, TASK), TASK.vocabulary, torch.from_numpy(TASK.enumerate()))
    return float(log_probs.exp().sum())


class Accuracies(BaseCallback):
    """The model's exact accuracy at every fourth end of a rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []
        self.rollouts = 0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.rollouts += 1
        if self.rollouts % 4 == 0:
            self.seen.append(accuracy(self.model))


# --- what it is for -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A folder with a PPO model that has learned and its adversary, and the model's accuracy."""
    folder, model, adversary = (
        tmp_path_factory.mktemp("trained"),
        make_ppo(learning_rate=LinearSchedule(4e-3, 0.0, 1.0)),
        AdversarialCallback(),
    )
    model.learn(100 * ROLLOUT, adversary)
    model.save(folder / "model")
    adversary.save(folder / "adversary.pt")
    return folder, accuracy(model)


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("adversary", ["saved", "new"])
def test_a_model_that_has_learned_stays_as_good(trained: tuple[Path, float], adversary: str, reset: bool) -> None:
    folder, before = trained
    assert before > 0.95
    model, watch = PPO.load(folder / "model", make_env(), device="cpu"), Accuracies()
    ours = (
        AdversarialCallback.load(folder / "adversary.pt") if adversary == "saved" else AdversarialCallback(seed=1)
    )
    model.learn(50 * ROLLOUT, [ours, watch], reset_num_timesteps=reset)
    assert min(watch.seen) > before - 0.02


def test_without_the_warm_up_it_would_unlearn(trained: tuple[Path, float]) -> None:
    folder, _ = trained
    model, watch = PPO.load(folder / "model", make_env(), device="cpu"), Accuracies()
    model.learn(50 * ROLLOUT, [AdversarialCallback(seed=1, warmup_steps=0), watch])
    assert min(watch.seen) < 0.8


# --- which discriminators are warmed up -----------------------------------------------------------------------


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "formula_env"]


@pytest.mark.parametrize("cls", [PPO, MaskablePPO, RecurrentPPO])
def test_a_new_model_needs_no_warm_up_and_an_updated_one_does(
    cls: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("formula_env.agents.sb3.callback.WARMUP_STEPS", 3)
    model, first = make_ppo(cls), small()
    model.learn(ROLLOUT, first)
    model.learn(ROLLOUT, first)
    assert warnings_of(caplog) == []
    assert first.num_updates == 2 * first.d_steps
    second = small()
    model.learn(ROLLOUT, second)
    (message,) = warnings_of(caplog)
    assert message.startswith(f"{cls.__name__} has a new discriminator: 3 warm-up updates before it gives rewards")
    assert caplog.records[0].levelno == logging.WARNING
    assert "\n" not in message
    assert second.num_updates == 3 + second.d_steps
    model.learn(ROLLOUT, second, reset_num_timesteps=False)
    assert len(warnings_of(caplog)) == 1


def test_a_policy_set_by_hand_is_not_new(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("formula_env.agents.sb3.callback.WARMUP_STEPS", 3)
    model = make_ppo()
    with torch.no_grad():
        model.policy.action_net.bias.copy_(torch.tensor([0.0, 2.0]))
    assert model._n_updates == 0
    model.learn(ROLLOUT, small())
    assert len(warnings_of(caplog)) == 1


def test_the_number_of_warm_up_steps_can_be_set(caplog: pytest.LogCaptureFixture) -> None:
    for model, options in ((make_ppo(), {}), (make_ars(), GREEDY)):
        adversary = small(warmup_steps=5, **options)
        model.learn(0, adversary)
        assert adversary.num_updates == 5
    assert len(warnings_of(caplog)) == 2
    for wrong in (-1, 2.5, True):
        with pytest.raises(FormulaError, match="warmup_steps must be"):
            small(warmup_steps=wrong)


def make_ars() -> Any:
    return ARS("MlpPolicy", make_env(), n_delta=2, n_eval_episodes=64, seed=0, device="cpu")


def test_the_warm_up_shows_what_is_wrong_to_a_policy_that_is_right() -> None:
    """The discriminator knows wrong formulae that the policy never writes."""
    model, adversary = make_ppo(), AdversarialCallback(warmup_steps=300)
    with torch.no_grad():
        model.policy.action_net.weight.zero_()
        model.policy.action_net.bias.copy_(torch.tensor([9.0, -9.0]))  # always 0
    model.learn(0, adversary)
    every = torch.from_numpy(np.indices((2,) * 4).reshape(4, -1).T.copy())
    correct = torch.from_numpy(TASK.is_correct(every.numpy()))
    log_p = adversary.adversary.network(every).detach()
    assert log_p[correct].mean() == pytest.approx(-np.log(correct.sum().item()), abs=0.5)
    assert log_p[~correct].max() < log_p[correct].min()


# --- the learning rate ----------------------------------------------------------------------------------------


def test_every_learn_begins_with_its_own_learning_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with what the one before it has left, which is 0."""
    rates: list[float] = []
    adversary = small(discriminator=AdversaryConfig(learning_rate=1.0), d_steps=1, warmup_steps=0)
    train = Adversary.train

    def watched(adversary: Adversary, *arguments: Any) -> Any:
        metrics = train(adversary, *arguments)
        rates.append(adversary.optimizer.param_groups[0]["lr"])
        return metrics

    monkeypatch.setattr(Adversary, "train", watched)
    model = make_ppo(n_epochs=1)
    model.learn(4 * ROLLOUT, adversary)
    assert rates == pytest.approx([1, 3 / 4, 2 / 4, 1 / 4])
    model.learn(4 * ROLLOUT, adversary)
    assert rates[4:] == pytest.approx([1, 3 / 4, 2 / 4, 1 / 4])
    model.learn(4 * ROLLOUT, adversary, reset_num_timesteps=False)
    assert rates[8:] == pytest.approx([4 / 8, 3 / 8, 2 / 8, 1 / 8])


# --- files ----------------------------------------------------------------------------------------------------


def test_a_file_holds_settings_training_formulae_and_state(tmp_path: Path) -> None:
    training = TASK.sample(5, np.random.default_rng(0))
    options: dict[str, Any] = {
        "discriminator": AdversaryConfig("cnn", "plain", "log-ratio", 3.0, np.float64(1e-3)),
        "batch_size": np.int64(16), "d_steps": 3, "update_every": 32,
        "warmup_steps": 2, "eval_every": 10_000, "eval_samples": 50, "seed": 7,
    }  # fmt: skip
    adversary = AdversarialCallback(training, **options)
    model = make_ppo(n_epochs=1)
    model.learn(ROLLOUT, adversary)
    adversary.save(tmp_path / "adversary.pt")

    loaded = AdversarialCallback.load(str(tmp_path / "adversary.pt"))
    assert loaded._settings() == options | {"discriminator": asdict(options["discriminator"])}
    assert loaded.num_updates == adversary.num_updates == 2 + 3
    loaded.update_every = NEVER
    model.learn(ROLLOUT, loaded)
    every = torch.from_numpy(TASK.enumerate())
    assert torch.equal(loaded.adversary.network(every), adversary.adversary.network(every))
    np.testing.assert_array_equal(loaded.training, training)  # type: ignore[arg-type]
    other = TASK.sample(3, np.random.default_rng(1))
    assert AdversarialCallback.load(tmp_path / "adversary.pt", other).training is other


def test_a_loaded_adversary_goes_on_bit_for_bit(tmp_path: Path) -> None:
    model, adversary = make_ppo(n_epochs=1), small(warmup_steps=2)
    model.learn(3 * ROLLOUT, adversary)
    model.save(tmp_path / "model")
    adversary.save(tmp_path / "adversary.pt")
    finished = TASK.sample(64, np.random.default_rng(5))
    loaded = AdversarialCallback.load(tmp_path / "adversary.pt")
    PPO.load(tmp_path / "model", make_env(), device="cpu").learn(0, loaded)
    model.learn(0, adversary)
    every = torch.from_numpy(TASK.enumerate())
    before = adversary.adversary.network(every)
    for each in (adversary, loaded):
        each.model._current_progress_remaining = 1.0  # the end of `learn` left a learning rate of 0
        each.train_discriminator(finished)
    assert not torch.equal(adversary.adversary.network(every), before)
    assert torch.equal(loaded.torch_rng.get_state(), adversary.torch_rng.get_state())
    assert torch.equal(loaded.adversary.network(every), adversary.adversary.network(every))


def test_formulae_that_wait_for_an_update_are_saved(tmp_path: Path) -> None:
    adversary = small(update_every=NEVER)
    make_ppo(n_epochs=1).learn(ROLLOUT, adversary)
    waiting = adversary.finished.tokens
    assert len(waiting) == 64
    adversary.save(tmp_path / "adversary.pt")
    loaded = AdversarialCallback.load(tmp_path / "adversary.pt")
    make_ppo(n_epochs=1).learn(0, loaded)
    np.testing.assert_array_equal(loaded.finished.tokens, waiting)


def test_files_that_do_not_fit_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "adversary.pt"
    with pytest.raises(FormulaError, match=r"no discriminator to be saved yet; call model\.learn"):
        small().save(path)
    with pytest.raises(FormulaError, match="cannot read"):
        AdversarialCallback.load(path)
    adversary = small()
    make_ppo(n_epochs=1).learn(ROLLOUT, adversary)
    adversary.save(path)
    whole = path.read_bytes()

    other = PPO("MlpPolicy", make_env(length=8), n_steps=8, batch_size=512, device="cpu")
    told = r"the loaded adversary is for BinarySum\(length=4\), not BinarySum\(length=8\)"
    with pytest.raises(FormulaError, match=told):
        other.learn(512, AdversarialCallback.load(path))
    with pytest.raises(FormulaError, match="DQN chooses greedily"):
        make_dqn().learn(64, AdversarialCallback.load(path))

    for position in range(0, len(whole), len(whole) // 20):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(FormulaError, match=r"is damaged|is not a formula-env adversary") as error:
            AdversarialCallback.load(path)
        assert "\n" not in str(error.value)
    torch.save({"state": adversary.state_dict()}, path)
    with pytest.raises(FormulaError, match="is not a formula-env adversary"):
        AdversarialCallback.load(path)

    drawn = small(training=lambda n: TASK.sample(n, np.random.default_rng(0)))
    make_ppo(n_epochs=1).learn(ROLLOUT, drawn)
    drawn.save(path)
    with pytest.raises(FormulaError, match="formulae that a function drew; give the function again"):
        AdversarialCallback.load(path)
    assert AdversarialCallback.load(path, drawn.training).training is drawn.training


def test_a_state_of_another_discriminator_is_refused() -> None:
    cnn, mlp = small(discriminator=AdversaryConfig("cnn")), small()
    make_ppo(n_epochs=1).learn(ROLLOUT, cnn)
    mlp.load_state_dict(cnn.state_dict())
    with pytest.raises(FormulaError, match=r'the state holds no "mlp" discriminator of this task'):
        make_ppo(n_epochs=1).learn(ROLLOUT, mlp)


# --- with a replay buffer -------------------------------------------------------------------------------------


def make_dqn() -> DQN:
    return DQN(
        "MlpPolicy", make_env(num_envs=16), replay_buffer_class=RelabelledReplayBuffer, buffer_size=1_000,
        learning_starts=32, gamma=1.0, seed=0, device="cpu",
    )  # fmt: skip


def test_dqn_goes_on_with_its_buffer_and_its_adversary(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("formula_env.agents.sb3.callback.WARMUP_STEPS", 3)
    model, adversary = make_dqn(), small(update_every=16, **GREEDY)
    model.learn(960, adversary)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    adversary.save(tmp_path / "adversary.pt")

    later = DQN.load(tmp_path / "model", make_env(num_envs=16), device="cpu")
    later.load_replay_buffer(tmp_path / "buffer")
    loaded = AdversarialCallback.load(tmp_path / "adversary.pt")
    later.learn(480, loaded, reset_num_timesteps=False)
    assert loaded.num_updates > adversary.num_updates
    assert warnings_of(caplog) == []
    new = small(update_every=16, **GREEDY)
    later.learn(480, new)
    assert len(warnings_of(caplog)) == 1
    buffer: Any = later.replay_buffer
    ends = np.argwhere(buffer.dones[: buffer.size()])[:, 0]
    samples = buffer._get_samples(ends)
    formulae = torch.from_numpy(new.policy.codec.read(samples.next_observations.numpy()))
    is_end = samples.dones[:, 0] > 0
    assert is_end.any()
    assert samples.rewards[is_end, 0] == pytest.approx(new.reward_model.score(formulae[is_end]))


# --- whatever mode the caller is in ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_discriminator_learns_though_the_caller_wants_no_gradients(mode: Any) -> None:
    model, adversary = make_ars(), small(warmup_steps=2, **GREEDY)
    with mode():
        model.learn(3_000, adversary)
        state = adversary.state_dict()
    assert adversary.num_updates > 2
    for around in (nullcontext, mode):
        with around():
            adversary.load_state_dict(state)
        model.learn(3_000, adversary)
        assert adversary.num_updates > state["num_updates"]


@pytest.mark.parametrize("cls", [PPO, RecurrentPPO])
def test_the_caller_may_have_another_default_dtype(cls: Any) -> None:
    model, adversary = make_ppo(cls, n_epochs=1), small(warmup_steps=2)
    torch.set_default_dtype(torch.float64)
    try:
        model.learn(ROLLOUT, adversary)
        adversary.evaluate()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert {weight.dtype for weight in adversary.adversary.network.parameters()} == {torch.float32}
    twin = small(warmup_steps=2)
    make_ppo(cls, n_epochs=1).learn(ROLLOUT, twin)
    every = torch.from_numpy(TASK.enumerate())
    assert torch.equal(twin.adversary.network(every), adversary.adversary.network(every))


def test_it_draws_no_global_random_numbers(tmp_path: Path) -> None:
    model, adversary = make_ppo(n_epochs=1), small(warmup_steps=2)
    model._setup_learn(ROLLOUT, None)
    before = global_random_state()
    adversary.init_callback(model)
    adversary.on_training_start({}, {})
    adversary.train_discriminator(TASK.sample(64, np.random.default_rng(0)))
    adversary.evaluate()
    adversary.save(tmp_path / "adversary.pt")
    AdversarialCallback.load(tmp_path / "adversary.pt").init_callback(model)
    after = global_random_state()
    assert torch.equal(before["torch"], after["torch"])
    assert torch.equal(before["numpy"][0], after["numpy"][0])
    assert before["numpy"][1:] == after["numpy"][1:]
    assert before["python"] == after["python"]
