"""A page about runs, as one HTML file: it works offline, loads nothing, and has no script.

All text from run folders is escaped, since they may come from others.
"""

import html
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from formula_env.errors import FormulaError
from formula_env.experiment.config import load_config
from formula_env.experiment.drawing import own_style
from formula_env.experiment.found import FOUND_FILE, FoundFormula, read_found
from formula_env.experiment.found_table import in_order
from formula_env.experiment.page_charts import (
    CHART_STYLE,
    DARK,
    LIGHT,
    bars_chart,
    curves_chart,
    legend,
    variables,
)
from formula_env.experiment.record import CONFIG_FILE
from formula_env.experiment.rows import Row
from formula_env.experiment.run_folder import RunFolder
from formula_env.experiment.run_report import SHOWN, heading, metric_text, run_name
from formula_env.files import read_text
from formula_env.metrics import METRICS, row_key
from formula_env.tasks import BaseTask

CURVES = (
    "accuracy", "jsd", "coverage", "effective_number", "novelty", "nll", "validation_nll", "train/loss",
    "train/nll", "train/reward", "discriminator/loss",
)  # fmt: skip
"""Metrics whose curves over the rounds are drawn, where a run has them."""

MAX_BARS, MAX_SAMPLES, MAX_FOUND = 300, 60, 24
"""Largest numbers of a run's bars, sampled formulae and found formulae on the page."""


@dataclass(frozen=True)
class Run:
    """A finished run with all that the page shows of it."""

    path: Path
    folder: RunFolder
    settings: dict[str, Any]
    task: BaseTask
    rows: list[Row]
    summary: Row
    label: str = ""

    @property
    def found(self) -> list[FoundFormula]:
        """Correct formulae that the run generated and its training set lacks, most probable first."""
        path = self.folder.path
        return in_order(read_found(path), "log-prob") if (path / FOUND_FILE).exists() else []


def load_run(path: Path, trust_checker: bool = False) -> Run:
    """Read a finished run. Raises FormulaError if there is none, or if its task is code that is not trusted."""
    folder = RunFolder(path)
    summary = folder.summary()
    if summary is None:
        raise FormulaError(f"{path} holds no finished run")
    config = load_config(path, trust_checker=trust_checker)
    settings = _flat(yaml.safe_load(read_text(path / CONFIG_FILE)))
    return Run(path.resolve(), folder, settings, config.task, folder.rows(), summary)


def labels(paths: Sequence[Path]) -> list[str]:
    """The shortest trailing parts of the paths that differ from each other."""
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(set(paths)):
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in paths]


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names such as `algo.rounds`."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def run_page(runs: Sequence[Run]) -> str:
    """HTML page about one or several runs. Raises FormulaError if their records are damaged."""
    names = labels([run.path for run in runs])
    runs = [replace(run, label=label) for run, label in zip(runs, names, strict=True)]
    try:
        return _page(runs)
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, FormulaError):
            raise
        raise FormulaError(f"the records of {', '.join(names)} are damaged: {error!r}") from None


def _page(runs: Sequence[Run]) -> str:
    names = [run.label for run in runs]
    title = run_name(runs[0].summary) if len(runs) == 1 else f"{len(runs)} runs"
    sections = [
        ("Summary", _summary(runs)),
        ("Curves", legend(names) + _curves(runs)),
        ("Settings that differ" if len(runs) > 1 else "Settings", _settings(runs)),
        ("Distribution", "".join(_distribution(run, i) for i, run in enumerate(runs))),
        ("Samples", "".join(_samples(run) for run in runs)),
        ("Found formulae", "".join(_found(run) for run in runs)),
    ]
    body = "".join(f"<section><h2>{name}</h2>{content}</section>\n" for name, content in sections if content)
    return PAGE.format(title=_text(title), style=STYLE, body=body)


def _text(value: object) -> str:
    return html.escape(str(value))


def _table(header: Sequence[str], lines: Sequence[Sequence[str]], name: str = "") -> str:
    """An HTML table. Its cells are HTML, and the first cell of a line is its heading."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    rows = "".join(
        f"<tr><th>{first}</th>{''.join(f'<td>{cell}</td>' for cell in rest)}</tr>\n" for first, *rest in lines
    )
    return f'<div class="wide {name}"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>\n'


def _summary(runs: Sequence[Run]) -> str:
    lines = [
        [_text(_heading(name, runs)), *(_text(metric_text(name, run.summary)) for run in runs)]
        for name in SHOWN
        if any(metric_text(name, run.summary) for run in runs)
    ]
    costs = {"rounds": "rounds", "seconds": "seconds", "cpu_seconds": "CPU seconds", "peak_memory": "memory (MB)"}
    for name, label in costs.items():
        if any(name in run.summary for run in runs):
            lines.append([label, *(f"{run.summary[name]:,.0f}" if name in run.summary else "" for run in runs)])
    names = [f'{_text(run.label)}<br><span class="soft">{_text(run_name(run.summary))}</span>' for run in runs]
    return _table(["", *names], lines)


def _heading(name: str, runs: Sequence[Run]) -> str:
    """The metric's heading, with the total that it is part of if all runs have the same total."""
    headings = {heading(name, run.summary) for run in runs}
    return headings.pop() if len(headings) == 1 else METRICS[name].heading


def _curves(runs: Sequence[Run]) -> str:
    charts = []
    for name in CURVES:
        points = [
            [(row["round"], float(row[row_key(name)])) for row in run.rows if _is_number(row.get(row_key(name)))]
            for run in runs
        ]
        if any(value for curve in points for _, value in curve):
            title = METRICS[name].heading + (", of training batches" if name.startswith("train/") else "")
            charts.append(curves_chart(title, [run.label for run in runs], points, METRICS[name].text))
    return f'<div class="charts">{"".join(charts)}</div>\n'


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _settings(runs: Sequence[Run]) -> str:
    names = dict.fromkeys(name for run in runs for name in run.settings)
    values = {name: [run.settings.get(name, "") for run in runs] for name in names}
    if len(runs) > 1:
        values = {name: each for name, each in values.items() if any(value != each[0] for value in each)}
    if not values:
        return "<p>No settings differ.</p>"
    lines = [[_text(name), *map(_text, each)] for name, each in values.items()]
    return _table(["", *(_text(run.label) for run in runs)], lines, "settings")


def _distribution(run: Run, index: int) -> str:
    """The exact probability of each correct formula, where the run has it and the formulae are not too many."""
    rows = run.folder.distribution() if run.folder.has_distribution() else []
    if not any(row["probability"] for row in rows) or len(rows) > MAX_BARS:
        return ""
    bars = [(row["formula"], float(row["probability"]), int(row["sampled"])) for row in rows]
    return bars_chart(run.label, index, bars)


def _samples(run: Run) -> str:
    samples = run.folder.samples()[:MAX_SAMPLES]
    longest = max((len(text) for text, _ in samples), default=0)
    items = [
        f'<li class="{"wrong" if verdict == "wrong" else "right"}"><code>{_text(text)}</code>'
        f"<span>{_mark(verdict)}{_text(verdict)}</span></li>"
        for text, verdict in samples
    ]
    columns = f'style="columns: {longest + 14}ch"'  # wide enough for a formula and its verdict
    return f'<h3>{_text(run.label)}</h3><ul class="samples" {columns}>{"".join(items)}</ul>\n'


def _mark(verdict: str) -> str:
    """The sign before a verdict; none before the error of a vector."""
    return {"wrong": "✗ ", "correct": "✓ "}.get(verdict, "")


def _found(run: Run) -> str:
    """The most probable correct formulae outside of the training set, as plain text and typeset."""
    found = run.found
    if not found:
        return ""
    lines = [
        [f"<code>{_text(row.formula)}</code>", rendered(run.task.to_latex(row.formula)), f"{row.round:,}"]
        for row in found[:MAX_FOUND]
    ]
    count = f"<p>{len(found):,} correct formulae that were not in the training set"
    shown = f"; the {MAX_FOUND} most probable</p>" if len(found) > MAX_FOUND else "</p>"
    return f"<h3>{_text(run.label)}</h3>{count}{shown}" + _table(["formula", "typeset", "first in round"], lines)


def rendered(latex: str) -> str:
    """A LaTeX formula as inline SVG, or as code if matplotlib can't typeset it."""
    from matplotlib.mathtext import math_to_image  # only here: matplotlib is slow to import

    buffer = io.StringIO()
    try:
        with own_style():
            math_to_image(f"${latex}$", buffer, format="svg")
    except (RecursionError, ValueError):
        return f"<code>{_text(latex)}</code>"
    found = re.search(r"<svg.*</svg>", buffer.getvalue(), flags=re.DOTALL)
    assert found is not None
    drawing = re.sub(r"<metadata>.*?</metadata>", "", found[0], flags=re.DOTALL)
    return drawing.replace("<svg ", '<svg class="formula" ', 1)


STYLE = (
    f"""
:root {{ color-scheme: light dark; {variables(LIGHT)} }}
@media (prefers-color-scheme: dark) {{
  :root {{ {variables(DARK)} }}
}}
"""
    + """
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 2em auto;
  max-width: 1180px; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid var(--faint); }
h3 { font-size: 1em; } h1, h3, figcaption, .key, .samples { overflow-wrap: anywhere; }
table { border-collapse: collapse; } th, td { padding: .2em .8em; text-align: right; vertical-align: middle; }
th:first-child { text-align: left; font-weight: normal; } tbody tr { border-top: 1px solid var(--faint); }
@media (min-width: 700px) { tbody th { white-space: nowrap; } }
.wide { overflow-x: auto; } .settings td { max-width: 12em; overflow-wrap: break-word; }
figure { margin: 0; } figcaption { color: var(--soft); font-size: .9em; }
.soft { color: var(--soft); font-weight: normal; }
.samples { list-style: none; padding: 0; } .samples span { color: var(--soft); margin-left: .6em; }
.wrong code { text-decoration: line-through; } .wrong span { font-weight: bold; color: var(--text); }
svg.formula #patch_1 { display: none; } /* the white background of a formula */
@media (prefers-color-scheme: dark) { svg.formula { filter: invert(1); } }
"""
    + CHART_STYLE
)

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}</body>
</html>
"""
