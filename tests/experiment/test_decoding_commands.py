"""Decoding rules, prefixes and templates on the command line."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from formula_env.cli import main
from formula_env.experiment.loop import load_algorithm
from formula_env.networks.decoding import Decoding
from tests.experiment.commands import TINY_MLE, complaint
from tests.oracles import decoded_sequence_probs

TINY_GAN = ["--algo.rounds", "2", "--eval-every", "2", "--eval-samples", "100", "--data.size", "100"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mle"
    assert main(["train", "mle", *TINY_MLE, "--out", str(folder)]) == 0
    return folder


def sampled(capfd: pytest.CaptureFixture[str], folder: Path, *options: str) -> tuple[list[str], str]:
    capfd.readouterr()
    assert main(["sample", str(folder), "-n", "200", *options]) == 0
    out, err = capfd.readouterr()
    return out.split(), err


def test_metrics_are_exact_under_decoding_rules(trained: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Accuracy is the probability of all correct formulae, each renormalised by hand at every step."""
    config, algorithm, _ = load_algorithm(trained)
    policy: Any = algorithm.policy
    correct = torch.from_numpy(config.task.enumerate())
    found = []
    for options, decoding in (
        ([], Decoding()),
        (["--temperature", "0.5", "--top-p", "0.9"], Decoding(0.5, top_p=0.9)),
        (["--top-k", "1"], Decoding(top_k=1)),
        (["--epsilon=0.45"], Decoding(epsilon=0.45)),
    ):
        capfd.readouterr()
        assert main(["evaluate", str(trained), "--json", "--samples", "300", *options]) == 0
        metrics = json.loads(capfd.readouterr().out)
        assert metrics["jsd_exact"]
        by_hand = sum(decoded_sequence_probs(policy, decoding, correct))
        assert metrics["accuracy"] == pytest.approx(by_hand, abs=1e-5)
        found.append(metrics["uniqueness"])
    assert found[2] == 1 / 300, "the greedy formula alone"
    assert found[0] > found[1] > found[2]


def test_samples_obey_decoding_rules(trained: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plain, _ = sampled(capfd, trained)
    greedy, err = sampled(capfd, trained, "--top-k", "1")
    assert err == ""
    assert len(set(greedy)) == 1 < len(set(plain))
    cold, _ = sampled(capfd, trained, "--temperature=0.3")
    assert len(set(cold)) < len(set(plain))


def test_the_defaults_change_nothing(trained: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plain, _ = sampled(capfd, trained)
    written_out = ["--temperature", "1.0", "--top-k", "0", "--top-p", "1.0", "--epsilon", "0.0"]
    assert sampled(capfd, trained, *written_out) == (plain, "")


@pytest.mark.parametrize(
    ("options", "pattern"),
    [(["--prefix", "01"], "01[01]{4}"), (["--template", "?10?1"], "[01]+10[01]+1"), (["--template=0?"], "0[01]+")],
)
def test_samples_match_and_say_how_they_were_drawn(
    trained: Path, options: list[str], pattern: str, capfd: pytest.CaptureFixture[str]
) -> None:
    formulae, err = sampled(capfd, trained, *options)
    assert len(formulae) == 200
    assert all(re.fullmatch(pattern, formula) and len(formula) == 6 for formula in formulae)
    assert re.fullmatch(
        r"formula-env: drawn from p\(x \| template\) exactly; formulae that match the (prefix|template) \S+: \d+, "
        r"with the probability 0\.\d+ together\n",
        err,
    )


def test_templates_go_with_filters_rules_and_formats(trained: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["-n", "3", "--template", "1?", "--unique", "--correct", "--top-p", "0.99", "--format", "jsonl"]
    capfd.readouterr()
    assert main(["sample", str(trained), *options]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert len({row["formula"] for row in rows}) == 3
    assert all(row["correct"] and row["formula"].startswith("1") for row in rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prefix", "0101010"], "the prefix 0101010 has 7 symbols; at most 6 fit"),
        (["--prefix", "012"], "unknown symbol '2' in '012'; the symbols are 0 1"),
        (["--prefix", ""], "the prefix is empty"),
        (["--template", ""], "the template is empty"),
        (["--template", "010"], "no well-formed formula of at most 6 symbols matches the template 010"),
        (["--template", "???????"], "the template ??????? has 7 symbols; at most 6 fit"),
        (["--template", "0?", "--prefix", "0"], "--prefix and --template exclude each other"),
    ],
)
def test_what_can_not_match_is_one_line(
    trained: Path, options: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert message in complaint(capfd, "sample", str(trained), *options)


@pytest.mark.parametrize(
    "train", [["vanilla-gan", "--task", "integer-sum"], ["softmax-gan", "--task.length", "4"]]
)
def test_algorithms_without_a_policy_say_so(
    train: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "gan")
    assert main(["train", *train, *TINY_GAN, "--out", folder]) == 0
    for command in (["sample", "--top-k", "1"], ["sample", "--prefix", "1"], ["evaluate", "--epsilon", "0.1"]):
        line = complaint(capfd, command[0], folder, *command[1:])
        assert f"{train[0]} has no step-by-step policy here" in line
