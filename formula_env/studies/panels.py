"""Panels of a figure, as a `study.toml` describes them."""

from dataclasses import dataclass, field

from formula_env.errors import FormulaError, check_types


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


@dataclass(frozen=True)
class CurvePanel(Panel):
    """A metric over time."""

    ylim: list[float] = field(default_factory=list)
    """Ends of the axis; empty: those of the data."""
    start_of: str | None = None
    """Variant whose start, such as its MLE, is drawn as a line."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_ends(ylim=self.ylim)


@dataclass(frozen=True)
class IntervalPanel(Panel):
    """A metric at the end of the runs."""

    xlim: list[float] = field(default_factory=list)
    """Ends of the axis; empty: those of the data."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_ends(xlim=self.xlim)


def _check_ends(**ends: list[float]) -> None:
    for name, pair in ends.items():
        if pair and (len(pair) != 2 or not all(type(end) in (int, float) for end in pair)):
            raise FormulaError(f"{name} must be two numbers, got {pair}")
