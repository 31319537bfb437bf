"""Stable-Baselines3 models as policies: their formulae have the probabilities by which the models act."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import ARS, QRDQN, TRPO, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.distributions import CategoricalDistribution
from stable_baselines3.common.policies import BasePolicy

from formula_env import FormulaEnv, FormulaVectorEnv
from formula_env.agents.sb3 import AdversarialCallback, FormulaVecEnv, SymbolEmbedding, policy_of, register_policy
from formula_env.agents.sb3 import policies as sb3_policies
from formula_env.agents.sb3.policies import GreedyPolicy, NoisyPolicy, PrefixCodec
from formula_env.errors import FormulaError
from formula_env.evaluators import SequenceEvaluator
from formula_env.rewards import ExactReward
from formula_env.rollouts import exact_q, monte_carlo_q, write
from formula_env.sampling import draw_keys, log_prob
from formula_env.tasks.base import SequenceTask
from tests.helpers import name_of, sharpen, small_tasks
from tests.oracles import all_sequences

tasks = pytest.mark.parametrize("task", small_tasks(), ids=name_of)
EPSILON = 0.3


def model_for(task: SequenceTask, cls: Any = PPO, **options: Any) -> Any:
    """Untrained, but with opinions."""
    name = "MlpLstmPolicy" if cls is RecurrentPPO else "MlpPolicy"
    embedded = "observation" in options and cls is not ARS
    extractor: dict[str, Any] = {"features_extractor_class": SymbolEmbedding} if embedded else {}
    quantiles = {"n_quantiles": 5} if cls is QRDQN else {}
    model = cls(name, FormulaEnv(task, **options), seed=0, device="cpu", policy_kwargs=extractor | quantiles)
    if isinstance(model, ARS):
        torch.manual_seed(0)
        for parameter in model.policy.parameters():
            torch.nn.init.normal_(parameter)
    elif isinstance(model, DQN | QRDQN):
        model.exploration_rate = EPSILON
    else:
        sharpen(model.policy.action_net, 100.0)
    return model


def observations_of(task: SequenceTask, sequence: list[int], observation: str) -> list[Any]:
    """What an agent sees before each symbol of a sequence."""
    env = FormulaEnv(task, observation=observation)  # type: ignore[arg-type]
    seen = [env.reset(seed=0)[0]]
    for symbol in sequence:
        if symbol == task.vocabulary.pad:
            break
        seen.append(env.step(symbol)[0])
    return seen[:-1]


def acted_log_prob(model: Any, seen: list[Any], symbols: list[int], vocab_size: int) -> float:
    """log π of a formula as the model itself tells it, step by step."""
    batch, actions, policy = torch.from_numpy(np.stack(seen)), torch.tensor(symbols), model.policy
    if isinstance(model, RecurrentPPO):
        shape = policy.lstm_hidden_state_shape
        memory: Any = ((torch.zeros(shape),) * 2, (torch.zeros(shape),) * 2)
        starts = torch.tensor([1.0] + [0.0] * (len(symbols) - 1))
        states = type(model._last_lstm_states)(*memory)
        return policy.evaluate_actions(batch, actions, states, starts)[1].sum().item()
    if isinstance(model, PPO | A2C | TRPO):
        return policy.evaluate_actions(batch, actions)[1].sum().item()
    greedy, _ = policy.predict(np.stack(seen), deterministic=True)
    epsilon = 0.0 if isinstance(model, ARS) else EPSILON
    probs = (1 - epsilon) * (greedy == actions.numpy()) + epsilon / vocab_size
    return float(np.log(np.maximum(probs, 1e-30)).sum())


@pytest.mark.slow
@tasks
@pytest.mark.parametrize("cls", [PPO, A2C, TRPO, RecurrentPPO, DQN, QRDQN, ARS])
@pytest.mark.parametrize("observation", ["one-hot", "tokens"])
def test_it_is_the_distribution_the_model_acts_by(task: SequenceTask, cls: Any, observation: str) -> None:
    model = model_for(task, cls, **({} if observation == "one-hot" else {"observation": observation}))
    policy = policy_of(model, task)
    sequences = all_sequences(task)
    log_probs = log_prob(policy, task.vocabulary, sequences)
    assert log_probs.exp().sum().item() == pytest.approx(1, abs=1e-5)
    likely = int(log_probs.argmax())
    for i in (0, 7, likely, len(sequences) - 1):
        symbols = [symbol for symbol in sequences[i].tolist() if symbol != task.vocabulary.pad]
        seen = observations_of(task, sequences[i].tolist(), observation)
        acted = acted_log_prob(model, seen, symbols, task.vocabulary.size)
        if acted < -20:  # never, of a deterministic policy
            assert log_probs[i] < -20
        else:
            assert log_probs[i].item() == pytest.approx(acted, abs=1e-4)


@pytest.mark.slow
@tasks
@pytest.mark.parametrize("cls", [PPO, RecurrentPPO, DQN])
def test_the_exact_jsd_through_it_is_that_of_brute_force(task: SequenceTask, cls: Any) -> None:
    policy = policy_of(model_for(task, cls), task)
    sequences = all_sequences(task)
    probs = log_prob(policy, task.vocabulary, sequences).exp().numpy()
    correct = task.is_correct(sequences.numpy())
    uniform = correct / correct.sum()
    middle = (probs + uniform) / 2
    terms = [np.sum(p[p > 0] * np.log(p[p > 0] / middle[p > 0])) for p in (probs, uniform)]
    sample = write(policy, task.vocabulary, task.max_length, draw_keys(10, torch.Generator())).numpy()
    judged = SequenceEvaluator(task)(
        sample, lambda tokens: log_prob(policy, task.vocabulary, torch.from_numpy(tokens)).numpy()
    )
    assert judged["jsd_exact"]
    assert judged["jsd"] == pytest.approx(sum(terms) / 2, abs=1e-6)
    assert judged["accuracy"] == pytest.approx(probs[correct].sum(), abs=1e-6)


@tasks
def test_rollouts_under_it_follow_exact_q_in_one_call_a_level(
    task: SequenceTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_for(task, A2C)
    policy = policy_of(model, task)
    calls = 0
    get_distribution = model.policy.get_distribution

    def count(observations: torch.Tensor) -> Any:
        nonlocal calls
        calls += 1
        return get_distribution(observations)

    monkeypatch.setattr(model.policy, "get_distribution", count)
    formulae = all_sequences(task)[::5]
    start = torch.zeros(len(formulae), dtype=torch.int64)
    arguments = (policy, ExactReward(task).score, task.vocabulary, formulae, start)
    estimate = monte_carlo_q(*arguments, torch.arange(len(formulae)), 400)
    assert calls == task.max_length
    exact = exact_q(*arguments)
    assert np.corrcoef(exact[:, :-1].ravel(), estimate[:, :-1].ravel())[0, 1] > 0.9


@tasks
def test_masked_it_writes_nothing_illegal(task: SequenceTask) -> None:
    model = model_for(task, MaskablePPO)
    env = FormulaVectorEnv(task, num_envs=50, observation="tokens")
    policy = policy_of(model, task)
    env.set_rollout_policy(policy)
    env.reset(seed=0)
    tokens, _ = env.play(policy)
    assert_legal(task, tokens)


def assert_legal(task: SequenceTask, tokens: Any) -> None:
    for t in range(task.max_length):
        open_ = tokens[:, t] != task.vocabulary.pad
        legal = task.legal_symbols(tokens[:, :t])
        assert legal[np.flatnonzero(open_), tokens[open_, t]].all()


@tasks
def test_maskable_ppo_breaks_no_mask_in_ten_thousand_episodes(task: SequenceTask) -> None:
    """Acting by the adapter's masks, against the task's grammar; without masks it does break them."""
    model = model_for(task, MaskablePPO)
    env = FormulaVecEnv(task, num_envs=2_000, observation="tokens", reward_model="constant")
    one_hot = model.observation_space.shape[0]
    assert env.has_attr("action_masks")
    finished = {True: np.empty((0, task.max_length), dtype=np.int64)}
    finished[False] = finished[True]
    codec = policy_of(model, task).codec
    for masked, wanted in ((True, 10_000), (False, 2_000)):
        seen = env.reset()
        while len(finished[masked]) < wanted:
            observations = codec.observe(torch.from_numpy(np.asarray(seen))).numpy()
            assert observations.shape == (2_000, one_hot)
            masks = np.stack(env.env_method("action_masks")) if masked else None
            actions, _ = model.predict(observations, action_masks=masks)
            seen, _, dones, infos = env.step(actions)
            ended = [infos[i]["terminal_observation"] for i in np.flatnonzero(dones)]
            if ended:
                finished[masked] = np.concatenate([finished[masked], np.stack(ended)])
    assert_legal(task, finished[True])
    if not task.legal_symbols(finished[False][:, :0]).all() or task.vocabulary.eos is not None:
        with pytest.raises(AssertionError):
            assert_legal(task, finished[False])


@pytest.mark.slow
@tasks
@pytest.mark.parametrize("cls", [PPO, MaskablePPO, RecurrentPPO, DQN, ARS])
def test_a_noisy_policy_is_a_mixture_of_copies_with_more_and_less_noise(task: SequenceTask, cls: Any) -> None:
    policy = policy_of(model_for(task, cls), task)
    sequences = all_sequences(task)

    def probs_of(*noises: float) -> torch.Tensor:
        return log_prob(NoisyPolicy(policy, noises), task.vocabulary, sequences).exp()

    mixture = probs_of(0.0, 0.2, 1.0)
    assert mixture.sum().item() == pytest.approx(1, abs=1e-5)
    copies = [probs_of(noise) for noise in (0.0, 0.2, 1.0)]
    assert torch.allclose(mixture, sum(copies[1:], copies[0]) / 3, atol=1e-6)
    assert torch.allclose(copies[0], log_prob(policy, task.vocabulary, sequences).exp(), atol=1e-6)
    with_noise = NoisyPolicy(policy, (0.0, 0.2, 1.0))
    sample = write(with_noise, task.vocabulary, task.max_length, draw_keys(4_000, torch.Generator()))
    share = (sample[:, None] == sequences).all(dim=2).double().mean(dim=0)
    assert (share - mixture).abs().max() < 0.05
    if cls is not MaskablePPO:  # any symbol may come of noise, of greedy policies too
        lengths = (sequences != task.vocabulary.pad).sum(dim=1)
        assert torch.allclose(copies[2], float(task.vocabulary.size) ** -lengths.double(), atol=1e-6)


def test_a_policy_for_other_formulae_is_refused() -> None:
    small, large = small_tasks()[:2]
    with pytest.raises(FormulaError, match="the policy reads observations of Box"):
        policy_of(model_for(small), large)
    model = model_for(small)
    model.action_space = spaces.Discrete(3)
    with pytest.raises(FormulaError, match=r"the policy chooses from Discrete\(3\); the task has 2 symbols"):
        policy_of(model, small)


def test_a_model_that_does_not_choose_symbols_is_refused() -> None:
    model = SAC("MlpPolicy", "Pendulum-v1", device="cpu", buffer_size=10)
    with pytest.raises(FormulaError, match="SAC has a SACPolicy, which is not known to choose among symbols"):
        policy_of(model, small_tasks()[0])


class BigramPolicy(BasePolicy):
    """A policy of a user's own, no ActorCriticPolicy: its distribution depends on the last symbol alone."""

    def __init__(self, observation_space: Any, action_space: Any, lr_schedule: Any, use_sde: bool = False) -> None:
        super().__init__(observation_space, action_space)
        self.num_symbols = int(action_space.n)
        self.table = torch.nn.Parameter(torch.randn(self.num_symbols + 1, self.num_symbols))
        self.value = torch.nn.Parameter(torch.zeros(()))
        self.optimizer = torch.optim.Adam(self.parameters(), lr=lr_schedule(1))

    def get_distribution(self, observations: torch.Tensor) -> CategoricalDistribution:
        written = observations.view(len(observations), -1, self.num_symbols)
        lengths = written.sum(dim=(1, 2)).long()
        last = written[torch.arange(len(written)), (lengths - 1).clamp(min=0)].argmax(dim=1)
        logits = self.table[torch.where(lengths == 0, self.num_symbols, last)]
        return CategoricalDistribution(self.num_symbols).proba_distribution(logits)

    def forward(self, observations: torch.Tensor, deterministic: bool = False) -> Any:
        distribution = self.get_distribution(observations)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, self.predict_values(observations), distribution.log_prob(actions)

    def evaluate_actions(self, observations: torch.Tensor, actions: torch.Tensor) -> Any:
        distribution = self.get_distribution(observations)
        return self.predict_values(observations), distribution.log_prob(actions), distribution.entropy()

    def predict_values(self, observations: torch.Tensor) -> torch.Tensor:
        return self.value + torch.zeros(len(observations), 1)

    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:
        return self.get_distribution(observation).get_actions(deterministic=deterministic)


def test_a_policy_of_ones_own_with_a_distribution_is_trained_and_judged() -> None:
    task = small_tasks()[0]
    env = FormulaVecEnv(task, 16)
    cls: Any = PPO  # whose hint is narrower than what it takes
    model = cls(BigramPolicy, env, n_steps=task.max_length, batch_size=96, gamma=1.0, device="cpu")
    adversary = AdversarialCallback(batch_size=16, update_every=16, warmup_steps=5)
    before = model.policy.table.detach().clone()
    model.learn(3 * 96, adversary)
    assert adversary.num_updates >= 3 * adversary.d_steps
    assert not torch.equal(before, model.policy.table)
    metrics = adversary.evaluate()
    sequences = all_sequences(task)
    probs = log_prob(policy_of(model, task), task.vocabulary, sequences).exp().numpy()
    assert probs.sum() == pytest.approx(1, abs=1e-5)
    assert metrics["jsd_exact"]
    assert metrics["accuracy"] == pytest.approx(probs[task.is_correct(sequences.numpy())].sum(), abs=1e-6)


class FirstSymbol(BasePolicy):
    """Chooses symbol 0, and says of itself nothing at all."""

    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:
        return torch.zeros(len(observation), dtype=torch.int64)


class Choosing(GreedyPolicy):
    def values(self, observations: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(self.policy(observations), self.task.vocabulary.size).float()


def test_other_policies_are_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    class Derived(FirstSymbol):
        def forward(self, observations: torch.Tensor) -> torch.Tensor:
            return self._predict(observations)

    monkeypatch.setattr(sb3_policies, "POLICIES", dict(sb3_policies.POLICIES))
    task = small_tasks()[0]
    model = model_for(task, DQN)
    model.policy = Derived(model.observation_space, model.action_space)
    with pytest.raises(
        FormulaError, match=r"DQN has a Derived, which is not known .* register_policy adds others"
    ):
        policy_of(model, task)
    register_policy(FirstSymbol, Choosing)
    policy = policy_of(model, task)
    assert isinstance(policy, Choosing)
    zeros = torch.zeros((1, task.max_length), dtype=torch.int64)
    expected = task.max_length * np.log(1 - EPSILON + EPSILON / task.vocabulary.size)
    assert log_prob(policy, task.vocabulary, zeros).item() == pytest.approx(expected, abs=1e-5)

    class TooFew(Choosing):
        def logits(self, observations: torch.Tensor, prefixes: torch.Tensor) -> torch.Tensor:
            return super().logits(observations, prefixes)[:, 1:]

    register_policy(Derived, TooFew)  # of the more derived class
    with pytest.raises(FormulaError, match=r"TooFew must give logits \(n, 2\), got \(2, 1\) for n = 2"):
        policy_of(model, task)


def test_reading_an_observation_gives_the_prefix_back() -> None:
    for task in small_tasks():
        for observation in ("one-hot", "tokens"):
            env = FormulaVecEnv(task, num_envs=20, observation=observation, reward_model="constant")
            codec = PrefixCodec(env.observation_space, task)
            env.reset()
            rng = np.random.default_rng(0)
            for _ in range(task.max_length - 1):
                seen, *_ = env.step(rng.integers(task.vocabulary.size, size=20))
                expected = env.vector_env.episodes.tokens
                assert np.array_equal(codec.read(np.asarray(seen)), expected)
                assert np.array_equal(codec.observe(torch.from_numpy(expected)).numpy(), np.asarray(seen))


def test_the_embedding_looks_symbols_up() -> None:
    task = small_tasks()[0]
    model = model_for(task, observation="tokens")
    tokens = task.sample(3, np.random.default_rng(0))
    tokens[:, 3:] = task.vocabulary.pad
    extractor = model.policy.features_extractor
    features = model.policy.extract_features(torch.from_numpy(tokens), extractor)
    assert torch.equal(features, extractor.table[torch.from_numpy(tokens)].flatten(1))
    with pytest.raises(FormulaError, match="SymbolEmbedding reads ids, not Box"):
        PPO(
            "MlpPolicy",
            FormulaEnv(task),
            device="cpu",
            policy_kwargs={"features_extractor_class": SymbolEmbedding},
        )
