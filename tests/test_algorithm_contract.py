"""What every algorithm promises, checked on each registered one and each task there is."""

import re
from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from itertools import product
from operator import attrgetter
from typing import Any

import numpy as np
import pytest
import torch

from formula_env.adversary import AdversaryConfig
from formula_env.algorithm import Algorithm
from formula_env.errors import FormulaError
from formula_env.experiment.config import DataConfig
from formula_env.experiment.registry import ALGORITHMS as OURS
from formula_env.experiment.registry import algorithm_class, all_algorithms, check_fit
from formula_env.networks import GeneratorConfig
from formula_env.sampling import Sampler
from formula_env.tasks import BaseTask, ContinuousTask, SequenceTask, make_task
from formula_env.tasks.integer_sum import IntegerSum
from tests.even_ones import EvenOnes
from tests.helpers import name_of, saved_and_loaded, small_config, small_tasks

ALGORITHMS = sorted(all_algorithms())
TASKS: list[BaseTask] = [*small_tasks(), IntegerSum(), IntegerSum(real=True)]


TRANSFORMER = {"generator": "transformer", "heads": 2, "dropout": 0.2, "optimizer": "muon"}


def build(name: str, task: BaseTask, settings: dict[str, Any] | None = None) -> Algorithm:
    cls = algorithm_class(name)
    return cls(task, cls.Config(**small_config(cls.Config, **settings or {})), 0, torch.device("cpu"))


@cache
def supported(name: str, task: BaseTask) -> bool:
    if not isinstance(task, algorithm_class(name).task_type):
        return False
    try:
        build(name, task)
    except FormulaError:  # `test_it_refuses_other_tasks_in_one_line` reads it
        return False
    return True


every = pytest.mark.parametrize("name", ALGORITHMS)


def networks(name: str) -> dict[str, dict[str, Any]]:
    """The settings of each architecture that the algorithm's generator can have."""
    return {"": {}} | ({"-transformer": with_transformer(name)} if takes_transformer(name) else {})


def with_transformer(name: str) -> dict[str, Any]:
    """Settings of an algorithm with a transformer, and of the maximum likelihood in which alone dropout acts."""
    likelihood = {"mle_rounds": 2} if hasattr(algorithm_class(name).Config, "mle_rounds") else {}
    return TRANSFORMER | likelihood


def takes_transformer(name: str) -> bool:
    """Whether the algorithm has the setting `generator`, and does not refuse it for a generator of its own."""
    config = algorithm_class(name).Config
    if not issubclass(config, GeneratorConfig):
        return False
    try:
        config(**small_config(config, **with_transformer(name)))
    except FormulaError as error:
        if not str(error).startswith("generator has no effect"):
            raise
        return False
    return True


def test_these_generators_can_be_transformers() -> None:
    """The others are networks of one piece, of a manager and a worker, or of another package."""
    several = {"bgan", "cot", "eb-gfn", "gflownet", "maligan", "mle", "nce", "rankgan", "relgan", "seqgan"}
    assert {name for name in OURS if takes_transformer(name)} == several | {"verified-mle"}


def pairs(variants: Callable[[str], dict[str, dict[str, Any]]], tasks: list[BaseTask]) -> pytest.MarkDecorator:
    """Every algorithm with its variants, named by a suffix, and the tasks of these that it supports."""
    params = [
        pytest.param(n, settings, t, id=f"{n}{suffix}-{name_of(t)}")
        for n in ALGORITHMS
        for suffix, settings in variants(n).items()
        for t in tasks
        if supported(n, t)
    ]
    return pytest.mark.parametrize(("name", "settings", "task"), params)


every_pair = pairs(networks, TASKS)

VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "leakgan": {"-horizon": {"horizon": 3}},
    "maligan": {"-mixed": {"mixed": 0.8, "completions": 4}},
    "rankgan": {"-no-rollouts": {"num_rollouts": 0}},
    "relgan": {"-pooled": {"pooling": "max"}},
}
"""Settings that change what a round does; MaliGAN is stopped while draws still begin as examples."""

every_variant = pairs(lambda name: VARIANTS.get(name, {}), [make_task("binary-sum", length=4), EvenOnes(5)])


def rounds(algorithm: Algorithm, task: BaseTask, first: int, last: int) -> list[dict[str, float]]:
    """Rounds first … last - 1; what round r is handed depends on r alone."""
    metrics = []
    for r in range(first, last):
        real = task.sample(algorithm.real_batch_size, np.random.default_rng(r))
        done = r - algorithm.pretrain_rounds
        if done < 0:
            metrics.append(algorithm.pretrain(real, r / algorithm.pretrain_rounds))
        else:
            metrics.append(algorithm.update(real, done / algorithm.rounds))
    return metrics


@every_pair
def test_it_trains_and_samples(name: str, settings: dict[str, Any], task: BaseTask) -> None:
    algorithm = build(name, task, settings)
    total = algorithm.pretrain_rounds + algorithm.rounds
    assert algorithm.rounds == 6
    for metrics in rounds(algorithm, task, 0, total):
        assert metrics
        assert all(isinstance(value, float) and np.isfinite(value) for value in metrics.values())
    sample = algorithm.sample(50, seed=1)
    assert np.array_equal(sample, algorithm.sample(50, seed=1))
    assert not np.array_equal(sample, algorithm.sample(50, seed=2)) or len(np.unique(sample, axis=0)) == 1
    if isinstance(task, SequenceTask):
        assert sample.shape == (50, task.max_length)
        task.is_correct(sample)  # raises for ids that can't be
        assert len(task.decode(sample)) == 50
    else:
        assert isinstance(task, ContinuousTask)
        assert sample.shape == (50, task.size)
        assert sample.dtype == np.float64
    if algorithm.log_prob is not None:
        assert (algorithm.log_prob(sample) <= 1e-9).all()
    if algorithm.density_ratio is not None:
        logits, log_probs = algorithm.density_ratio(sample)
        assert logits.shape == log_probs.shape == (50,)
        assert logits.dtype == log_probs.dtype == np.float64
        assert np.isfinite(logits).all()
        assert (log_probs <= 1e-9).all()
    if algorithm.policy is not None:
        assert isinstance(task, SequenceTask)
        assert algorithm.log_prob is not None
        log_probs = Sampler(algorithm.policy, task, "cpu").log_prob(sample)
        np.testing.assert_allclose(log_probs, algorithm.log_prob(sample), atol=1e-5)


def test_the_generators_with_a_policy_are_these() -> None:
    """Others draw noise first, are no sequences, or are another package's."""
    task = make_task("binary-sum", length=4)
    with_policy = {name for name in ALGORITHMS if supported(name, task) and build(name, task).policy is not None}
    assert set(OURS) - with_policy == {"vanilla-gan", "softmax-gan", "wgan-gp"}


@pytest.mark.slow
@every_pair
def test_it_goes_on_bit_for_bit(name: str, settings: dict[str, Any], task: BaseTask) -> None:
    """Stopped in the middle, saved to a file, taken up by a new object; evaluating in between changes nothing."""
    check_resuming(name, settings, task)


@every_variant
def test_a_variant_goes_on_bit_for_bit(name: str, settings: dict[str, Any], task: BaseTask) -> None:
    check_resuming(name, settings, task)


def check_resuming(name: str, settings: dict[str, Any], task: BaseTask) -> None:
    whole, begun, resumed = (build(name, task, settings) for _ in range(3))
    total, middle = whole.pretrain_rounds + whole.rounds, whole.pretrain_rounds + 3
    expected = rounds(whole, task, 0, total)
    torch.manual_seed(99)  # nobody else's random numbers matter
    first = rounds(begun, task, 0, middle)
    judge(begun)
    resumed.load_state_dict(saved_and_loaded(begun.state_dict()))
    assert np.array_equal(begun.sample(30, seed=3), resumed.sample(30, seed=3))
    assert [*first, *rounds(resumed, task, middle, total)] == expected
    assert np.array_equal(whole.sample(30, seed=3), resumed.sample(30, seed=3))


def judge(algorithm: Algorithm) -> None:
    """All that an evaluation asks of it."""
    sample = algorithm.sample(20, seed=5)
    for function in (algorithm.log_prob, algorithm.density_ratio):
        if function is not None:
            function(sample)


@pytest.mark.parametrize("name", ["seqgan", "gumbel-softmax-gan"])
def test_the_density_ratio_is_of_the_trained_generator_and_the_discriminator(name: str) -> None:
    """Not of the moving average, which sampling is from: whatever becomes of that changes nothing."""
    task = make_task("binary-sum", length=4)
    algorithm: Any = build(name, task)
    rounds(algorithm, task, 0, algorithm.pretrain_rounds + 6)
    sequences = np.array(list(product(range(2), repeat=4)))
    before = algorithm.log_prob(sequences)
    logits, log_probs = algorithm.density_ratio(sequences)
    assert np.exp(log_probs).sum() == pytest.approx(1)
    one_hot = torch.eye(2)[torch.from_numpy(sequences)]
    is_ratio = name == "seqgan"
    network = algorithm.adversary.network if is_ratio else algorithm.discriminator
    output = network(one_hot).detach().numpy()
    expected = output - log_probs if is_ratio else output
    assert logits == pytest.approx(expected, abs=1e-5)
    algorithm.weights.average.load_state_dict(algorithm.generator.state_dict())
    assert np.array_equal(algorithm.log_prob(sequences), log_probs)
    assert not np.array_equal(before, log_probs)
    assert np.array_equal(algorithm.density_ratio(sequences)[1], log_probs)


COLLAPSED = [
    *((name, {}) for name in ALGORITHMS),
    ("ppo", {"reward_model": "exact"}),
    ("ppo", {"reward_model": "constant"}),
    ("ppo", {"discriminator": AdversaryConfig(kind="plain", reward_transform="probability")}),
    ("ppo", {"discriminator": AdversaryConfig(reward_transform="probability")}),
    ("trpo", {"reward_model": "exact"}),
    ("a2c", {"reward_model": "exact"}),
    ("dqn", {"reward_model": "exact"}),
    ("seqgan", {"discriminator": AdversaryConfig(kind="plain", reward_transform="probability")}),
    ("seqgan", {"discriminator": AdversaryConfig(reward_transform="probability")}),
    ("maligan", {"discriminator": AdversaryConfig(kind="plain")}),
    ("bgan", {"discriminator": AdversaryConfig(kind="plain")}),
    ("leakgan", {"likelihood_every": 0}),
    ("leakgan", {"likelihood_every": 1}),
    ("relgan", {"beta_min": 100.0}),
    ("gumbel-softmax-gan", {"hard": False}),
    ("gumbel-softmax-gan", {"logit_bound": 1.0}),
    ("vanilla-gan", {"lr_end_factor": 0.5}),
    ("verified-mle", {"warmup_rounds": 0}),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), COLLAPSED, ids=lambda value: str(value))
def test_what_it_advises_has_an_effect_in_that_very_run(name: str, settings: dict[str, Any]) -> None:
    """Each option named, changed as advised, is accepted and makes another algorithm of it within its rounds."""
    task = next(task for task in TASKS if supported(name, task))
    cls = algorithm_class(name)
    options = small_config(cls.Config, **settings)

    def trained(changed: dict[str, Any]) -> list[dict[str, float]]:
        config = with_changes(cls.Config(**options), changed)
        algorithm = cls(task, config, 0, torch.device("cpu"))
        return rounds(algorithm, task, 0, algorithm.pretrain_rounds + algorithm.rounds)

    advice = cls(task, cls.Config(**options), 0, torch.device("cpu")).collapse_advice
    changes = advised_changes(advice, cls.Config(**options))
    others = re.findall(r"\btrain ([a-z-]+)", advice)
    assert changes or others
    assert set(others) - {"on"} <= set(ALGORITHMS)
    before = trained({})
    for changed in changes:
        assert trained(changed) != before, changed


def with_changes(config: Any, changes: dict[str, Any]) -> Any:
    """The config with other values of these settings; `a.b` is setting b of the table a."""
    for option, value in changes.items():
        table, _, name = option.rpartition(".")
        change = {table: replace(getattr(config, table), **{name: value})} if table else {name: value}
        config = replace(config, **change)
    return config


def advised_changes(advice: str, config: Any) -> list[dict[str, Any]]:
    """The settings that follow each option of an advice; options of the data aside."""
    changes: list[dict[str, Any]] = []
    words = re.split(r"[\s,;]+", advice)
    verb = ""
    for i, word in enumerate(words):
        if word in ("raise", "lower", "set", "bound", "or"):
            verb = verb if word == "or" else word
        if word == "--data.size":
            assert "size" in {field.name for field in fields(DataConfig)}
        if not word.startswith("--algo."):
            continue
        option = word.removeprefix("--algo.").replace("-", "_")
        now = attrgetter(option)(config)
        if verb == "set":
            together = changes.pop() if words[i - 1] == "with" else {}
            value = words[i + 1].strip("()")
            changes.append({**together, option: value == "True" if isinstance(now, bool) else value})
        elif verb == "bound":
            changes.append({option: 1.0})
        else:
            assert verb in ("raise", "lower"), advice
            lower = now // 2 if isinstance(now, int) else now / 2
            changes.append({option: lower if verb == "lower" else now * 2 or 0.1})
    return changes


@every
@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_it_refuses_other_tasks_in_one_line(name: str, task: BaseTask) -> None:
    if supported(name, task):
        fit(name, task)
        return
    refuse = build if isinstance(task, algorithm_class(name).task_type) else fit
    reasons = r"can't learn some-task; it is for: \w|one length only|needs a checker"
    with pytest.raises(FormulaError, match=reasons) as told:
        refuse(name, task)
    assert "\n" not in str(told.value)


def fit(name: str, task: BaseTask) -> None:
    check_fit(name, "some-task", task)


@pytest.mark.parametrize("name", ["bgan", "maligan", "rankgan", "relgan", "seqgan"])
@pytest.mark.parametrize(("left", "rates"), [(1.0, [0.01, 0.01, 0.01, 0.01]), (0.2, [0.01, 0.008, 0.006, 0.004])])
def test_the_rate_of_the_start_by_likelihood_falls_to_the_share_that_is_asked_for(
    name: str, left: float, rates: list[float]
) -> None:
    task = make_task("binary-sum", length=4)
    start = {"mle_rounds": 4, "mle_learning_rate": 0.01, "mle_lr_end_factor": left}
    algorithm: Any = build(name, task, start)
    found = []
    for done in range(4):
        algorithm.pretrain(task.sample(algorithm.real_batch_size, np.random.default_rng(0)), done / 4)
        found.append(algorithm.mle_optimizer.param_groups[0]["lr"])
    assert found == pytest.approx(rates)
