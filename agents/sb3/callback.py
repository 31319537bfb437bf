"""Adversarial training within one `learn()` of Stable-Baselines3."""

import logging
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from torch import Tensor

from formula_env.adversarial import Metrics, floats
from formula_env.adversary import Adversary, AdversaryConfig, LogDensity
from formula_env.agents.sb3.checks import (
    check_gamma,
    check_observations,
    check_proposal,
    check_training,
    check_whole,
    policy_for,
    relabelled_buffer,
    task_of,
)
from formula_env.agents.sb3.policies import NoisyPolicy
from formula_env.episodes import transition
from formula_env.errors import FormulaError, check_at_least, check_seed
from formula_env.evaluators import SequenceEvaluator
from formula_env.files import load_state, save_state
from formula_env.metrics import row_key
from formula_env.modes import default_modes
from formula_env.networks import make_discriminator
from formula_env.networks.policy import Policy
from formula_env.rewards import RewardModel
from formula_env.sampling import Sampler, log_prob
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens

logger = logging.getLogger("formula_env")

FILE_KIND = "adversary 2"
"""Kind and format of the file that `AdversarialCallback.save` writes."""

WARMUP_STEPS = 300
"""Updates of a new discriminator before it pays a policy that is not new."""

WARMUP_SAMPLE = 10_000
"""Noisy formulae of the policy that the warm-up draws its batches from."""

PREFERENCE_SAMPLE = 256
"""Formulae that a policy's preference is measured on."""

PREFERENCE = 0.05
"""Least `preference` of a policy that counts as trained. Untrained networks have less than 0.02."""

SB3_DISCRIMINATOR = AdversaryConfig(learning_rate=2e-3)
"""Settings of the discriminator that fit the learning rates of Stable-Baselines3's policies here."""

Draw = Callable[[int], Tokens]
"""A number n to as many real formulae `(n, T)`."""


class AdversarialCallback(BaseCallback):
    """Makes a discriminator the reward of any Stable-Baselines3 model, and trains it while the model learns.

    `PPO("MlpPolicy", FormulaVecEnv("binary-sum", length=8), n_steps=8, gamma=1.0).learn(n, AdversarialCallback())`

    It takes its steps at the end of a collection of experience, on the formulae that were finished since its last
    steps against as many real ones; Monte-Carlo rollouts, where the environment makes any, follow the model. With
    a replay buffer (a `RelabelledReplayBuffer`) every reward is the present discriminator's.

    A discriminator belongs to the policy that it was trained with. Save both, and continue with both:

        model.save("model"), adversary.save("adversary.pt")
        PPO.load("model", env).learn(n, AdversarialCallback.load("adversary.pt"))

    A policy that has learned before would unlearn with a new discriminator: its first rewards mean nothing. So
    such a pair begins with a warm-up, and the logger "formula_env" says so in one warning.

    The policies of PPO, A2C, TRPO, MaskablePPO, RecurrentPPO, DQN, QRDQN and ARS are known, with what derives from
    them, and every policy with `get_distribution(observations)`; see `register_policy` for others.

    Args:
        training: the real formulae `(n, T)`, or a function that draws n of them; default: the task's own, any.
        discriminator: settings of the discriminator and its reward. A model that chooses greedily (DQN, QRDQN,
            ARS) has no density π: `AdversaryConfig(kind="plain", reward_transform="probability")` is for it. The
            learning rate falls over `learn`.
        batch_size: real, and as many finished formulae in a step.
        d_steps: steps each time.
        update_every: finished formulae from one time to the next, at least. No more than one collection finishes,
            for "ratio": the π in its logit is the model's of this moment, which must have written what is fake.
        warmup_steps: steps of a new discriminator on formulae of the present policy, before it pays; None: 300 if
            the model has been updated before or its policy is far from uniform, else none. A greedy policy whose
            weights were set by hand looks like a new one; give a number for it.
        eval_every: symbols (`num_timesteps`) from one evaluation to the next, at least; 0: none. Each logs all
            metrics of `SequenceEvaluator` as `eval/…`, exact ones from the policy's probabilities.
        eval_samples: formulae in an evaluation's sample.
        seed: of the discriminator and of what it is shown.

    Raises FormulaError when `learn` begins, if model and environment don't go together: another vocabulary, worker
    processes (whose copies of the discriminator never learn), `VecNormalize` and other changed observations, an
    off-policy model without a `RelabelledReplayBuffer`, Q as rewards with γ above 0; or if the callback has been
    used with another task before.
    """

    def __init__(
        self,
        training: Tokens | Draw | None = None,
        *,
        discriminator: AdversaryConfig = SB3_DISCRIMINATOR,
        batch_size: int = 256,
        d_steps: int = 2,
        update_every: int = 64,
        warmup_steps: int | None = None,
        eval_every: int = 0,
        eval_samples: int = 10_000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(discriminator, AdversaryConfig):
            raise FormulaError(f"discriminator must be an AdversaryConfig, got {discriminator!r}")
        check_proposal(discriminator)
        check_whole(batch_size=batch_size, d_steps=d_steps, update_every=update_every, seed=seed)
        check_whole(warmup_steps=warmup_steps or 0, eval_every=eval_every, eval_samples=eval_samples)
        check_at_least(1, batch_size=batch_size, d_steps=d_steps, update_every=update_every)
        check_at_least(0, warmup_steps=warmup_steps or 0, eval_every=eval_every)
        check_at_least(1, eval_samples=eval_samples)
        check_seed(seed)
        self.training = training
        self.config = discriminator
        # Numbers of numpy's are no plain values, as which they are saved.
        self.batch_size, self.d_steps, self.update_every = int(batch_size), int(d_steps), int(update_every)
        self.warmup_steps = None if warmup_steps is None else int(warmup_steps)
        self.eval_every, self.eval_samples, self.seed = int(eval_every), int(eval_samples), int(seed)
        self.num_updates = 0
        self._evaluated_at = 0
        self._is_set_up = False
        self._to_load: dict[str, Any] | None = None
        self._loaded_task: dict[str, Any] | None = None

    # --- what Stable-Baselines3 calls -------------------------------------------------------------------------

    def _init_callback(self) -> None:
        """`learn` begins: for the first time, or going on with the same model."""
        model, env = self.model, self.training_env
        task = task_of(env)
        self.policy = policy_for(model, task, self.config.kind)
        check_gamma(model, env.get_attr("reward_mode")[0])
        if isinstance(model, OffPolicyAlgorithm):
            relabelled_buffer(model).relabel = self._reward_now
        if not self._is_set_up:
            self._set_up(task)
        elif task != self.task:
            raise FormulaError(f"this callback's discriminator is for {self.task}, not {task}; make a new one")
        else:
            self.finished.clear()  # between two calls of `learn` others may write, such as evaluate_policy
        self._evaluated_at = min(self._evaluated_at, model.num_timesteps)  # which may begin at 0 again
        self._to_observe = task.max_length
        if model._total_timesteps > 0:  # what is left of the last `learn` is no learning rate for this one
            model._update_current_progress_remaining(model.num_timesteps, model._total_timesteps)
        env.env_method("set_reward_model", self.reward_model)
        env.env_method("set_rollout_policy", self.policy)

    def _set_up(self, task: SequenceTask) -> None:
        if self._loaded_task not in (None, description(task)):
            raise FormulaError(f"the loaded adversary is for {self._loaded_task['name']}, not {name_of(task)}")
        self.task = task
        with default_modes(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)  # torch.manual_seed would seed a GPU's generators too
            network = make_discriminator(self.config.architecture, task).to(self.model.device)
            self.adversary = Adversary(network, self.config, self._log_density)
        self.finished = FinishedFormulae(task.max_length)
        self.reward_model = Observed(self.adversary.reward_model, self.finished)
        self.rng = np.random.default_rng(self.seed)
        self.torch_rng = torch.Generator().manual_seed(self.seed)
        self._draw_real = self._real_formulae(task)
        if self._to_load is not None:
            self._take_up(self._to_load)
            self._to_load = None
        self._is_set_up = True

    def _on_training_start(self) -> None:
        if not self.locals.get("use_masking", True):
            raise FormulaError(
                "MaskablePPO without masks would be rewarded by the density it has with them; use PPO instead"
            )
        if self.num_updates == 0 and (steps := self._warmup_steps()):
            self.warm_up(steps)

    def _on_step(self) -> bool:
        if self._to_observe and "new_obs" in self.locals:
            self._to_observe -= 1
            check_observations(self.locals["new_obs"], self.policy.codec)
        return True

    def _on_rollout_end(self) -> None:
        """Experience has been collected, the model's own update follows."""
        if len(finished := self.finished.tokens) >= self.update_every:
            self.finished.clear()
            self.train_discriminator(finished)
        if self.eval_every and self.num_timesteps - self._evaluated_at >= self.eval_every:
            self._evaluated_at = self.num_timesteps
            for name, value in self.evaluate().items():
                self.logger.record(row_key(name), float(value))

    # --- what it does -----------------------------------------------------------------------------------------

    def train_discriminator(self, finished: Tokens) -> None:
        """Train on real formulae against these `(n, T)`."""
        progress = 1 - self.model._current_progress_remaining
        for _ in range(self.d_steps):
            for name, value in floats(self._train_step(finished, progress)).items():
                self.logger.record_mean(name, value)

    def warm_up(self, steps: int) -> None:
        """Train at the full learning rate on real formulae against noisy ones of the present policy.

        A good policy's own formulae hardly show what is wrong. Noise does, and teaches a ratio discriminator the
        same log p_data, as long as the density of the noise is known (noise-contrastive estimation).
        """
        noisy = NoisyPolicy(self.policy, (0.0, 1 / self.task.max_length, 0.25, 1.0))
        sampler = self._sampler(noisy)
        formulae = sampler.draw(WARMUP_SAMPLE, self.torch_rng)
        density = partial(self._log_density_of, noisy)
        losses = [self._train_step(formulae, 0.0, density)["discriminator/loss"].item() for _ in range(steps)]
        logger.warning(
            "%s has a new discriminator: %d warm-up updates before it gives rewards (loss %.2f to %.2f nats). "
            "AdversarialCallback.load(path) continues with a saved one",
            type(self.model).__name__,
            steps,
            losses[0],
            losses[-1],
        )

    def _warmup_steps(self) -> int:
        if self.warmup_steps is not None:
            return self.warmup_steps
        model: Any = self.model
        has_learned = model._n_updates > 0 or (self.policy.has_density and self._preference() > PREFERENCE)
        return WARMUP_STEPS if has_learned else 0

    def _preference(self) -> float:
        """How far the policy is from uniform over the symbols it may choose: 0, uniform, to 1, one formula."""
        own_sampler = self._sampler(self.policy)
        sample = own_sampler.sample(PREFERENCE_SAMPLE, self.seed)
        own = own_sampler.log_prob(sample).mean()
        uniform = self._sampler(NoisyPolicy(self.policy, [1.0])).log_prob(sample).mean()
        return 1 - own / uniform if uniform < 0 else 0.0

    def _train_step(self, fakes: Tokens, progress: float, density: LogDensity | None = None) -> Metrics:
        """One update on a batch of real formulae and a batch of these, which have this log-density."""
        chosen = self.rng.choice(len(fakes), self.batch_size, replace=len(fakes) < self.batch_size)
        batches = (self._draw_real(self.batch_size), fakes[chosen])
        self.num_updates += 1
        with default_modes():
            real, fake = (torch.from_numpy(batch).to(self.model.device) for batch in batches)
            return self.adversary.train(real, fake, progress, density)

    def evaluate(self) -> dict[str, Any]:
        """The metrics of a sample, and of the policy's own probabilities; raises FormulaError before `learn`."""
        if not self._is_set_up:
            raise FormulaError("there is no model to evaluate yet; call model.learn(…, callback=…) first")
        known = self.training if isinstance(self.training, np.ndarray) else None
        sampler = self._sampler(self.policy)
        sample = sampler.sample(self.eval_samples, self.num_timesteps)
        return SequenceEvaluator(self.task, known)(sample, sampler.log_prob)

    def _sampler(self, policy: Policy) -> Sampler:
        return Sampler(policy, self.task, self.model.device)

    def _log_density(self, tokens: Tensor) -> Tensor:
        return self._log_density_of(self.policy, tokens)  # of the model that learns now

    def _log_density_of(self, policy: Policy, tokens: Tensor) -> Tensor:
        return log_prob(policy, self.task.vocabulary, tokens).float()

    def _reward_now(self, observations: Any, actions: Any) -> Any:
        """Present rewards of these actions `(n,)` on these observations `(n, …)`."""
        prefixes = self.policy.codec.read(observations)
        lengths = (prefixes != self.task.vocabulary.pad).sum(axis=1)
        finished = transition(self.task.vocabulary, prefixes, lengths, np.arange(len(prefixes)), actions)
        rewards_of = self.training_env.get_attr("rewards_of")[0]
        return rewards_of(prefixes, finished, self.torch_rng)

    def _real_formulae(self, task: SequenceTask) -> Draw:
        if self.training is None:
            return lambda n: task.sample(n, self.rng)
        if callable(self.training):
            return self.training
        return partial(self._some_of, check_training(self.training, task))

    def _some_of(self, formulae: Tokens, n: int) -> Tokens:
        return formulae[self.rng.integers(len(formulae), size=n)]

    # --- saved with the model ---------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the discriminator, its settings and its training formulae to a file, for `load`.

        Raises FormulaError before `learn`, and if the file can't be written.
        """
        if not self._is_set_up:
            raise FormulaError("there is no discriminator to be saved yet; call model.learn(…, callback=…) first")
        is_array = not (self.training is None or callable(self.training))
        content = {
            "settings": self._settings(),
            "task": description(self.task),
            "training": torch.from_numpy(check_training(self.training, self.task)) if is_array else None,
            "training_is_drawn": callable(self.training),
            "state": self.state_dict(),
        }
        save_state(Path(path), content, FILE_KIND)

    @classmethod
    def load(cls, path: str | Path, training: Tokens | Draw | None = None) -> Self:
        """The callback saved there, with its settings; `learn` continues with its discriminator.

        Reading the file executes nothing that is in it.

        Args:
            path: of a file that `save` wrote.
            training: other real formulae. A function that draws them isn't in the file: give it again.

        Raises FormulaError for a damaged file or one of another kind; and, when `learn` begins, for another task.
        """
        saved = load_state(Path(path), FILE_KIND)
        if training is None and saved["training_is_drawn"]:
            raise FormulaError(
                f"the adversary in {path} was trained on formulae that a function drew; give the function again: "
                "AdversarialCallback.load(path, training)"
            )
        if training is None and saved["training"] is not None:
            training = saved["training"].numpy()
        settings = saved["settings"]
        settings["discriminator"] = AdversaryConfig(**settings["discriminator"])
        adversary = cls(training, **settings)
        adversary._to_load, adversary._loaded_task = saved["state"], saved["task"]
        adversary.num_updates = saved["state"]["num_updates"]
        return adversary

    def _settings(self) -> dict[str, Any]:
        """The arguments that this callback was made with, but for `training`, as plain values."""
        return {
            "discriminator": asdict(self.config),
            "batch_size": self.batch_size,
            "d_steps": self.d_steps,
            "update_every": self.update_every,
            "warmup_steps": self.warmup_steps,
            "eval_every": self.eval_every,
            "eval_samples": self.eval_samples,
            "seed": self.seed,
        }

    def state_dict(self) -> dict[str, Any]:
        """The discriminator's, and what it has yet to see; a copy, of tensors and plain values."""
        return {
            "adversary": self.adversary.state_dict(),
            "finished": torch.from_numpy(self.finished.tokens),
            "rng": self.rng.bit_generator.state,
            "torch_rng": self.torch_rng.get_state(),
            "num_updates": self.num_updates,
            "evaluated_at": self._evaluated_at,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned; before the first `learn` it is kept until then.

        Raises FormulaError for the state of another discriminator.
        """
        if self._is_set_up:
            self._take_up(state)
        else:
            self._to_load = state
            self.num_updates = state["num_updates"]

    def _take_up(self, state: dict[str, Any]) -> None:
        with default_modes():
            self.adversary.load_state_dict(state["adversary"])
        self.finished.clear()
        self.finished.add(state["finished"].numpy())
        self.rng.bit_generator.state = state["rng"]
        self.torch_rng.set_state(state["torch_rng"])
        self.num_updates, self._evaluated_at = state["num_updates"], state["evaluated_at"]


class FinishedFormulae:
    """The formulae that the environment has finished since they were last used."""

    def __init__(self, max_length: int) -> None:
        self._max_length = max_length
        self.clear()

    def add(self, tokens: Tokens) -> None:
        self._parts.append(tokens)

    @property
    def tokens(self) -> Tokens:
        """`(n, T)`, in the order in which they were finished."""
        return np.concatenate([np.empty((0, self._max_length), dtype=np.int64), *self._parts])

    def clear(self) -> None:
        self._parts: list[Tokens] = []


class Observed(RewardModel):
    """A reward model that hands the finished formulae it is shown to a discriminator's trainer."""

    def __init__(self, reward_model: RewardModel, finished: FinishedFormulae) -> None:
        self.score, self.observe = reward_model.score, finished.add


def description(task: SequenceTask) -> dict[str, Any]:
    """Class and options of a task, as a saved discriminator's file records them."""
    vocabulary = task.vocabulary
    return {
        "name": name_of(task),
        "symbols": list(vocabulary.symbols),
        "variable_length": vocabulary.variable_length,
        "max_length": task.max_length,
    }


def name_of(task: SequenceTask) -> str:
    """A task's class and options: `BinarySum(length=8)`."""
    return f"{type(task).__name__}({', '.join(f'{name}={value!r}' for name, value in task.options.items())})"
