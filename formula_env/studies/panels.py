"""Panels of a figure, as a `study.toml` describes them, and what all of them show."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle

from matplotlib.artist import Artist
from matplotlib.lines import Line2D

from formula_env.errors import FormulaError, check_pair, check_types
from formula_env.experiment.costs import MEASURED
from formula_env.experiment.drawing import BLACK, REFERENCE_STYLES
from formula_env.metrics import METRICS, is_known, row_key
from formula_env.suggestions import unknown


@dataclass(frozen=True)
class Reference:
    """A number that a panel's metric is compared to, drawn as a line."""

    value: float
    label: str

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class Panel:
    """Panel of a figure: one metric."""

    metric: str
    """Key of the rows, such as eval/jsd."""
    label: str
    """Label of the axis, with the unit."""
    log: bool = False
    """Logarithmic scale of the metric."""
    lines: list[Reference] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_types(self)
        _check_row_key(self.metric)


@dataclass(frozen=True)
class SizePanel(Panel):
    """A metric over the number of examples."""

    ylim: list[float] = field(default_factory=list)
    """Ends of the axis; empty: those of the data."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_pair(ylim=self.ylim)


@dataclass(frozen=True)
class CurvePanel(SizePanel):
    """A metric over time."""

    start_of: str | None = None
    """Variant whose start, such as its MLE, is drawn as a line."""


@dataclass(frozen=True)
class IntervalPanel(Panel):
    """A metric at the end of the runs."""

    xlim: list[float] = field(default_factory=list)
    """Ends of the axis; empty: those of the data."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_pair(xlim=self.xlim)


COUNTERS = ("round", "epoch", "env_steps", *MEASURED)
"""Numbers of a row that are no metrics."""


def _check_row_key(key: str) -> None:
    """Raise FormulaError for a key that no row has."""
    known = [*map(row_key, METRICS), *COUNTERS]
    if row_key(key) in known and key not in known:
        raise FormulaError(f"unknown metric {key!r}; perhaps you meant {row_key(key)}")
    if key not in known and not is_known(key):
        raise FormulaError(unknown("metric", key, known))


def log_label(label: str) -> str:
    """`JSD (nats, log scale)`"""
    return f"{label[:-1]}, log scale)" if label.endswith(")") else f"{label} (log scale)"


def draw_references(draw_line: Callable[..., Line2D], panel: Panel) -> list[Artist]:
    """Draw what a panel's metric is compared to; returns the lines."""
    lines = zip(panel.lines, cycle(REFERENCE_STYLES), strict=False)
    return [
        draw_line(line.value, color=BLACK, ls=style, lw=1.2, zorder=0, label=line.label) for line, style in lines
    ]
