"""The table of metrics: every key has its line, and a number looks the same wherever it is shown."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from formula_env.evaluators import make_evaluator
from formula_env.experiment.costs import MEASURED
from formula_env.metrics import (
    COMPARABLE,
    COUNT,
    METRICS,
    NATS,
    SHARE,
    evaluation_of,
    is_in_summary,
    jsd_text,
    metric,
    metrics_table,
    name_of,
    row_key,
)
from formula_env.tasks import make_any_task
from tests.helpers import small_tasks

ROOT = Path(__file__).parents[1]
ROW_COLUMNS = {"round", "phase", "epoch", "env_steps", *MEASURED}
"""Keys of a row that say where it was taken."""


def recorded_rows() -> list[dict[str, object]]:
    """The last row of every recorded run."""
    return [json.loads(p.read_text().splitlines()[-1]) for p in ROOT.glob("runs/studies/*/*/seed-0/metrics.jsonl")]


def test_every_metric_that_an_evaluator_gives_has_a_line() -> None:
    for task in (*small_tasks(), make_any_task("integer-sum")):
        sample = task.sample(50, np.random.default_rng(0))
        assert make_evaluator(task, sample)(sample).keys() <= METRICS.keys()


def test_every_key_of_the_recorded_rows_has_a_line() -> None:
    rows = recorded_rows()
    assert len(rows) > 50
    ours = [row for row in rows if not any(key.startswith("rollout/") for key in row)]
    assert len(rows) > len(ours) > 40, "Stable-Baselines3 has metrics of its own, which differ by algorithm"
    assert {name_of(key) for row in ours for key in row} <= METRICS.keys() | ROW_COLUMNS


def test_names_and_row_keys_are_each_others_inverse() -> None:
    assert row_key("jsd") == "eval/jsd"
    assert row_key("train/nll") == "train/nll"
    for name in METRICS:
        assert name_of(row_key(name)) == name
        assert is_in_summary(name) == (row_key(name) != name)
    row = {"round": 3, "eval/jsd": 0.1, "train/nll": 4.0}
    assert evaluation_of(row) == {"jsd": 0.1}


def test_each_line_is_complete() -> None:
    for name, each in METRICS.items():
        assert each.name == name
        assert each.label
        assert re.fullmatch(r"\S.*\.", each.definition, flags=re.DOTALL), name
        assert each.better in (None, "higher", "lower")


def test_metrics_that_can_be_compared_have_a_direction() -> None:
    directions = {name: METRICS[name].better for name in COMPARABLE}
    expected = {
        "accuracy": "higher", "coverage": "higher", "novelty": "higher", "jsd": "lower", "nll": "lower",
        "mse": "lower", "marginal_distance": "lower",
    }  # fmt: skip
    assert expected.items() <= directions.items()
    assert None not in directions.values()
    assert "uniqueness" not in directions, "a varied generator repeats itself in a large sample"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("accuracy", 0.99914, "99.91%"),
        ("coverage", 1.0, "100.00%"),
        ("uniqueness", 0.0001, "0.01%"),
        ("jsd", 0.00104, "0.0010"),
        ("nll", 20.24051, "20.2405"),
        ("mse", 0.000887751, "0.000888"),
        ("num_correct", 12_870, "12,870"),
        ("num_correct", 69.75, "69.8"),
        ("effective_number", 14.0, "14.0"),
        ("jsd_exact", True, "True"),
        ("exact", 0.11920292, "0.1192"),
    ],
)
def test_numbers_are_written(name: str, value: float, text: str) -> None:
    assert metric(name).text(value) == text


def test_differences_are_written_in_the_units_of_their_numbers() -> None:
    assert SHARE.change(0.0163, 0.0146, 0.0179) == "+1.63 [+1.46, +1.79] points"
    assert SHARE.change(0.0, 0.0, 0.0) == "+0.00 points"
    assert NATS.change(-0.0037, -0.0073, 0.0002) == "-0.0037 [-0.0073, +0.0002]"
    assert COUNT.change(3.0) == "+3.0"


def test_a_sampled_jsd_is_marked() -> None:
    assert jsd_text({"jsd": 0.02134, "jsd_exact": True}) == "0.0213"
    assert jsd_text({"jsd": 0.02134, "jsd_exact": False}) == "~0.0213"


def test_labels_carry_the_unit_that_the_numbers_do_not_show() -> None:
    assert METRICS["jsd"].heading == "JSD (nats)"
    assert METRICS["accuracy"].heading == "accuracy"
    assert METRICS["accuracy"].axis() == "accuracy (share)"
    assert METRICS["jsd"].axis("exact", "log scale") == "JSD (nats, exact, log scale)"


def test_the_documentation_names_every_metric() -> None:
    for name in METRICS:
        assert f"| `{row_key(name)}` |" in metrics_table()


def test_no_other_module_writes_a_metrics_number_by_itself() -> None:
    """A format of its own beside a metric's key, as there were seven of before the table."""
    by_hand = re.compile(r"""\{[^{}]*\[["'](?:eval/)?(?:""" + "|".join(METRICS) + r""")["']\]:[^{}]*[f%eg]\}""")
    assert by_hand.search("""f"{row['eval/jsd']:.4f}" """), "the control"
    for folder in ("formula_env", "agents", "gan"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not by_hand.search(path.read_text()), path
