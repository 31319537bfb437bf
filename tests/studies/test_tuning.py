"""`formula-env tune` and the preset files that it writes."""

import csv
import json
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from formula_env.cli import main
from formula_env.experiment.config import RunConfig, algo_config, load_config, load_preset, merge, preset_text
from formula_env.experiment.loop import load_algorithm
from formula_env.experiment.registry import ALGORITHMS, algorithm_class, preset
from formula_env.experiment.run_folder import RunFolder
from formula_env.networks.decoding import Decoded, Decoding
from formula_env.sampling import Sampler
from formula_env.search_space import Choice, LogRange, as_tables, decoding_space, search_space, values_in
from formula_env.studies.tuning import Tuning, Watch, best_decoding, runs_of_trial
from formula_env.tasks import make_task
from tests.experiment.commands import complaint, runs_in_this_process, start

TINY = "tune mle --task binary-sum --task.length 4 --algo.rounds 10 --algo.hidden-dim 8 --data.size 100"
TINY = shlex.split(f"{TINY} --eval-samples 50 --seeds 101 --trials 6 --jobs 1")


# --- search spaces --------------------------------------------------------------------------------------------


def starts() -> list[tuple[str, str | None]]:
    return [(name, each) for name in ALGORITHMS for each in (None, *algorithm_class(name).presets)]


@pytest.mark.parametrize(("algorithm", "name"), starts())
def test_the_settings_that_a_search_begins_with_are_in_its_space(algorithm: str, name: str | None) -> None:
    config = algo_config(algorithm, preset(algorithm, name))
    space = search_space(algorithm, config)
    for setting, value in values_in(config, space).items():
        assert value in space[setting], setting


@pytest.mark.parametrize(("algorithm", "name"), starts())
def test_all_values_of_a_space_are_valid(algorithm: str, name: str | None) -> None:
    values = preset(algorithm, name)
    for setting, those in search_space(algorithm, algo_config(algorithm, values)).items():
        for value in those.values if isinstance(those, Choice) else (those.low, those.high):
            config = algo_config(algorithm, merge(values, as_tables({setting: value})))
            assert values_in(config, {setting: those}) == {setting: value}


def test_what_is_in_a_range_and_in_a_choice() -> None:
    assert 1e-3 in LogRange(1e-4, 1e-2)
    assert 1e-5 not in LogRange(1e-4, 1e-2)
    assert 2 in Choice(1, 2)
    assert 3 not in Choice(1, 2)
    assert as_tables({"a": 1, "b.c": 2, "b.d": 3}) == {"a": 1, "b": {"c": 2, "d": 3}}


def test_a_config_without_a_space_is_refused() -> None:
    with pytest.raises(ValueError, match="mine has no search space"):
        search_space("mine", object())


# --- stopping early -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("last", "is_promising"), [(0.5, True), (2.0, False), (None, False)])
def test_a_trial_goes_on_while_it_is_better_than_the_median(
    tmp_path: Path, last: float | None, is_promising: bool
) -> None:
    """Five trials have 1 in round 8. A worse one, or one without the metric, is stopped; round 0 is too early."""
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(5, n_warmup_steps=4))
    for _ in range(5):
        trial = study.ask()
        for round_ in (0, 8):
            trial.report(1.0, round_)
        study.tell(trial, 1.0)
    rows = [{"round": 0, "eval/jsd": 9.0}, {"round": 8} | ({} if last is None else {"eval/jsd": last})]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    watched = Watch(study.ask(), "jsd", RunFolder(tmp_path))
    assert watched.is_promising() is is_promising
    assert watched.is_promising() is is_promising  # the answer stays


# --- the command ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned") / "search"
    with runs_in_this_process():
        assert main([*TINY, "--out", str(folder)]) == 0
    return folder


def trials(folder: Path) -> list[dict[str, str]]:
    with open(folder / "trials.csv") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are listed by Linux")
def test_a_search_leaves_no_file_open(searched: Path) -> None:
    is_open = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert (searched / "trials.db").exists()
    assert not [path for path in is_open if path.startswith(str(searched))]


@pytest.mark.slow
def test_a_trial_s_value_is_that_of_its_runs_and_the_best_is_the_preset(searched: Path) -> None:
    rows = trials(searched)
    assert [row["trial"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    done = [row for row in rows if row["state"] == "finished"]
    assert len(done) >= 5
    assert float(rows[0]["learning_rate"]) == 3e-3  # the defaults come first
    for row in done:
        run = RunFolder(searched / f"trial-{int(row['trial']):04d}" / "seed-101")
        summary = run.summary()
        assert summary is not None
        assert float(row["jsd"]) <= summary["jsd"], "the best of all cuts, of which the first is none"
        assert float(row["jsd"]) == pytest.approx(jsd_under(run.path, float(row["cutoff"])), abs=1e-12)
        config = load_config(run.path)
        assert config.algo.cutoff == 0
        assert config.algo.learning_rate == float(row["learning_rate"])
        assert config.algo.rounds == 10
    best = min(done, key=lambda row: float(row["jsd"]))
    values = load_preset(searched / "best.yaml", "mle")
    assert algo_config("mle", values).cutoff == float(best["cutoff"])
    assert algo_config("mle", values).learning_rate == float(best["learning_rate"])
    assert values["rounds"] == 10


@pytest.mark.parametrize(
    ("metric", "rows", "best"),
    [
        ("jsd", {0.0: (0.3, 0.5), 0.1: (0.2, 0.4), 0.2: (0.1, None)}, (0.3, 0.1)),
        ("jsd", {0.0: (0.3, 0.3), 0.1: (0.3, 0.3), 0.2: (0.4, 0.4)}, (0.3, 0.0)),
        ("accuracy", {0.0: (0.3, 0.5), 0.1: (0.2, 0.4), 0.2: (0.6, 0.4)}, (0.5, 0.2)),
    ],
)
def test_the_cut_is_the_best_of_all_seeds_together(
    metric: str, rows: dict[float, tuple[float | None, float | None]], best: tuple[float, float], tmp_path: Path
) -> None:
    """A run without the metric, of which a cut has lost a formula, counts as the worst there is."""
    algo = algo_config("mle", {})
    config = RunConfig("mle", make_task("binary-sum", length=4), algo, "binary-sum")
    tuning = Tuning(tmp_path, config, metric, (101, 102), 0, 10)
    bad = 0.0 if metric == "accuracy" else 9.0
    values = {cut: rows.get(cut, (bad, bad)) for cut in CUTS}

    def evaluate(folder: Path, decodings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        seed = ("seed-101", "seed-102").index(folder.name)
        found = [values[decoding["cutoff"]][seed] for decoding in decodings]
        return [{} if value is None else {metric: value} for value in found]

    study = optuna.create_study(direction="maximize" if metric == "accuracy" else "minimize")
    value, decoding = best_decoding(tuning, study, runs_of_trial(tuning, 0, {}), evaluate)
    assert (value, decoding) == (pytest.approx(best[0]), {"cutoff": best[1]})


CUTS = decoding_space(algo_config("mle", {}))["cutoff"].values


def jsd_under(folder: Path, cutoff: float) -> float:
    """The exact JSD of a run's generator whose symbols below a cutoff (in units of 1/V) are never drawn."""
    config, algorithm, evaluator = load_algorithm(folder)
    assert algorithm.policy is not None
    policy = Decoded(algorithm.policy, Decoding(epsilon=cutoff / config.task.vocabulary.size))
    sampler = Sampler(policy, config.task, "cpu")
    return evaluator(sampler.sample(10, 0), sampler.log_prob)["jsd"]


@pytest.mark.slow
def test_more_trials_go_on_where_the_search_was(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, preset_file = trials(searched), (searched / "best.yaml").read_text()
    for name in ("trials.csv", "best.yaml"):  # as after a kill just before they were written
        (searched / name).unlink()
    assert main([*TINY, "--trials", "2", "--out", str(searched)]) == 0  # they are there already
    assert trials(searched) == before
    assert (searched / "best.yaml").read_text() == preset_file
    assert "best of 6 trials" in capsys.readouterr().out


@pytest.mark.slow
def test_a_search_survives_a_kill_and_ends_with_the_same_trials(searched: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    process = start(*TINY, "--out", folder)
    while not (folder / "trial-0002").exists():
        time.sleep(0.05)
    process.kill()
    process.communicate()
    with runs_in_this_process():
        while main([*TINY, "--out", str(folder)]) != 0:  # the run that was left behind is still at work
            time.sleep(1)
    assert trials(folder) == trials(searched)
    assert (folder / "best.yaml").read_text() == (searched / "best.yaml").read_text()


@pytest.mark.slow
def test_another_search_does_not_go_on_in_the_folder(searched: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = ("--out", str(searched))
    assert "another algo.rounds (10, not 11)" in complaint(capfd, *TINY, "--algo.rounds", "11", *out)
    assert "another seeds ([101], not [102])" in complaint(capfd, *TINY, "--seeds", "102", *out)
    other = [argument if argument != "mle" else "nce" for argument in TINY]
    assert "holds a search for mle; give another --out" in complaint(capfd, *other, *out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("tune", "tune needs an algorithm first: a2c"),
        ("tune autoencoder", "unknown algorithm 'autoencoder'"),
        ("tune mle --trials 0", "trials must be at least 1, got 0"),
        ("tune mle --jobs 0", "jobs must be at least 1, got 0"),
        ("tune mle --seeds 1 1", "seeds must be at least one, and different, got [1, 1]"),
        ("tune mle --metric entropy", "unknown metric 'entropy'"),
        ("tune mle --eval-every -1", "eval_every must be at least 0, got -1"),
        ("tune mle --algo.roundz 3", "unknown option --algo.roundz"),
        ("tune mle --config no.yaml", "no.yaml"),
        ("tune mle --device tpu9", "use cpu"),
    ],
)
def test_wrong_input(
    arguments: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in complaint(capfd, *shlex.split(arguments))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_storage_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "trials.db").write_text("no database, but longer than the sixteen bytes of a header")
    assert "trials.db can't be read" in complaint(capfd, *TINY, "--out", str(tmp_path))


# --- preset files ---------------------------------------------------------------------------------------------


def test_a_preset_file_holds_what_differs_from_the_defaults() -> None:
    config = algo_config("seqgan", {"rounds": 7, "discriminator": {"learning_rate": 0.25}})
    text = preset_text("seqgan", config, "two\nlines")
    assert text.startswith("# two\n# lines\n")
    assert yaml.safe_load(text) == {
        "algorithm": "seqgan",
        "algo": {"rounds": 7, "discriminator": {"learning_rate": 0.25}},
    }


@pytest.mark.parametrize("algorithm", ["mle", "seqgan", "ppo", "dqn", "gumbel-softmax-gan"])
def test_a_preset_file_gives_the_settings_back(algorithm: str, tmp_path: Path) -> None:
    for name in (None, *algorithm_class(algorithm).presets):
        config = algo_config(algorithm, preset(algorithm, name))
        (tmp_path / "preset.yaml").write_text(preset_text(algorithm, config, "made by a test"))
        assert algo_config(algorithm, load_preset(tmp_path / "preset.yaml", algorithm)) == config


@pytest.mark.usefixtures("no_figures")
def test_train_starts_from_a_preset_file_and_options_prevail(tmp_path: Path) -> None:
    file, folder = tmp_path / "preset.yaml", tmp_path / "run"
    file.write_text("algorithm: mle\nalgo: {rounds: 3, hidden_dim: 8, learning_rate: 0.01}\n")
    options = f"--config {file} --algo.learning-rate 0.02 --task.length 4 --data.size 50 --eval-samples 20"
    assert main(["train", "mle", *shlex.split(options), "--out", str(folder)]) == 0
    algo: Any = load_config(folder).algo
    assert (algo.rounds, algo.hidden_dim, algo.learning_rate) == (3, 8, 0.02)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("algorithm: nce\nalgo: {rounds: 3}\n", "is a preset of 'nce', not of mle"),
        ("algorithm: mle\nalgo: {roundz: 3}\n", "unknown algo setting 'roundz'; perhaps you meant rounds"),
        ("algorithm: mle\nalgo: {rounds: 0}\n", "rounds must be at least 1, got 0"),
        ("algorithm: mle\nalgo: {rounds: many}\n", "rounds must be int, got 'many'"),
        ("algorithm: mle\nalgo: {}\nseed: 3\n", "unknown key 'seed'"),
        ("algorithm: mle\n", "is not a preset file"),
        ("just text", "is not a preset file"),
        ("{", "is not YAML"),
        ("algorithm: mle\nalgo: !!python/object/apply:os.getcwd []\n", "is not YAML"),
        ("", "is not a preset file"),
    ],
)
def test_a_wrong_preset_file(text: str, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file, folder = tmp_path / "preset.yaml", tmp_path / "run"
    file.write_text(text)
    line = complaint(capfd, "train", "mle", "--config", str(file), "--out", str(folder))
    assert message in line
    assert str(file) in line
    assert not folder.exists()


def test_a_preset_and_a_preset_file_are_one_too_many(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = complaint(capfd, "train", "mle", "--preset", "transformer", "--config", str(tmp_path / "preset.yaml"))
    assert "--preset and --config are two starts; give one of them" in line
