"""RankGAN (Lin et al. 2017): the reward is a formula's rank among real ones, not a verdict on it alone.

A ranker embeds formulae as vectors y. Against a comparison set C and a reference u, a formula s has the rank

    P(s | u, C) = exp(γ·cos(y_s, y_u)) / Σ_{s' ∈ C ∪ {s}} exp(γ·cos(y_s', y_u)),

and R(s | C) is its mean over the references u, which are real. The ranker climbs

    E_real[log R(s | C of fakes)] + E_fake[log(1 - R(s | C of real ones))],

and the generator, as in SeqGAN, the expected R(s | C of real ones), with Monte-Carlo rollouts for what is
unfinished.

A rank depends on s, C and the references alone, not on what else is in the batch. References and comparison sets
are the first of the real batch, or of the fakes, in each round; where real formulae are ranked, the references are
among them.

The generator is paid R, as in the authors' code, and not log R. Differs from that code: there C is the batch, and
the sum over the references stands inside the softmax.
"""

import math
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from formula_env import distributed
from formula_env.adversarial import Metrics
from formula_env.agents.seqgan import policy_gradient_loss, position_means
from formula_env.averaged import Averaged
from formula_env.errors import MAX_REPEATS, MAX_WIDTH, FormulaError, check_at_least, check_positive, check_range
from formula_env.networks.discriminators import SequenceLinear
from formula_env.optimizers import adam, set_lr
from formula_env.rollouts import MonteCarlo, NoRollouts
from formula_env.schedules import linear
from formula_env.search_space import Choice, LogRange, SearchSpace
from formula_env.tasks.base import SequenceTask
from formula_env.turns import TurnsAlgorithm, TurnsConfig


@dataclass(frozen=True)
class RankGANConfig(TurnsConfig):
    """Settings of RankGAN."""

    batch_size: int = 64
    d_steps: int = 5
    learning_rate: float = 1.9e-4
    num_rollouts: int = 16
    """Monte-Carlo completions behind the Q of each prefix; 0: all symbols share their formula's rank."""
    num_references: int = 16
    """Number of real formulae that ranks are averaged over."""
    comparison_size: int = 16
    """Number of formulae that one is ranked among."""
    gamma: float = 8.0
    """Inverse temperature γ of the ranks."""
    ranker_learning_rate: float = 1.3e-3
    """Learning rate of the ranker's Adam in the first round; it falls linearly to 0."""
    embedding_size: int = 64
    """Size of the vectors that the ranker makes of formulae."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(0, MAX_REPEATS, num_rollouts=self.num_rollouts)
        check_at_least(1, num_references=self.num_references, comparison_size=self.comparison_size)
        check_range(1, MAX_WIDTH, embedding_size=self.embedding_size)
        check_positive(gamma=self.gamma, ranker_learning_rate=self.ranker_learning_rate)
        if self.num_references + self.comparison_size > self.batch_size:
            raise FormulaError(
                "num_references and comparison_size must be batch_size at most together, got "
                f"{self.num_references} and {self.comparison_size} of {self.batch_size}"
            )

    def search_space(self) -> SearchSpace:
        least = self.num_references + self.comparison_size
        batches = [size for size in (64, 128, 256) if size >= least]
        return {
            **super().search_space(),
            "learning_rate": LogRange(1e-5, 1e-2),
            "batch_size": Choice(*batches or [self.batch_size]),
            "ranker_learning_rate": LogRange(1e-4, 1e-2),
            "gamma": Choice(1.0, 4.0, 8.0),
        }


PAPER = {
    "mle_rounds": 100, "discriminator_rounds": 50, "rounds": 1000, "batch_size": 64, "d_steps": 5, "gamma": 1.0,
    "learning_rate": 1e-3, "ranker_learning_rate": 1e-3, "ema_decay": 0.0,
}  # fmt: skip
"""A start by maximum likelihood, γ = 1, 16 rollouts, batches of 64; the other numbers are ours."""


class Ranker:
    """The ranker with its optimiser, and the real formulae that the generator's are ranked among.

    Args:
        task: whose formulae it embeds.
        config: its settings.
        device: where it is.
    """

    def __init__(self, task: SequenceTask, config: RankGANConfig, device: torch.device) -> None:
        self.config = config
        hidden_dim = 400
        network = nn.Sequential(
            SequenceLinear(task.vocabulary.size, task.max_length, hidden_dim),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_dim, config.embedding_size),
        ).to(device)
        self.weights = Averaged[nn.Module](network, 0.0)
        self.optimizer = adam(network.parameters(), config.ranker_learning_rate)
        nothing = torch.zeros((0, task.max_length), dtype=torch.int64, device=device)
        self.references, self.comparison = nothing, nothing

    def compare_with(self, real: Tensor) -> None:
        """Take references and comparison set for the generator from a joint batch of real formulae `(n, T)`."""
        self.references, self.comparison = self._split(real)

    def _split(self, formulae: Tensor) -> tuple[Tensor, Tensor]:
        sizes = [self.config.num_references, self.config.comparison_size]
        references, comparison, _ = formulae.split([*sizes, len(formulae) - sum(sizes)])
        return references, comparison

    @torch.no_grad()
    def score(self, tokens: Tensor) -> Tensor:
        """Ranks `(n,)` of finished formulae `(n, T)` among the real ones, in (0, 1)."""
        embedded = self.embed(self.weights.network, tokens, self.references, self.comparison)
        return log_ranks(*embedded, self.config.gamma)[0].exp()

    def train(self, real: Tensor, fake: Tensor, progress: float) -> Metrics:
        """One update on real and fake formulae `(B, T)`: real ones among fakes, fakes among real ones."""
        set_lr(self.optimizer, self.config.ranker_learning_rate * linear(progress))
        references, real_others = self._split(distributed.all_gather(real))
        _, fake_others = self._split(distributed.all_gather(fake))
        formulae = (real, fake, references, real_others, fake_others)
        real, fake, references, real_others, fake_others = self.embed(self.weights.ddp, *formulae)
        of_real, _ = log_ranks(real, references, fake_others, self.config.gamma)
        _, not_fake = log_ranks(fake, references, real_others, self.config.gamma)
        loss = -of_real.mean() - not_fake.mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"discriminator/loss": loss.detach(), "discriminator/fake": 1 - not_fake.detach().exp().mean()}

    @staticmethod
    def embed(network: nn.Module, *formulae: Tensor) -> list[Tensor]:
        """Unit vectors `(n, k)` of each of several batches `(n, T)`, in one pass."""
        vectors = nn.functional.normalize(network(torch.cat(formulae)), dim=1)
        return list(vectors.split([len(each) for each in formulae]))

    def begin_as(self, generator: nn.Module) -> None:
        """Do nothing: a ranker is no language model."""

    def state_dict(self) -> dict[str, Any]:
        """A copy of the weights and of the optimiser's state."""
        return {name: deepcopy(getattr(self, name).state_dict()) for name in ("weights", "optimizer")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned."""
        for name in ("weights", "optimizer"):
            getattr(self, name).load_state_dict(deepcopy(state[name]))


def log_ranks(formulae: Tensor, references: Tensor, comparison: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """log R and log(1 - R) `(n,)`, from unit vectors of formulae `(n, k)`, references `(u, k)`, others `(c, k)`.

    P is the sigmoid of γ·cos(y_s, y_u) - log Σ_{s' ∈ C} exp(γ·cos(y_s', y_u)), so both logarithms are finite.
    """
    margin = gamma * formulae @ references.T - torch.logsumexp(gamma * comparison @ references.T, dim=0)
    log_number = math.log(len(references))
    rank, rest = (torch.logsumexp(nn.functional.logsigmoid(each), dim=1) for each in (margin, -margin))
    return rank - log_number, rest - log_number


class RankGAN(TurnsAlgorithm):
    """REINFORCE on E[R(s | C)], the mean rank among real formulae, while the ranker learns."""

    Config = RankGANConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    adversary: Ranker

    def make_judge(self) -> Ranker:
        return Ranker(self.task, self.config, self.device)

    @property
    def collapse_advice(self) -> str:
        return "raise --algo.comparison-size or lower --algo.learning-rate"

    def generator_loss(self, real: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        self.adversary.compare_with(distributed.all_gather(real))
        tokens, q = self.draw_with_q()
        written = tokens != self.task.vocabulary.pad
        advantage = q - position_means(q, written)
        return policy_gradient_loss(self.token_log_probs(tokens), advantage), q[:, -1]

    def draw_with_q(self) -> tuple[Tensor, Tensor]:
        """This process' rows of a batch of draws `(n, T)`, and Q `(n, T)` of each symbol."""
        rollouts = self.config.num_rollouts
        return self.play(self.adversary.score, MonteCarlo(rollouts) if rollouts else NoRollouts())
