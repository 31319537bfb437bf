"""Wrong input gets one line, exit code 2, and leaves nothing behind."""

from pathlib import Path

import pytest

from formula_env.experiment.cli import main
from tests.experiment.commands import TINY_MLE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train seqgan --task.length 7", "length must be an even number from 2 to 64, got 7"),
        ("train seqgan --task signed-equation --task.length 8", "odd number"),
        ("train seqgan --task ternary-sum", "unknown task 'ternary-sum'; there are: binary-sum"),
        ("train leakgan", "unknown algorithm 'leakgan'; there are: a2c, ars, dqn, gumbel-softmax-gan"),
        ("train", "train needs an algorithm first: a2c, ars, dqn, gumbel-softmax-gan"),
        ("train seqgan --algo.roundz 3", "unknown option --algo.roundz"),
        ("train seqgan --algo.rounds three", "--algo.rounds"),
        ("train seqgan --algo.discriminator svm", "svm"),
        ("train seqgan --algo.q-estimator guess", "guess"),
        ("train seqgan --eval-every 0", "eval_every must be at least 1"),
        ("train seqgan --seed -1", "seed must be from 0"),
        ("train seqgan --device tpu9", "use cpu"),
        ("train seqgan --data.size 0", "data.size must be"),
        ("train seqgan --data.size 71 --data.distinct", "cannot split 70 correct formulae into 71"),
        ("train mle --algo.batch-size 0", "batch_size must be at least 1, got 0"),
        ("train mle --algo.rounds 0", "rounds must be at least 1, got 0"),
        ("train seqgan --algo.num-rollouts -1", "num_rollouts must be at least 0"),
        ("train seqgan --preset thesiz", "unknown preset 'thesiz'; there are: thesis, unseen"),
        ("train mle --preset thesis", "unknown preset 'thesis'; mle has none"),
        ("train seqgan --preset", "--preset"),
        ("train seqgan --preset thesis --task integer-sum", "can't learn integer-sum"),
        ("train seqgan --preset thesis --algo.roundz 3", "unknown option --algo.roundz"),
        ("train seqgan --preset thesis --algo.noise-temperature 2", "must see what it judges"),
        ("train seqgan --algo.noise-temperature 0", "noise_temperature must be above 0"),
        ("train seqgan --algo.reward-clip 0", "reward_clip must be above 0"),
        ("train seqgan --algo.reward money", "money"),
        ("train seqgan --algo.discriminator-weight-decay -1", "discriminator_weight_decay must be at least 0"),
        ("train seqgan --algo.mle-final-share 1.5", "mle_final_share must be from 0 to 1"),
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
        ("train dqn --algo.discriminator-kind ratio", "DQN chooses greedily, so its formulae have no density"),
        ("train ars --algo.discriminator-kind ratio", "ARS chooses greedily, so its formulae have no density"),
        ("train ars --algo.n-top 40", "n_top must be at most n_delta, 32; got 40"),
        ("train ppo --algo.batch-size 1", "batch_size must be at least 2, or 0 for all of a round, got 1"),
        ("train ppo --algo.num-envs 1", "num_envs must be at least 2, got 1"),
        ("train ppo --algo.gae-lambda 1.5", "gae_lambda must be from 0 to 1"),
        ("train ppo --algo.n-stepz 1", "unknown option --algo.n-stepz"),
        ("train ppo --task integer-sum", "ppo can't learn integer-sum; it is for: binary-sum"),
        ("train dqn --algo.exploration-fraction 0", "exploration_fraction must be above 0"),
        ("train trpo --algo.target-kl 0", "target_kl must be above 0"),
        ("train vanilla-gan", "vanilla-gan can't learn binary-sum; it is for: integer-sum"),
        ("train seqgan --task integer-sum", "can't learn integer-sum; it is for: binary-sum, signed-equation"),
        ("train vanilla-gan --task integer-sum --data.distinct", "vectors can't be listed"),
        ("train vanilla-gan --task integer-sum --data.size 0.5", "vectors can't be listed"),
        ("train vanilla-gan --task integer-sum --task.largest 0", "largest must be from 1 to 1000"),
        ("train gumbel-softmax-gan --algo.temperature 0", "temperature must be above 0"),
        ("train gumbel-softmax-gan --algo.logit-bound -1", "logit_bound must be at least 0"),
        ("train softmax-gan --algo.latent-dim 0", "latent_dim must be at least 1"),
        ("train softmax-gan --algo.r1 -1", "r1 must be at least 0"),
        ("train vanilla-gan --task integer-sum --algo.latent-dim 0", "latent_dim must be at least 1"),
        ("study", "study needs a folder"),
        ("study nowhere", "nowhere is not a study: it holds no study.toml"),
        ("figures nowhere", "nowhere is not a study"),
        ("report nowhere", "nowhere holds no finished run"),
        ("report", "report needs a folder"),
        ("resume nowhere", "nowhere is not a run folder"),
        ("evaluate nowhere", "nowhere is not a run folder"),
        ("sample nowhere -n 3", "nowhere is not a run folder"),
        ("sample nowhere -n 0", "num must be at least 1"),
        ("sample nowhere --format xml", "xml"),
        ("sample nowhere --seed -1", "seed must be from 0"),
        ("evaluate nowhere --seed 99999999999999999999999", "seed must be from 0"),
        ("resume", "required"),
        ("list frogs", "frogs"),
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


def one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_output_folders_that_can_not_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = ["train", "mle", *TINY_MLE, "--out"]
    assert "--out is empty" in one_line([*train, ""], capsys)
    file = tmp_path / "file"
    file.touch()
    assert "cannot make the folder" in one_line([*train, str(file / "run")], capsys)
    assert "cannot make the folder" in one_line([*train, "/proc/formula-env"], capsys)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("keep")
    assert "is not empty" in one_line([*train, str(tmp_path / "mine")], capsys)
    assert (tmp_path / "mine" / "precious.txt").read_text() == "keep"


def test_an_existing_run_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert main(["train", "mle", *TINY_MLE, "--out", str(folder)]) == 0
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    capsys.readouterr()
    told = one_line(["train", "mle", *TINY_MLE, "--out", str(folder)], capsys)
    assert f"formula-env resume {folder}" in told
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def test_folders_without_a_run_or_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("resume", "evaluate", "sample"):
        assert "is not a run folder" in one_line([command, str(tmp_path)], capsys)
    config = tmp_path / "config.yaml"
    config.write_text("just text")
    assert "is not a run's configuration" in one_line(["sample", str(tmp_path)], capsys)
    config.write_text("task: {name: binary-sum, length: [}")
    assert "is not a run's configuration" in one_line(["sample", str(tmp_path)], capsys)
    config.write_text("algorithm: mle\ntask: {name: binary-sum}\nalgo: {roundz: 3}\ndata: {}\n")
    assert "roundz" in one_line(["sample", str(tmp_path)], capsys)
    config.write_text("algorithm: mle\ntask: {name: binary-sum}\nalgo: {}\ndata: {}\n")
    assert "holds no checkpoint" in one_line(["sample", str(tmp_path)], capsys)


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "formula-env COMMAND" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["train", "seqgan", "--help"])
    assert stop.value.code == 0
    assert "--algo.num-rollouts" in capsys.readouterr().out
