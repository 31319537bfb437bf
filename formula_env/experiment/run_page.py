"""A page about runs, as one HTML file: it works offline, loads nothing, and has no script.

What a pointer rests on is told by SVG's own titles. All text of runs is escaped: a run folder may be anybody's.
"""

import html
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from formula_env.errors import FormulaError
from formula_env.experiment.config import load_config
from formula_env.experiment.drawing import COLOURS, own_style
from formula_env.experiment.found import FOUND_FILE, FoundFormula, read_found
from formula_env.experiment.found_table import in_order
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
"""Metrics that are drawn over the rounds, where a run has them."""

MAX_BARS, MAX_SAMPLES, MAX_FOUND = 300, 60, 24
"""Bars of a distribution, sampled and found formulae that are shown of a run at most."""

DASHES = ("", "7 3", "2 2", "9 3 2 3", "4 2 1 2", "12 4")
"""Dashes of the runs' curves, which tell them apart without colours."""


@dataclass(frozen=True)
class Run:
    """What the page shows of a run."""

    path: Path
    folder: RunFolder
    settings: dict[str, Any]
    task: BaseTask
    rows: list[Row]
    summary: Row
    label: str = ""

    @property
    def found(self) -> list[FoundFormula]:
        """Its new correct formulae, the most probable first."""
        path = self.folder.path
        return in_order(read_found(path), "log-prob") if (path / FOUND_FILE).exists() else []


def load_run(path: Path, trust_checker: bool = False) -> Run:
    """A finished run; raises FormulaError where there is none, or where its task is code that is not trusted."""
    folder = RunFolder(path)
    summary = folder.summary()
    if summary is None:
        raise FormulaError(f"{path} holds no finished run")
    config = load_config(path, trust_checker=trust_checker)
    settings = _flat(yaml.safe_load(read_text(path / CONFIG_FILE)))
    return Run(path.resolve(), folder, settings, config.task, folder.rows(), summary)


def labels(paths: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as tell them apart."""
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(set(paths)):
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in paths]


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings of tables within tables by names such as `algo.rounds`."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def run_page(runs: Sequence[Run]) -> str:
    """The page about these runs, one or several. Raises FormulaError for records that can't be shown."""
    names = labels([run.path for run in runs])
    runs = [replace(run, label=label) for run, label in zip(runs, names, strict=True)]
    try:
        return _page(runs)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        if isinstance(error, FormulaError):
            raise
        raise FormulaError(f"the records of {', '.join(names)} are damaged: {error!r}") from None


def _page(runs: Sequence[Run]) -> str:
    title = run_name(runs[0].summary) if len(runs) == 1 else f"{len(runs)} runs"
    sections = [
        ("Summary", _summary(runs)),
        ("Curves", _key(runs) + _curves(runs)),
        ("Settings that differ" if len(runs) > 1 else "Settings", _settings(runs)),
        ("Distribution", "".join(_distribution(run) for run in runs)),
        ("Samples", "".join(_samples(run) for run in runs)),
        ("Found formulae", "".join(_found(run) for run in runs)),
    ]
    body = "".join(f"<section><h2>{name}</h2>{content}</section>\n" for name, content in sections if content)
    return PAGE.format(title=_text(title), style=STYLE, body=body)


def _text(value: object) -> str:
    return html.escape(str(value))


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already; the first of a line is its heading."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    rows = "".join(
        f"<tr><th>{first}</th>{''.join(f'<td>{cell}</td>' for cell in rest)}</tr>\n" for first, *rest in lines
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>\n'


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
    """The metric's heading, with the total that it is part of where all runs have the same."""
    headings = {heading(name, run.summary) for run in runs}
    return headings.pop() if len(headings) == 1 else METRICS[name].heading


def _key(runs: Sequence[Run]) -> str:
    """Which curve is whose."""
    entries = [
        f'<span><svg width="34" height="10"><path d="M0 5H34" {_stroke(i)}/></svg> {_text(run.label)}</span>'
        for i, run in enumerate(runs)
    ]
    return f'<p class="key">{"".join(entries)}</p>\n'


def _stroke(index: int) -> str:
    colour, dashes = COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)]
    return f'fill="none" stroke="{colour}" stroke-width="1.8" stroke-dasharray="{dashes}"'


def _curves(runs: Sequence[Run]) -> str:
    charts = []
    for name in CURVES:
        points = [
            [(row["round"], float(row[row_key(name)])) for row in run.rows if _is_number(row.get(row_key(name)))]
            for run in runs
        ]
        if any(value for curve in points for _, value in curve):
            charts.append(_chart(name, [run.label for run in runs], points))
    return f'<div class="charts">{"".join(charts)}</div>\n'


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 220, 56, 10, 8, 34
"""Size and margins of a chart."""


def _chart(name: str, labels: Sequence[str], curves: Sequence[Sequence[tuple[int, float]]]) -> str:
    """Curves of one metric over the rounds, each point with its value as title."""
    xs, ys = (np.array([point[i] for curve in curves for point in curve], dtype=float) for i in (0, 1))
    x_low, x_high, y_low, y_high = xs.min(), xs.max(), ys.min(), ys.max()
    if y_low == y_high:
        y_low, y_high = y_low - 0.5, y_high + 0.5

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / max(x_high - x_low, 1)
        up = (y - y_low) / (y_high - y_low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    marks: list[str] = []
    for tick in _ticks(y_low, y_high):
        _, y = place(x_low, tick)
        marks.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        marks.append(f'<text x="{LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{tick:.6g}</text>')
    for tick in _ticks(x_low, x_high):
        x, _ = place(tick, y_low)
        marks.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{tick:,.6g}</text>')
    marks.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 4}" text-anchor="middle">round</text>')
    for i, (label, curve) in enumerate(zip(labels, curves, strict=True)):
        if not curve:
            continue
        places = [place(*point) for point in curve]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        marks.append(f'<path d="{path}" {_stroke(i)}/>')
        for (round_, value), (x, y) in zip(curve, places, strict=True):
            title = f"{label}, round {round_:,}: {METRICS[name].text(value)}"
            alone = ' class="alone"' if len(curve) == 1 else ""
            circle = f'<circle{alone} cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[i % len(COLOURS)]}">'
            marks.append(f"{circle}<title>{_text(title)}</title></circle>")
    label = _text(METRICS[name].heading + (", of training batches" if name.startswith("train/") else ""))
    drawing = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(marks)}</svg>'
    return f"<figure><figcaption>{label}</figcaption>{drawing}</figure>\n"


def _ticks(low: float, high: float) -> list[float]:
    """Some round numbers from low to high."""
    if low == high:
        return [low]
    step = 10 ** math.floor(math.log10((high - low) / 2))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (factor * step) <= 5)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _settings(runs: Sequence[Run]) -> str:
    names = dict.fromkeys(name for run in runs for name in run.settings)
    values = {name: [run.settings.get(name, "") for run in runs] for name in names}
    if len(runs) > 1:
        values = {name: each for name, each in values.items() if any(value != each[0] for value in each)}
    if not values:
        return "<p>None.</p>"
    lines = [[_text(name), *map(_text, each)] for name, each in values.items()]
    return _table(["", *(_text(run.label) for run in runs)], lines)


def _distribution(run: Run) -> str:
    """The probability of each correct formula as a bar, the uniform one as a line; where they can be listed."""
    bars = run.folder.distribution() if run.folder.has_distribution() else []
    probs = [float(bar["probability"]) for bar in bars if bar["probability"]]
    if not probs or len(probs) > MAX_BARS:
        return ""
    highest, width = max(*probs, 1 / len(probs)), max(2.0, 900 / len(probs))
    marks = []
    for i, (bar, prob) in enumerate(zip(bars, probs, strict=True)):
        height = 120 * prob / highest
        title = f"{bar['formula']}: {prob:.4%}, sampled {bar['sampled']} times"
        place = (
            f'x="{i * width:.1f}" y="{120 - height:.1f}" width="{width - 0.8:.1f}" height="{max(height, 0.4):.1f}"'
        )
        marks.append(f'<rect {place} fill="{COLOURS[0]}"><title>{_text(title)}</title></rect>')
    uniform = 120 - 120 / len(probs) / highest
    marks.append(f'<path class="line" d="M0 {uniform:.1f}H{width * len(probs):.1f}"/>')
    drawing = f'<svg viewBox="0 0 {width * len(probs):.0f} 122" role="img">{"".join(marks)}</svg>'
    caption = f"{_text(run.label)}: probability of each of the {len(probs)} correct formulae; line: all alike"
    return f'<figure class="wide"><figcaption>{caption}</figcaption>{drawing}</figure>\n'


def _samples(run: Run) -> str:
    items = [
        f'<li class="{"wrong" if verdict == "wrong" else "right"}"><code>{_text(text)}</code>'
        f"<span>{_mark(verdict)}{_text(verdict)}</span></li>"
        for text, verdict in run.folder.samples()[:MAX_SAMPLES]
    ]
    return f'<h3>{_text(run.label)}</h3><ul class="samples">{"".join(items)}</ul>\n'


def _mark(verdict: str) -> str:
    """A sign for a formula that is right or wrong; of vectors the verdict is an error."""
    return {"wrong": "✗ ", "correct": "✓ "}.get(verdict, "")


def _found(run: Run) -> str:
    """The most probable new correct formulae, as they are written and as they are printed."""
    found = run.found
    if not found:
        return ""
    lines = [
        [f"<code>{_text(row.formula)}</code>", rendered(run.task.to_latex(row.formula)), f"{row.round:,}"]
        for row in found[:MAX_FOUND]
    ]
    count = f"<p>{len(found):,} correct formulae that were not in the training set"
    shown = f"; the {MAX_FOUND} most probable</p>" if len(found) > MAX_FOUND else "</p>"
    return f"<h3>{_text(run.label)}</h3>{count}{shown}" + _table(["formula", "printed", "first in round"], lines)


def rendered(latex: str) -> str:
    """A LaTeX formula as inline SVG; as code where matplotlib can't set it."""
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


STYLE = """
:root { color-scheme: light dark; --text: #1a1a1a; --back: #ffffff; --faint: #d8d8d8; --soft: #666666; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e8e8e8; --back: #16181c; --faint: #3a3d44; --soft: #a0a0a0; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 2em auto;
  max-width: 1180px; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid var(--faint); }
h3 { font-size: 1em; }
table { border-collapse: collapse; } th, td { padding: .2em .8em; text-align: right; vertical-align: middle; }
th:first-child { text-align: left; font-weight: normal; } tbody tr { border-top: 1px solid var(--faint); }
.wide { overflow-x: auto; } figure { margin: 0; } figcaption { color: var(--soft); font-size: .9em; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 1em; }
.charts svg { width: 100%; } svg text { fill: var(--text); font-size: 10px; }
.grid { stroke: var(--faint); } .line { stroke: var(--text); stroke-dasharray: 4 3; }
.key span { margin-right: 1.5em; } circle { fill-opacity: .01; } circle:hover, circle.alone { fill-opacity: 1; }
.soft { color: var(--soft); font-weight: normal; }
.samples { columns: 16em; list-style: none; padding: 0; } .samples span { color: var(--soft); margin-left: .6em; }
.wrong code { text-decoration: line-through; } .wrong span { font-weight: bold; color: var(--text); }
svg.formula #patch_1 { display: none; } /* the white behind a formula */
@media (prefers-color-scheme: dark) { svg.formula { filter: invert(1); } }
"""

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
