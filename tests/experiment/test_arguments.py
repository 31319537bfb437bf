"""Every option of every command: the forms it is read in, and what its misspelt names are answered with."""

import ast
import inspect
import re
import string
import textwrap
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import reduce
from itertools import cycle, pairwise, product
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from formula_env.adversary import AdversaryConfig
from formula_env.arguments import nearest, options_of, parse, value_of, with_flat_tables
from formula_env.cli import main
from formula_env.cli.evaluate import EvaluateOptions
from formula_env.cli.sample import SampleOptions
from formula_env.cli.studies import StudyOptions
from formula_env.cli.train import TrainOptions
from formula_env.errors import FormulaError
from formula_env.experiment.registry import ALGORITHMS, algorithm_class
from formula_env.networks.decoding import Decoding
from formula_env.suggestions import edit_distance
from formula_env.tasks import task_class


def train_options(algorithm: str) -> Any:
    task = "integer-sum" if algorithm == "vanilla-gan" else "binary-sum"
    return TrainOptions[task_class(task), algorithm_class(algorithm).Config]


def parsed(algorithm: str, arguments: list[str]) -> Any:
    task = ["--task=integer-sum"] if algorithm == "vanilla-gan" else []
    return parse(train_options(algorithm), "train", [algorithm, *task, *arguments])


def value_in(options: Any, option: str) -> Any:
    names = {"task": "task_name"}.get(option, option).replace("-", "_").split(".")
    return reduce(getattr, names, options)


def values_of(hint: Any, option: str, default: Any) -> list[Any]:
    """Other values of an option's type that are sure to be allowed."""
    if hint is bool:
        return [not default]
    if get_origin(hint) is Literal:
        return [value for value in get_args(hint) if value != default]
    if get_origin(hint) is tuple:
        return [[3], [10, 20]]
    if option in ("wandb-group", "wandb-project"):
        return ["a b=c"]
    if Path in get_args(hint):
        return ["runs/a=b"]
    if hint is float:
        return [1e-05] if option.endswith(("rate", "coef")) else []
    larger = ("seed", "algo.rounds", "algo.mle-rounds", "eval-every", "algo.hidden-dim")
    return [2 * default or 1] if option in larger else []


def as_written_to_wandb(option: str, value: Any, naming: str) -> dict[str, Any]:
    """An option as a parameter of a sweep: with dashes, with underscores, or in a table of its group."""
    group, _, last = option.replace("-", "_").rpartition(".")
    if naming == "dashes":
        return {option: value}
    if (naming, option) == ("table", "task"):
        return {"task": {"name": value}}
    if naming == "underscores" or not group:
        return {option.replace("-", "_"): value}
    return {group: {last: value}}


FORMS = ("args", "args_no_equals", "args_no_hyphens", "args_no_boolean_flags")
STYLES = list(product(("dashes", "underscores", "table"), FORMS))


def check_is_read(algorithm: str, values: dict[str, Any], naming: str, form: str) -> None:
    table: dict[str, Any] = {}
    for option, value in values.items():
        for name, entry in as_written_to_wandb(option, value, naming).items():
            table[name] = {**table.get(name, {}), **entry} if isinstance(entry, dict) else entry
    forms = create_sweep_command_args({"args": {name: {"value": entry} for name, entry in table.items()}})
    options = parsed(algorithm, forms[form])
    for option, value in values.items():
        is_path = option in ("out", "config") and isinstance(value, str)
        wanted = tuple(value) if isinstance(value, list) else Path(value) if is_path else value
        if form == "args_no_boolean_flags" and naming != "table" and value is False:
            continue  # it is left out: such sweeps can only switch on
        told = value_in(options, option)
        assert (told, type(told)) == (wanted, type(wanted)), (option, forms[form])


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_form_in_which_wandb_writes_a_value_is_read_as_that_value(algorithm: str) -> None:
    """Of all options at once; choices have their defaults, for not all go together."""
    known = options_of(train_options(algorithm))
    options = parsed(algorithm, [])
    values = {option: value_in(options, option) for option in known}
    for option, hint in known.items():
        others = values_of(hint, option, values[option])
        if others and get_origin(hint) is not Literal:
            values[option] = others[-1]
    for naming, form in STYLES[sorted(ALGORITHMS).index(algorithm) % 2 :: 2]:  # half of them for each
        check_is_read(algorithm, values, naming, form)


def test_every_choice_is_read_in_the_forms_of_wandb() -> None:
    styles, seen = cycle(STYLES), set()
    for algorithm in sorted(ALGORITHMS):
        for option, hint in options_of(train_options(algorithm)).items():
            if get_origin(hint) is not Literal or (option, hint) in seen:
                continue
            seen.add((option, hint))
            for value in get_args(hint):
                check_is_read(algorithm, {option: value, **FITTING.get(value, {})}, *next(styles))


FITTING = {
    "autoregressive": {"algo.discriminator.kind": "ratio"},
    "muon": {"algo.generator": "transformer", "algo.mle-rounds": 1},  # as gflownet needs them
    "prior": {"algo.mle-rounds": 1},
    "exact": {"algo.reward-mode": "difference"},  # as a2c, the first to have it, needs it
}
"""Other options that a choice needs."""


def test_whole_numbers_may_be_written_as_floats_where_only_they_are_meant() -> None:
    assert parsed("ppo", ["--algo.n-epochs=64.0"]).algo.n_epochs == 64
    assert parsed("ppo", ["--data.size=1.0"]).data.size == 1.0
    assert type(parsed("ppo", ["--data.size=1.0"]).data.size) is float
    with pytest.raises(FormulaError, match="not a whole number"):
        parsed("ppo", ["--algo.n-epochs=64.5"])


def test_a_truth_value_is_a_flag_too() -> None:
    options = parsed("ppo", ["--track", "--algo.normalize-advantage", "--data.distinct", "--json", "false"])
    assert (options.track, options.algo.normalize_advantage, options.data.distinct, options.json) == (
        True, True, True, False,
    )  # fmt: skip
    assert parse(SampleOptions, "sample", ["--correct", "folder", "-n", "3"]) == SampleOptions(
        Path("folder"), 3, correct=True
    )


KNOWN = options_of(TrainOptions) | {"task": str}


def test_the_task_and_the_preset_are_found_in_every_form() -> None:
    for arguments in (["--task", "x"], ["--task=x"], ["task=x"], ["--task.name=x"], ["--task={'name': 'x'}"]):
        assert value_of("task", with_flat_tables(["ppo", "--task=y", *arguments]), KNOWN) == "x"
    assert value_of("preset", ["seqgan"], KNOWN) is None


def test_a_table_may_hold_tables() -> None:
    for written in (["--algo", "{}"], ["--algo={}"], ["algo={}"]):
        table = "{'rounds': 3, 'discriminator': {'learning_rate': 0.5, 'ema_decay': 0.25}}"
        algo = parsed("ppo", [part.replace("{}", table) for part in written]).algo
        assert (algo.rounds, algo.discriminator.learning_rate, algo.discriminator.ema_decay) == (3, 0.5, 0.25)


def test_an_option_s_value_is_no_option() -> None:
    for others in (["--out", "task=y"], ["--out", "task=y", "--track"], ["--wandb-project", "task=y"]):
        assert value_of("task", ["ppo", *others], KNOWN) is None
        assert value_of("task", ["ppo", "task=x", *others], KNOWN) == "x"
    for flag in ("--track", "--algo.normalize-advantage"):
        assert value_of("task", ["ppo", flag, "task=x"], KNOWN) == "x"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--algo.rounds=１２"], "is not a whole number"),
        (["--algo.learning-rate=１２"], "is not a number"),
        (["--seed=" + "9" * 5000], "is not a whole number"),
        (["--track=yes"], "is neither True nor False"),
        (["--seed"], "--seed needs a value"),
        (["--seed", "--track"], "--seed needs a value"),
        (["--algo.no-normalize-advantage"], "perhaps you meant --algo.normalize-advantage False"),
        (["--algo={'roundz': 3}"], "perhaps you meant --algo.rounds"),
        (["--algo.discriminator", "cnn"], "perhaps you meant --algo.discriminator.architecture or"),
        (["--discriminator=cnn"], "perhaps you meant --algo.discriminator.architecture or"),
        (["--data", "9"], "perhaps you meant --data.size or --data.distinct"),
        (["--learning-rate", "1"], "perhaps you meant --algo.learning-rate"),
        (["--xyzzy"], "see formula-env train --help"),
        (["--"], "unknown option --; see"),
    ],
)
def test_what_is_no_option_or_no_value(arguments: list[str], message: str) -> None:
    with pytest.raises(FormulaError) as error:
        parsed("ppo", arguments)
    assert message in str(error.value)


# --- suggestions ----------------------------------------------------------------------------------------------


def every_command() -> dict[str, dict[str, Any]]:
    others = {"evaluate": EvaluateOptions, "sample": SampleOptions, "study": StudyOptions}
    return {name: options_of(train_options(name)) for name in sorted(ALGORITHMS)} | {
        name: options_of(cls) for name, cls in others.items()
    }


OPTIONS = every_command()


@pytest.mark.parametrize("command", OPTIONS)
def test_a_name_without_its_group_or_with_underscores_is_known(command: str) -> None:
    options = OPTIONS[command]
    for option in options:
        last = option.rpartition(".")[2]
        if last not in options and option.count(".") == 1:
            named_so = [name for name in options if name.endswith(f".{last}") and name.count(".") == 1]
            assert nearest(last, options) == named_so
            assert nearest(f"tsak.{last}", options) == named_so


@given(st.data())
def test_a_name_with_one_typing_error_is_answered_with_the_nearest(data: st.DataObject) -> None:
    """Which the one that was meant may have to share with others that are as near."""
    options = OPTIONS[data.draw(st.sampled_from(sorted(OPTIONS)))]
    option = data.draw(st.sampled_from(sorted(options)))
    written = data.draw(st.sampled_from([option, option.rpartition(".")[2]]))
    i = data.draw(st.integers(0, len(written) - 1))
    letter = data.draw(st.sampled_from(string.ascii_lowercase))
    wrong = data.draw(
        st.sampled_from(
            [
                written[:i] + written[i + 1 :],
                written[:i] + letter + written[i:],
                written[:i] + letter + written[i + 1 :],
                written[:i] + written[i + 1 : i + 2] + written[i] + written[i + 2 :],
            ]
        )
    )
    if wrong in options or wrong.rpartition(".")[2] in {name.rpartition(".")[2] for name in options}:
        return
    suggested = nearest(wrong, options)
    assert suggested
    if option not in suggested:  # others that are as near, or nearer as words
        assert len(suggested) == 3 or all(f"-{wrong.rpartition('.')[2]}-" in f"-{s}-" for s in suggested)


def test_a_rate_that_there_are_several_of() -> None:
    assert nearest("learning-rate", OPTIONS["seqgan"]) == [
        "algo.discriminator.learning-rate", "algo.mle-learning-rate", "algo.generator-learning-rate",
    ]  # fmt: skip
    for wrong in ("discriminator.learning-rate", "algo.discriminator-learning-rate"):
        assert nearest(wrong, OPTIONS["seqgan"]) == ["algo.discriminator.learning-rate"]


words = st.text("ab-", max_size=6)


@given(words, words, words)
def test_edit_distance_is_one(one: str, other: str, third: str) -> None:
    assert edit_distance(one, one) == 0
    assert edit_distance(one, other) == edit_distance(other, one)
    assert abs(len(one) - len(other)) <= edit_distance(one, other) <= max(len(one), len(other))
    assert edit_distance("ab" + one, "ba" + one) == 1
    assert edit_distance(one + third, other + third) <= edit_distance(one, other)


# --- help -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_help_states_each_option_under_its_name(
    algorithm: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    task = ["--task=integer-sum"] if algorithm == "vanilla-gan" else []
    assert main(["train", algorithm, *task, "--help"]) == 0
    told = capsys.readouterr().out
    for option, hint in options_of(train_options(algorithm)).items():
        assert f"--{option} {'True|False' if hint is bool else ''}" in told
    assert "--no-" not in told
    assert ".no-" not in told


def test_every_field_of_a_command_is_an_option() -> None:
    for command in (EvaluateOptions, SampleOptions, StudyOptions):
        assert is_dataclass(command)
        positional = {"folder", "folders"}
        names = {field.name.replace("_", "-") for field in fields(command)} - positional
        if "decoding" in names:  # a table without a prefix
            names = names - {"decoding"} | {field.name.replace("_", "-") for field in fields(Decoding)}
        assert set(options_of(command)) == names


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("what", ["tasks", "algorithms"])
def test_lists_are_readable_at_any_width(
    what: str, columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("formula_env.cli.listing.all_algorithms", lambda: ALGORITHMS)
    assert main(["list", what]) == 0
    out = capsys.readouterr().out
    assert all(len(line) <= columns or len(line.split()) == 1 for line in out.splitlines())
    assert "…" not in out.replace('"…"', ""), "nothing is cut; a grammar has ranges of symbols"
    if what == "tasks":
        assert "[2, 3, 5]" in out
        assert "--task.NAME: largest=10" in " ".join(out.split())
    else:
        for algorithm in ALGORITHMS:
            assert f"\n{algorithm}\n" in f"\n{out}"
            for option in options_of(train_options(algorithm)):
                assert not option.startswith("algo.") or f" {option.removeprefix('algo.')}=" in out
        assert "--preset=thesis" in out


def helps(cls: Any) -> Iterator[tuple[str, str]]:
    """Each setting of a dataclass, those it inherits and those of tables within it too, and its help."""
    for owner in cls.__mro__[-2::-1]:
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        for setting, text in pairwise(body.body):
            if isinstance(setting, ast.AnnAssign) and isinstance(text, ast.Expr):
                assert isinstance(setting.target, ast.Name)
                assert isinstance(text.value, ast.Constant)
                yield f"{owner.__name__}.{setting.target.id}", str(text.value.value)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_the_help_of_a_setting_begins_with_a_noun(algorithm: str) -> None:
    """So that it can be read without the setting's name: "Size of the generator's LSTM", not "Of the LSTM"."""
    config = algorithm_class(algorithm).Config
    found = [*helps(config), *helps(AdversaryConfig)]
    assert len(found) > len(fields(AdversaryConfig))
    for name, text in found:
        assert re.match(r"[A-Z]", text), name
        assert not re.match(r"(Of|The|What|How|Whether|Its|If|As|To|Be) ", text), f"{name}: {text}"
