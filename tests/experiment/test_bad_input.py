"""Wrong input gets one line, exit code 2, and leaves nothing behind."""

import tomllib
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

import formula_env
from formula_env.arguments import options_of
from formula_env.cli import main
from formula_env.errors import FormulaError
from formula_env.experiment.config import algo_config
from formula_env.experiment.registry import ALGORITHMS, algorithm_class
from formula_env.experiment.terminal import SafeConsole, one_line
from tests.experiment.commands import TINY_MLE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train seqgan --task.length 7", "length must be an even number from 2 to 64, got 7"),
        ("train seqgan --task signed-equation --task.length 8", "odd number"),
        ("train seqgan --task ternary-sum", "unknown task 'ternary-sum'; perhaps you meant binary-sum; there"),
        ("train autoencoder", "unknown algorithm 'autoencoder'; there are: a2c, ars, bgan, cot, dqn"),
        ("train", "train needs an algorithm first: a2c, ars, bgan, cot, dqn"),
        ("train seqgan --algo.roundz 3", "unknown option --algo.roundz"),
        ("train seqgan --algo.rounds three", "--algo.rounds"),
        ("train seqgan --algo.discriminator.architecture svm", "svm"),
        ("train seqgan --algo.q-estimator guess", "guess"),
        ("train seqgan --eval-every 0", "eval_every must be at least 1"),
        ("train seqgan --seed -1", "seed must be from 0"),
        ("train seqgan --device tpu9", "use cpu"),
        ("train seqgan --data.size 0", "data.size must be"),
        ("train seqgan --data.size 71 --data.distinct", "cannot split 70 correct formulae into 71"),
        ("train mle --algo.batch-size 0", "batch_size must be at least 1, got 0"),
        ("train mle --algo.generator transformer --algo.dropout 1", "dropout must be at least 0 and below 1"),
        ("train mle --algo.generator transformer --algo.heads 3", "hidden_dim must be a multiple of heads"),
        ("train mle --algo.generator transformer --algo.embedding-dim 8", "no effect with generator transformer"),
        ("train mle --algo.heads 2", "heads has no effect with generator lstm"),
        ("train mle --algo.cutoff 1.5", "cutoff must be from 0 to 1, got 1.5"),
        ("train seqgan --algo.weight-decay 1", "weight_decay has no effect with mle_rounds 0"),
        ("train mle --algo.rounds 0", "rounds must be at least 1, got 0"),
        ("train seqgan --algo.num-rollouts -1", "num_rollouts must be at least 0"),
        ("train seqgan --preset thesiz", "unknown preset 'thesiz'; perhaps you meant thesis; there are"),
        ("train ppo --preset thesis", "unknown preset 'thesis'; ppo has none"),
        ("train seqgan --preset", "--preset"),
        ("train seqgan --preset thesis --task integer-sum", "can't learn integer-sum"),
        ("train seqgan --preset thesis --algo.roundz 3", "unknown option --algo.roundz"),
        ("train seqgan --preset thesis --algo.discriminator.proposal-temperature 2", "must see the formulae"),
        ("train seqgan --algo.discriminator.proposal-temperature 0", "proposal_temperature must be above 0"),
        ("train ppo --algo.discriminator.proposal-temperature 2", "proposal_temperature has no effect here"),
        ("train seqgan --algo.discriminator.reward-clip 0", "reward_clip must be above 0"),
        ("train seqgan --algo.discriminator.reward-transform money", "money"),
        ("train seqgan --algo.discriminator.weight-decay -1", "weight_decay must be at least 0"),
        ("train seqgan --algo.mle-lr-end-factor 1.5", "mle_lr_end_factor must be from 0 to 1"),
        ("train maligan --algo.mle-lr-end-factor 1.5", "mle_lr_end_factor must be from 0 to 1"),
        ("train seqgan --algo.mle-learning-rate -1", "mle_learning_rate must be above 0"),
        ("train seqgan --task.length 40 --algo.q-estimator exact --algo.rounds 1 --algo.mle-rounds 0 "
         "--algo.discriminator-rounds 0", "exact Q needs a tree of more than"),
        ("train seqgan --data.size nan", "data.size must be"),
        ("train seqgan --data.size 2.5", "data.size must be"),
        ("train seqgan --task.length 32 --data.size 0.5", "is more than 10,000,000 formulae"),
        ("train seqgan --seed 99999999999999999999999", "seed must be from 0"),
        ("train seqgan --threads 100000", "threads must be from 1 to 256"),
        ("train seqgan --algo.hidden-dim 3000000", "hidden_dim must be at most 4,096"),
        ("train seqgan --out .", "--out is empty or this very folder"),
        (f"train seqgan --out {'x' * 300}", "File name too long"),
        ("train sac", "sac acts by real numbers; formulae are made of symbols: use ppo"),
        ("train td3", "td3 acts by real numbers"),
        ("train ppo --algo.reward-mode q", 'reward_mode "q" hands out Q_t itself; PPO with gamma 1.0'),
        ("train dqn --algo.reward-mode q", 'reward_mode "q" hands out Q_t itself; DQN with gamma 1.0'),
        ("train dqn --algo.discriminator.kind ratio", "DQN chooses greedily, so its formulae have no density"),
        ("train ars --algo.discriminator.kind ratio", "ARS chooses greedily, so its formulae have no density"),
        ("train ars --algo.n-top 40", "n_top must be at most n_delta, 32; got 40"),
        ("train ppo --algo.batch-size 1", "batch_size must be at least 2, or 0 for all of a round, got 1"),
        ("train ppo --algo.num-envs 1", "num_envs must be at least 2, got 1"),
        ("train ppo --algo.gae-lambda 1.5", "gae_lambda must be from 0 to 1"),
        ("train ppo --algo.n-stepz 1", "unknown option --algo.n-stepz"),
        ("train ppo --task integer-sum", "ppo can't learn integer-sum; it is for: binary-sum"),
        ("train dqn --algo.exploration-fraction 0", "exploration_fraction must be above 0"),
        ("train trpo --algo.target-kl 0", "target_kl must be above 0"),
        ("train vanilla-gan", "vanilla-gan can't learn binary-sum; it is for: integer-sum"),
        ("train seqgan --task integer-sum", "can't learn integer-sum; it is for: binary-sum, "),
        ("train vanilla-gan --task integer-sum --data.distinct", "vectors can't be listed"),
        ("train vanilla-gan --task integer-sum --data.size 0.5", "vectors can't be listed"),
        ("train vanilla-gan --task integer-sum --task.largest 0", "largest must be from 1 to 1000"),
        ("train gumbel-softmax-gan --algo.temperature 0", "temperature must be above 0"),
        ("train gumbel-softmax-gan --algo.logit-bound -1", "logit_bound must be at least 0"),
        ("train softmax-gan --algo.latent-dim 0", "latent_dim must be at least 1"),
        ("train softmax-gan --algo.r1 -1", "r1 must be at least 0"),
        ("train vanilla-gan --task integer-sum --algo.latent-dim 0", "latent_dim must be at least 1"),
        ("sample nowhere -n 1" + 30 * "0", "num must be at most 1,000,000"),
        ("evaluate nowhere --samples 1" + 30 * "0", "samples must be at most 1,000,000"),
        ("tune mle --jobs 1" + 30 * "0", "jobs must be at most"),
        ("train seqgan --seed nan", "is not a whole number"),
        ("train seqgan --seed １２", "is not a whole number"),
        ("train seqgan --eval-samples 1" + 30 * "0", "eval_samples must be a whole number up to"),
        ("train seqgan --keep-samples 1" + 30 * "0", "keep_samples must be a whole number up to 4,294,967,295"),
        ("train seqgan --task.length 1" + 30 * "0", "length must be a whole number up to"),
        ("train seqgan --data.size 1e400", "data.size must be"),
        ("train seqgan --algo.discriminator.reward-clip 1e400", "reward_clip must be a number up to 1e+38"),
        ("train seqgan --algo.discriminator.reward-clip -0.0", "reward_clip must be above 0, got -0.0"),
        ("train seqgan --algo.discriminator.reward-clip 1e-320", "reward_clip must be above 0"),
        ("train seqgan --algo.ent-coef nan", "ent_coef must be a number up to 1e+38, got nan"),
        ("train seqgan --algo.baseline=maybe", "'maybe' is neither True nor False"),
        ("train ppo --learning-rate 1", "unknown option --learning-rate; perhaps you meant --algo.learning-rate"),
        ("train seqgan --algo.no-baseline", "perhaps you meant --algo.baseline False"),
        ("train seqgan --device \x1b[31m", r"device must be printable text, got '\x1b[31m'"),
        ("train seqgan --wandb-group \u202eabc", r"wandb_group must be printable text, got '\u202eabc'"),
        ("train seqgan --wandb-project \udcff", r"wandb_project must be printable text, got '\udcff'"),
        ("train \x1b]0;x\x07", r"unknown algorithm '\x1b]0;x\x07'"),
        ("resume \x1b[31m", r"\x1b[31m is not a run folder"),
        ("\x1b[31m", r"unknown command '\x1b[31m'"),
        ("study", "study needs a folder"),
        ("study nowhere", "nowhere is not a study: it holds no study.toml"),
        ("figures nowhere", "nowhere is not a study"),
        ("report nowhere", "nowhere holds no finished run"),
        ("report", "report needs a folder"),
        ("report nowhere --html x.html --markdown", "--html and --markdown are two outputs; give one of them"),
        ("resume nowhere", "nowhere is not a run folder"),
        ("evaluate nowhere", "nowhere is not a run folder"),
        ("sample nowhere -n 3", "nowhere is not a run folder"),
        ("sample nowhere -n 0", "num must be at least 1"),
        ("sample nowhere --top-p 0", "top_p must be above 0 and at most 1, got 0.0"),
        ("sample nowhere --epsilon 1", "epsilon must be at least 0 and below 1, got 1.0"),
        ("sample nowhere --top-k -1", "top_k must be at least 0, got -1"),
        ("sample nowhere --temperature 1e-9", "temperature must be at least 0.001, got 1e-09"),
        ("evaluate nowhere --top-p 1.5", "top_p must be above 0 and at most 1, got 1.5"),
        ("evaluate nowhere --temperature nan", "temperature must be a number up to 1e+38, got nan"),
        ("evaluate nowhere --decoding.top-k 1", "unknown option --decoding.top-k; perhaps you meant --top-k"),
        ("evaluate nowhere --prefix 1", "unknown option --prefix"),
        ("sample nowhere --format xml", "xml"),
        ("sample nowhere --seed -1", "seed must be from 0"),
        ("evaluate nowhere --seed 99999999999999999999999", "seed must be from 0"),
        ("resume", "required"),
        ("train mle --task formula-file", "formula-file needs a file; name one with --task.path FILE"),
        ("train mle --task formula-file --task.path nowhere.txt", "nowhere.txt does not exist"),
        ("score nowhere.txt", "score needs a task of symbols, --task NAME: binary-sum, boolean, "),
        ("score nowhere.txt --task integer-sum", "score needs a task of symbols, --task NAME: binary-sum"),
        ("score nowhere.txt --task eqation", "unknown task 'eqation'; perhaps you meant equation"),
        ("score nowhere.txt --task equation", "nowhere.txt does not exist"),
        ("score . --task equation", ". is no file"),
        ("score --task equation", "required"),
        ("score nowhere.txt --task equation --task.lenght 9", "perhaps you meant --task.length"),
        ("score nowhere.txt --task equation --task.base 99", "base must be at most 16, got 99"),
        ("list frogs", "frogs"),
        ("train seqgam", "unknown algorithm 'seqgam'; perhaps you meant seqgan; there are: a2c"),
        ("trian", "unknown command 'trian'; perhaps you meant train; there are: train, resume"),
        ("dance", "unknown command 'dance'; there are: train, resume"),
    ],
)  # fmt: skip
def test_one_line_and_exit_code_2(
    arguments: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert message in err
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left == []


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["version"]
    assert capsys.readouterr().out == f"formula-env {declared}\n"
    assert formula_env.__version__ == declared


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


BAD_FILES: list[tuple[bytes, str, str]] = [
    (b"", "", "lines.txt holds no formula; write one on each line"),
    (b"1+1=2\n\x00", "", "lines.txt, line 2: a NUL byte; the file must be UTF-8 text"),
    (b"1+1=2\n\n\xe9\n", "", "lines.txt, line 3: not UTF-8; save the file as UTF-8"),
    (b"1+1=2\n" + b"(" * 10**6, "", "lines.txt, line 2: 1,000,000 characters; a formula has at most 1,000"),
    (b"1+1=2\r\n1\x1b[31m", "", "lines.txt, line 2: '1\\x1b[31m' holds control characters"),
    (b"1+1=2\n", "formula", "lines.txt has no column 'formula'; its first line names 1+1=2"),
    (b"n,formula\n1,1+1=2\n2\n", "formula", "lines.txt, line 3: no column 'formula', only 1 cells"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "column", "message"), BAD_FILES)
@pytest.mark.parametrize("role", ["formulae", "training"])
def test_files_that_can_not_be_scored(
    content: bytes, column: str, message: str, role: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("good.txt").write_text("1+1=2\n")
    Path("lines.txt").write_bytes(content)
    if role == "formulae":
        options = ["lines.txt", "--column", column]
    else:
        options = ["good.txt", "--training", "lines.txt", "--training-column", column]
    assert message in complaint(["score", *options, "--task", "equation"], capsys)


def test_a_checker_that_raises_fails_the_score_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lines.txt").write_text("1\n2\n")
    (tmp_path / "mine.py").write_text("def check(formulae):\n    raise KeyError(formulae[0])\n")
    task = ["--task", "formula-file", "--task.path", str(tmp_path / "lines.txt")]
    checker = f"{tmp_path / 'mine.py'}:check"
    told = complaint(["score", str(tmp_path / "lines.txt"), *task, "--task.checker", checker], capsys)
    assert f"the checker '{checker}' raised KeyError: '1'" in told


def test_output_folders_that_can_not_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = ["train", "mle", *TINY_MLE, "--out"]
    assert "--out is empty" in complaint([*train, ""], capsys)
    file = tmp_path / "file"
    file.touch()
    assert "cannot make the folder" in complaint([*train, str(file / "run")], capsys)
    assert "cannot make the folder" in complaint([*train, "/proc/formula-env"], capsys)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("keep")
    assert "is not empty" in complaint([*train, str(tmp_path / "mine")], capsys)
    assert (tmp_path / "mine" / "precious.txt").read_text() == "keep"


NO_EFFECT = [
    ("seqgan", "q-estimator=exact num-rollouts=16", "num_rollouts has no effect with q_estimator exact", 0),
    ("seqgan", "mle-stop-nll=0.5", "mle_stop_nll has no effect with mle_rounds 0", 0.0),
    ("seqgan", "mle-learning-rate=1", "mle_learning_rate has no effect with mle_rounds 0", 0.003),
    ("seqgan", "mle-lr-end-factor=0", "mle_lr_end_factor has no effect with mle_rounds 0", 1.0),
    ("bgan", "mle-lr-end-factor=0", "mle_lr_end_factor has no effect with mle_rounds 0", 1.0),
    ("leakgan", "mle-lr-end-factor=0",
     "mle_lr_end_factor has no effect with leakgan, whose start is by turns", 1.0),
    ("seqgan", "discriminator.reward-transform=probability discriminator.reward-clip=2",
     "reward_clip has no effect with reward_transform probability", 5.0),
    ("dqn", "discriminator.reward-clip=2", "reward_clip has no effect with reward_transform probability", 5.0),
    ("ppo", "num-rollouts=4", "num_rollouts has no effect with reward_mode terminal", 16),
    ("a2c", "q-estimator=exact", "q_estimator has no effect with reward_mode terminal", "monte-carlo"),
    ("trpo", "reward-mode=difference q-estimator=exact num-rollouts=4",
     "num_rollouts has no effect with q_estimator exact", 16),
    ("ppo", "reward-model=exact discriminator.architecture=cnn",
     "discriminator.architecture has no effect with reward_model exact", "mlp"),
    ("ars", "reward-model=constant discriminator.learning-rate=1",
     "discriminator.learning_rate has no effect with reward_model constant", 0.002),
    ("ppo", "reward-model=exact d-steps=3", "d_steps has no effect with reward_model exact", 2),
    ("ars", "reward-model=exact discriminator-batch-size=8",
     "discriminator_batch_size has no effect with reward_model exact", 64),
]  # fmt: skip


@pytest.mark.parametrize(("algorithm", "options", "message", "default"), NO_EFFECT)
def test_a_setting_that_another_one_makes_dead_is_refused_unless_at_its_default(
    algorithm: str, options: str, message: str, default: object, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"--algo.{option}" for option in options.split()]
    command = ["train", algorithm, "--task.length=4", "--data.size=10", "--device=cuda:99"]
    told = complaint([*command, *given], capsys)
    assert f"{message}; leave it at its default, {default}" in told
    name = given[-1].partition("=")[0]
    assert "cuda:99" in complaint([*command, *given[:-1], f"{name}={default}"], capsys)


@pytest.mark.slow
def test_an_existing_run_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert main(["train", "mle", *TINY_MLE, "--out", str(folder)]) == 0
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    capsys.readouterr()
    told = complaint(["train", "mle", *TINY_MLE, "--out", str(folder)], capsys)
    assert f"formula-env resume {folder}" in told
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def test_folders_without_a_run_or_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("resume", "evaluate", "sample"):
        assert "is not a run folder" in complaint([command, str(tmp_path)], capsys)
    config = tmp_path / "config.yaml"
    config.write_text("just text")
    assert "is not a run's configuration" in complaint(["sample", str(tmp_path)], capsys)
    config.write_text("task: {name: binary-sum, length: [}")
    assert "is not a run's configuration" in complaint(["sample", str(tmp_path)], capsys)
    config.write_text("algorithm: mle\ntask: {name: binary-sum}\nalgo: {roundz: 3}\ndata: {}\n")
    assert "roundz" in complaint(["sample", str(tmp_path)], capsys)
    config.write_text("algorithm: mle\ntask: {name: binary-sum}\nalgo: {}\ndata: {}\n")
    assert "holds no checkpoint" in complaint(["sample", str(tmp_path)], capsys)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_no_number_is_too_large_to_be_answered_at_once(algorithm: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each numeric option of each algorithm, with numbers that nothing could hold: nothing is built or trained."""
    task = "integer-sum" if algorithm == "vanilla-gan" else "binary-sum"
    config = algorithm_class(algorithm).Config
    for name, hint in options_of(config).items():
        for value in [10**30, -(10**30)] if hint is int else [float("inf"), float("nan"), 1e300]:
            if hint in (int, float):
                table, _, setting = name.replace("-", "_").rpartition(".")
                with pytest.raises(FormulaError, match=setting):
                    algo_config(algorithm, {table: {setting: value}} if table else {setting: value})
    assert main(["train", algorithm, "--task", task, "--algo.rounds", "1" + "0" * 30]) == 2
    assert "rounds must be" in capsys.readouterr().err


def test_names_in_files_do_not_reach_the_terminal_raw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a\x1b[31mb\udcff"
    folder.mkdir()
    text = (
        'title = "\\u001b[2J[red]title"\nthesis = "t"\nabout = "a"\n'
        '[variants.c]\nanalysis = "switch-probability"\n'
    )
    claim = (
        '[[claims]]\nvariant = "c"\nthesis = "\\u202e [0, 1] \\u009b1m"\nverdict = "refuted"\nreason = "\\u0007"\n'
        'metrics = ["exact"]\nrow = { vocab_size = 2, bound = 1.0 }\nrange = [0.9, 1.0]\n'
    )
    (folder / "study.toml").write_text(f"seeds = [0]\n{text}{claim}")
    assert main(["study", str(folder)]) == 0
    assert main(["study", str(folder)]) == 0
    assert main(["report", str(folder)]) == 0
    assert main(["report", str(folder), "--markdown"]) == 0
    told = "".join(capsys.readouterr())
    assert all(line.isprintable() for line in told.split("\n"))
    for shown in (r"a\x1b[31mb\udcff", r"\x1b[2J[red]title", r"\u202e [0, 1] \x9b1m"):
        assert shown in told


def test_text_is_shown_as_it_is_at_any_width(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("[name]", title="[red]title")
    table.add_row("[0, 1] :smile: \x1b[31m")
    SafeConsole().print(table)
    SafeConsole().print(Text("\x1b[2J [bold]"))
    told = capsys.readouterr().out
    for shown in ("[name]", "[red]title", r"[0, 1] :smile: \x1b[31m", r"\x1b[2J [bold]"):
        assert shown in told
    assert one_line("x" * 10_000).count("x") == 2_000
    assert one_line("a\nb\x00") == r"a b\x00"


def test_a_learning_rate_that_breaks_the_weights_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next formulae would be drawn from logits that are not numbers, which torch refuses in its own words."""
    options = "--algo.learning-rate=1e30 --algo.rounds=5 --algo.num-envs=8 --algo.discriminator-batch-size=8"
    data = ["--task.length=4", "--data.size=20", "--eval-samples=20", "--out", str(tmp_path / "run")]
    assert main(["train", "ppo", *options.split(), *data]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "a smaller learning rate may help" in told


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ("train ppo --xyzzy", "train ppo"),
        ("train ppo --algo.rounds", "train ppo"),
        ("train ppo --algo.observation x", "train ppo"),
        ("list tasks --xyzzy", "list"),
    ],
)
def test_an_error_names_the_help_of_that_very_command(
    arguments: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = complaint(arguments.split(), capsys)
    assert f"see formula-env {command} --help" in told


@pytest.mark.parametrize("algorithm", ["ppo", ""])
def test_help_names_the_algorithm_whose_options_it_lists(
    algorithm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", *algorithm.split()]
    assert main([*command, "--help"]) == 0
    assert f"usage: formula-env {' '.join(command)} [-h]" in capsys.readouterr().out


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "formula-env COMMAND" in capsys.readouterr().out
    assert main(["train", "seqgan", "--help"]) == 0
    assert "--algo.num-rollouts" in capsys.readouterr().out
