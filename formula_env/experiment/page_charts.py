"""Charts of the page about runs, as SVG without scripts: curves over rounds, and bars of probabilities.

Hovering shows values by SVG titles. Colours are CSS variables, since light and dark pages need different ones.
"""

import math
from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise

LIGHT = {
    "back": "#ffffff", "text": "#1a1a1a", "soft": "#666666", "faint": "#d8d8d8",
    "run-0": "#0077bb", "run-1": "#ff2200", "run-2": "#661166",
    "run-3": "#dd4477", "run-4": "#8811ff", "run-5": "#880000",
}  # fmt: skip
DARK = {
    "back": "#16181c", "text": "#e8e8e8", "soft": "#a0a0a0", "faint": "#3a3d44",
    "run-0": "#55bbee", "run-1": "#ff6611", "run-2": "#ffbb88",
    "run-3": "#bb4488", "run-4": "#7755ff", "run-5": "#886644",
}  # fmt: skip
"""Colours by CSS variable. Those of runs have a contrast of 3:1 to `back`, and suit colour-blind readers."""

NUM_COLOURS = 6
DASHES = ("", "7 3", "2 2", "9 3 2 3", "4 2 1 2", "12 4")
"""Dashes of curves, which distinguish runs without colours."""
MARKERS = (
    "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z",
    "m-3-3h6v6h-6z",
    "m0-4l4 7h-8z",
    "m0-4.5l4.5 4.5-4.5 4.5-4.5-4.5z",
    "m0 4l4-7h-8z",
    "m-1.5-4h3v2.5h2.5v3h-2.5v2.5h-3v-2.5h-2.5v-3h2.5z",
)
"""Outlines of points: circle, square, triangle, diamond, inverted triangle, cross."""
MAX_MARKERS = 16
"""Number of points up to which a curve shows all of them; of longer curves only those under the pointer."""

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 222, 58, 26, 10, 36
"""Size and margins of a chart of curves."""
AROUND = 5
"""Distance from the outermost points of curves within which they react to the pointer."""
BARS_HEIGHT = 140
"""Height of a chart of bars in pixels, without its margins."""
FEW_BARS, MANY_BARS, LONGEST_LABEL = 20, 70, 20
"""Numbers of bars whose formulae fit below them in all windows, and in wide ones; characters of such a formula."""

Curve = Sequence[tuple[int, float]]
"""Rounds with values."""


def variables(colours: dict[str, str]) -> str:
    """CSS declarations of these colours."""
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


CHART_STYLE = """
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(330px, 100%), 1fr)); gap: 1em; }
.charts svg { display: block; width: 100%; } svg text { fill: var(--text); font-size: 10px; }
.grid { stroke: var(--faint); } .uniform { stroke: var(--text); stroke-width: 1.5; stroke-dasharray: 5 3; }
.halo { stroke: var(--back); stroke-width: 3.5; }
.hit { fill: none; pointer-events: all; } .at .marker { pointer-events: none; }
.marker { fill: currentColor; } .at .hidden { opacity: 0; } .at:hover .hidden { opacity: 1; }
.at:hover .hit { fill: var(--text); fill-opacity: .08; } .bar { fill: currentColor; pointer-events: none; }
.key { display: flex; flex-wrap: wrap; gap: .2em 1.5em; }
.key span { display: flex; align-items: center; gap: .4em; } .key svg { flex: none; }
.bars { display: block; overflow: visible; box-sizing: border-box; width: calc(100% - 104px);
  margin: 12px 48px var(--below) 56px; }
.formulae text { font-family: monospace; }
.axis { font-size: 10px; text-align: center; margin: 0 48px 2em 56px; } .both .ranks { display: none; }
@media (max-width: 1120px) {
  .both .ranks { display: inline; } .both .formulae { display: none; } .bars.both { margin-bottom: 20px; }
}
""" + "\n".join(f".run-{i} {{ color: var(--run-{i}); }}" for i in range(NUM_COLOURS))  # fmt: skip


def legend(labels: Sequence[str]) -> str:
    """The label of each run beside its line and marker."""
    entries = [
        f'<span><svg width="40" height="12" class="{_colour(i)}">{_line("M0 6H40", i)}{_marker(20, 6, i)}</svg> '
        f"{escape(label)}</span>"
        for i, label in enumerate(labels)
    ]
    return f'<p class="key">{"".join(entries)}</p>\n'


def _colour(run: int) -> str:
    return f"run-{run % NUM_COLOURS}"


def _line(path: str, run: int) -> str:
    """A run's curve; runs of the same colour have different dashes."""
    dashes = DASHES[(run + run // NUM_COLOURS) % len(DASHES)]
    return (
        f'<path class="curve" d="{path}" fill="none" stroke="currentColor" stroke-width="1.8" '
        f'stroke-dasharray="{dashes}"/>'
    )


def _marker(x: float, y: float, run: int, hidden: bool = False) -> str:
    name = f"marker {_colour(run)}{' hidden' if hidden else ''}"
    return f'<path class="{name}" d="M{x:.1f} {y:.1f}{MARKERS[run % len(MARKERS)]}"/>'


def curves_chart(
    heading: str, labels: Sequence[str], curves: Sequence[Curve], text: Callable[[float], str]
) -> str:
    """Curves of one metric over the rounds; hovering a round shows the values of all runs, written by `text`."""
    xs = [x for curve in curves for x, _ in curve]
    ys = [y for curve in curves for _, y in curve]
    x_low, x_high, y_low, y_high = min(xs), max(xs), min(ys), max(ys)
    if y_low == y_high:
        margin = max(0.5, abs(y_low) / 100)
        y_low, y_high = y_low - margin, y_high + margin

    def across(x: float) -> float:
        return LEFT + (x - x_low) / max(x_high - x_low, 1) * (WIDTH - LEFT - RIGHT)

    def down(y: float) -> float:
        return HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    marks: list[str] = []
    for tick in _ticks(y_low, y_high, 6):
        marks.append(f'<path class="grid" d="M{LEFT} {down(tick):.1f}H{WIDTH - RIGHT}"/>')
        marks.append(f'<text x="{LEFT - 7}" y="{down(tick) + 3.5:.1f}" text-anchor="end">{tick:.6g}</text>')
    for tick in _ticks(x_low, x_high):
        marks.append(
            f'<text x="{across(tick):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:,.7g}</text>'
        )
    marks.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}" text-anchor="middle">round</text>')
    for i, curve in enumerate(curves):
        path = "L".join(f"{across(x):.1f} {down(y):.1f}" for x, y in curve)
        marks.append(f'<g class="{_colour(i)}">{_line(f"M{path}", i)}</g>' if path else "")
    rounds = sorted(set(xs))
    middles = [across((one + two) / 2) for one, two in pairwise(rounds)]
    edges = [LEFT - AROUND, *middles, WIDTH - RIGHT + AROUND]
    values = [dict(curve) for curve in curves]
    for round_, (left, right) in zip(rounds, pairwise(edges), strict=True):
        known = [(i, labels[i], each[round_]) for i, each in enumerate(values) if round_ in each]
        title = "\n".join([f"round {round_:,}", *(f"{label}: {text(value)}" for _, label, value in known)])
        markers = [_marker(across(round_), down(y), i, len(curves[i]) > MAX_MARKERS) for i, _, y in known]
        area = _hit_area(f"{left:.2f}", TOP - AROUND, f"{right - left:.2f}", HEIGHT - TOP - BOTTOM + 2 * AROUND)
        marks.append(f'<g class="at"><title>{escape(title)}</title>{area}{"".join(markers)}</g>')
    name = escape(f"{heading} over the rounds")
    drawing = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">{"".join(marks)}</svg>'
    return f"<figure><figcaption>{escape(heading)}</figcaption>{drawing}</figure>\n"


def _hit_area(x: str, y: float, width: str, height: float) -> str:
    """A transparent rectangle around marks, which is easier to point at than they are."""
    return f'<rect class="hit" x="{x}" y="{y}" width="{width}" height="{height}"/>'


def bars_chart(label: str, run: int, bars: Sequence[tuple[str, float, int]]) -> str:
    """Probabilities of formulae as bars, most probable first, beside that of a uniform generator as a line.

    A bar is a formula, its probability and how often it was sampled.
    """
    bars = sorted(bars, key=lambda bar: -bar[1])
    count, uniform = len(bars), 1 / len(bars)
    highest = max(bars[0][1], uniform)
    marks = [
        f'<text transform="rotate(-90)" x="{-BARS_HEIGHT / 2}" y="-46" text-anchor="middle">probability</text>'
    ]
    for tick in _ticks(0, 100 * highest, 6):
        y = BARS_HEIGHT * (1 - tick / 100 / highest)
        marks.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        marks.append(f'<text x="-5" y="{y + 3.5:.1f}" text-anchor="end">{tick:.6g}%</text>')
    for i, (formula, prob, sampled) in enumerate(bars):
        height = max(BARS_HEIGHT * prob / highest, 0.5)
        title = f"{formula}\nprobability: {prob:.4%}\nrank: {i + 1} of {count}\nsamples: {sampled:,}"
        marks.append(
            f'<g class="at"><title>{escape(title)}</title>'
            f"{_hit_area(f'{100 * i / count:.3f}%', 0, f'{100 / count:.3f}%', BARS_HEIGHT)}"
            f'<rect class="bar" x="{100 * (i + 0.05) / count:.3f}%" y="{BARS_HEIGHT - height:.1f}" '
            f'width="{90 / count:.3f}%" height="{height:.1f}"/></g>'
        )
    y = BARS_HEIGHT * (1 - uniform / highest)
    for name in ("halo", "uniform"):
        marks.append(f'<line class="{name}" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}" pointer-events="none"/>')
    marks.append(f'<text x="100%" dx="5" y="{y + 3.5:.1f}">uniform</text>')
    longest = max(len(formula) for formula, _, _ in bars)
    with_formulae = count <= MANY_BARS and longest <= LONGEST_LABEL
    with_ranks = count > FEW_BARS or not with_formulae
    if with_formulae:
        marks.append(f'<g class="formulae">{_formula_labels([formula for formula, _, _ in bars])}</g>')
    if with_ranks:
        marks.append(f'<g class="ranks">{_rank_labels(count)}</g>')
    below = 14 + 6.2 * longest if with_formulae else 20
    reference = f"a uniform generator has {100 * uniform:.3g}%"
    caption = escape(f"{label}: probability of each of the {count} correct formulae; {reference}")
    names = f"bars {_colour(run)}{' both' if with_formulae and with_ranks else ''}"
    drawing = (
        f'<svg class="{names}" height="{BARS_HEIGHT}" '
        f'style="--below: {below:.0f}px" role="img" aria-label="{caption}">{"".join(marks)}</svg>'
    )
    axis = '<p class="axis">correct formulae by rank, most probable first</p>'
    return f"<figure><figcaption>{caption}</figcaption>{drawing}{axis}</figure>\n"


def _formula_labels(formulae: Sequence[str]) -> str:
    """Formulae below their bars, upwards."""
    return "".join(
        f'<svg x="{100 * (i + 0.5) / len(formulae):.3f}%" y="{BARS_HEIGHT + 6}" overflow="visible">'
        f'<text transform="rotate(-90)" y="3.5" text-anchor="end">{escape(formula)}</text></svg>'
        for i, formula in enumerate(formulae)
    )


def _rank_labels(count: int) -> str:
    """The first rank and some round ones, below their bars."""
    ranks = [1, *(int(tick) for tick in _ticks(1, count) if tick > 1 and tick.is_integer())]
    return "".join(
        f'<text x="{100 * (rank - 0.5) / count:.3f}%" y="{BARS_HEIGHT + 14}" text-anchor="middle">{rank}</text>'
        for rank in ranks
    )


def _ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from low to high, with at most so many steps."""
    if low == high:
        return [float(low)]
    step = 10.0 ** math.floor(math.log10((high - low) / 2))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (factor * step) <= most)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]
