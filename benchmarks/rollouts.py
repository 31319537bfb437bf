"""Times of a SeqGAN round and its parts, beside plainer ways to compute them and the unavoidable work.

python -m benchmarks.rollouts [--lengths 8 16 32 64] [--device cuda]
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.timing import gflops, milliseconds
from formula_env.adversarial import gradient_step, mle_step
from formula_env.agents.seqgan import SeqGAN, SeqGANConfig, policy_gradient_loss
from formula_env.evaluators import SequenceEvaluator
from formula_env.experiment.config import algo_config, check_device
from formula_env.rewards import DiscriminatorReward
from formula_env.rollouts import monte_carlo_q
from formula_env.tasks import make_task
from tests.oracles import batched_q, plain_loop_q

THESIS: SeqGANConfig = algo_config("seqgan", SeqGAN.presets["thesis"])
TRAINING_STEPS = 600
PLAIN_LOOP_SECONDS = 20
"""The plain loop is left out where it would take longer."""


@dataclass(frozen=True)
class Options:
    lengths: tuple[int, ...] = (8, 16, 32, 64)
    """Lengths of the binary sums."""
    device: str = "cpu"
    """Device: cpu, or cuda, whose results are compared with the CPU's first."""
    hidden_dim: int = 64
    """Size of the LSTM's hidden state."""


def main(options: Options) -> None:
    check_device(options.device)
    torch.set_num_threads(1)
    device = torch.device(options.device)
    console = Console(width=120)
    if device.type == "cuda":
        console.print(f"differs from the CPU by at most {difference_from_cpu(device):.1e}: as it should")
    config = THESIS
    table = Table(
        title=f"ms, fastest run: batch {config.batch_size}, {config.num_rollouts} rollouts, "
        f"LSTM-{options.hidden_dim}, discriminator MLP 2x400; {device}, one thread, "
        f"matrix products at {gflops(device):.0f} GFLOP/s",
        caption="Q (a): plain loop over positions and rollouts. Q (b): one large batch, nothing shared. Q: shared "
        "prefixes. (c): one teacher-forced forward and backward pass and an Adam step. G step: writes a batch, "
        "Q, (c). Round: 1 G step, 5 discriminator steps.",
    )
    for length in options.lengths:
        for is_trained in (False, True):
            seqgan = make_seqgan(length, is_trained, options.hidden_dim, device)
            measured = {"n": str(length), "policy": "trained" if is_trained else "fresh", **measure(seqgan)}
            if not table.columns:
                for name in measured:
                    table.add_column(name, justify="right")
            table.add_row(*measured.values())
    console.print(table)


def make_seqgan(length: int, is_trained: bool, hidden_dim: int, device: torch.device) -> SeqGAN:
    """Fresh: nearly uniform, the worst case. Trained: by likelihood, so that prefixes are few."""
    seqgan = SeqGAN(make_task("binary-sum", length=length), replace(THESIS, hidden_dim=hidden_dim), 0, device)
    rng = np.random.default_rng(0)
    for _ in range(TRAINING_STEPS if is_trained else 0):
        real = torch.from_numpy(seqgan.task.sample(64, rng)).to(device)
        mle_step(seqgan.generator, seqgan.mle_optimizer, real, seqgan.task.vocabulary.pad, 5.0)
    return seqgan


def measure(seqgan: SeqGAN) -> dict[str, str]:
    """The parts of a round; every change that training makes to the networks comes last."""
    task, config, device = seqgan.task, seqgan.config, seqgan.device
    tokens = task.sample(config.batch_size, np.random.default_rng(1))
    formulae = torch.from_numpy(tokens).to(device)
    real = task.sample(seqgan.real_batch_size, np.random.default_rng(0))
    generator, score = seqgan.generator, seqgan.env.reward_model.score
    arguments = (generator, score, task.vocabulary, formulae, config.num_rollouts)
    evaluate = SequenceEvaluator(task)

    def unavoidable() -> None:
        loss = policy_gradient_loss(generator.token_log_probs(formulae), torch.ones_like(formulae).float())
        gradient_step(generator, seqgan.mle_optimizer, 0 * loss, config.max_grad_norm)

    shared = milliseconds(lambda: seqgan.env.q_values(tokens), device)
    batched = milliseconds(lambda: batched_q(*arguments), device)
    symbols_by_loop = config.num_rollouts * task.max_length * (task.max_length - 1)
    one_step = milliseconds(lambda: generator.step(formulae[:, 0], generator.start(len(formulae))), device, 0.1)
    too_long = symbols_by_loop * one_step > 1_000 * PLAIN_LOOP_SECONDS
    plain = None if too_long else milliseconds(lambda: plain_loop_q(*arguments), device)
    many = 8_192 if task.max_length > 16 else 100_000
    sampling = milliseconds(lambda: seqgan.sample(many, seed=0), device)
    judging = milliseconds(lambda: evaluate(seqgan.sample(many, seed=0), seqgan.log_prob), device)
    necessary = milliseconds(unavoidable, device)
    step = milliseconds(lambda: seqgan.train_generator(0.0), device)
    round_ = milliseconds(lambda: seqgan.update(real, 0.0), device)
    return {
        "Q (a)": "-" if plain is None else f"{plain:.0f}",
        "Q (b)": f"{batched:.0f}",
        "Q": f"{shared:.1f}",
        "(a)/Q": "-" if plain is None else f"{plain / shared:.0f}",
        "(b)/Q": f"{batched / shared:.1f}",
        "(c)": f"{necessary:.1f}",
        "G step": f"{step:.1f}",
        "G/(c)": f"{step / necessary:.1f}",
        "round": f"{round_:.1f}",
        "samples/s": f"{many / sampling * 1_000:,.0f}",
        "and judged/s": f"{many / judging * 1_000:,.0f}",
    }


def difference_from_cpu(device: torch.device) -> float:
    """Q of the same formulae with the same random numbers here and on the CPU; raises AssertionError if unlike."""
    results = []
    for there in (torch.device("cpu"), device):
        seqgan = make_seqgan(8, True, 64, torch.device("cpu"))
        generator, reward = seqgan.generator.to(there), DiscriminatorReward(seqgan.adversary.network.to(there))
        tokens = torch.from_numpy(seqgan.task.enumerate()).to(there)
        keys = torch.arange(len(tokens), device=there)
        first = torch.ones_like(keys)
        q = monte_carlo_q(generator, reward.score, seqgan.task.vocabulary, tokens, first, keys, 64)
        results.append(q.cpu())
    # A draw within rounding of the edge between two symbols may fall on either side: rare, and worth 1/64 of a Q.
    apart = (results[0] - results[1]).abs()[:, 1:]
    assert (apart > 1e-4).float().mean() < 0.01, "the device disagrees with the CPU"
    return float(apart.median())


if __name__ == "__main__":
    main(tyro.cli(Options))
