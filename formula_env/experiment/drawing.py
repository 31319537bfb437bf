"""Drawing tools of all figures: colours, line styles, titles, legends beside the axes, and files."""

import io
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from textwrap import fill
from typing import Any, Literal

import matplotlib
import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from formula_env.files import write_atomically

BLUE, ORANGE, RED, VIOLET, CYAN, PLUM = "#0072b2", "#e69f00", "#992200", "#aa00ff", "#44ccee", "#550055"
COLOURS = (BLUE, ORANGE, RED, VIOLET, CYAN, PLUM)
"""Colours of data, in the order in which curves take them."""
BLACK, GREY = "#000000", "#8a8a8a"
"""Colours of what data are compared to."""
# Any two of these eight are at least 30 apart in CIE Lab, to normal sight and to the three kinds of dichromacy.

DASHED, DOTTED, DASHDOT = (0, (6, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5))
STYLES: tuple[Any, ...] = ("-", DASHED, DOTTED, DASHDOT, (0, (3, 1, 1, 1, 1, 1)), (0, (10, 3)))
"""Line styles of curves, which tell them apart without colours."""
REFERENCE_STYLES = ("-.", ":", "--")
"""Line styles of what data are compared to."""

SMALL, NORMAL = 8, 10
"""Font sizes in points."""
TITLE_CHARACTERS, LEGEND_CHARACTERS = 12.0, 14.0
"""Characters to an inch, at these two sizes, that always fit."""
KEY_CHARACTERS = 8
"""The width of a legend's key, and the space around it, in characters."""


def own_style() -> AbstractContextManager[None]:
    """Draw and save with matplotlib's defaults, whatever the user's own settings are."""
    return matplotlib.style.context("default")


def set_title(figure: Figure, *lines: str) -> None:
    """Write lines above all axes, wrapped to the figure's width."""
    width = int(figure.get_figwidth() * TITLE_CHARACTERS)
    figure.suptitle("\n".join(fill(line, width) for line in lines if line), fontsize=NORMAL)


def legend_below(figure: Figure, handles: Sequence[Artist] = (), note: str = "") -> None:
    """Explain the figure's labelled marks that no other legend explains, and these handles, below the axes.

    Each label is shown once, whatever panels it is in. A note stands above them.
    """
    entries = {str(handle.get_label()): handle for axis in figure.axes for handle in _unexplained(axis)}
    entries |= {str(handle.get_label()): handle for handle in handles}
    width = int(figure.get_figwidth() * LEGEND_CHARACTERS)
    labels = [fill(label, width - KEY_CHARACTERS) for label in entries]
    if not entries:
        return
    longest = max(len(line) for label in labels for line in label.splitlines())
    figure.legend(
        list(entries.values()), labels, loc="outside lower center", fontsize=SMALL, frameon=False,
        ncols=max(1, min(len(entries), width // (longest + KEY_CHARACTERS))),
        title=fill(note, width) or None, title_fontsize=SMALL, alignment="left",
    )  # fmt: skip


def legend_beside(axis: Axes) -> None:
    """Explain the labelled marks of these axes to their right, if there are any."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=SMALL, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)


def legend_above(axis: Axes, handles: Sequence[Artist]) -> None:
    """Explain these marks above the axes."""
    axis.legend(
        handles=list(handles), fontsize=SMALL, frameon=False, ncols=len(handles),
        loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.1,
    )  # fmt: skip


def _unexplained(axis: Axes) -> list[Any]:
    legend = axis.get_legend()
    known = {text.get_text() for text in legend.get_texts()} if legend is not None else set()
    handles, labels = axis.get_legend_handles_labels()
    return [handle for handle, label in zip(handles, labels, strict=True) if label not in known]


def set_log_scale(axis: Axes, values: Iterable[float], which: Literal["x", "y"] = "y") -> None:
    """Make an axis logarithmic if any of the values can be shown there."""
    if any(value > 0 for value in values):
        (axis.set_yscale if which == "y" else axis.set_xscale)("log")


FIGURE_SUFFIXES = (".png", ".svg")


def save_figure(figure: Figure, path: Path) -> list[Path]:
    """Write `path.png` and `path.svg`; the same figure gives the same bytes. Returns both paths."""
    written = []
    for suffix in FIGURE_SUFFIXES:
        form, buffer = suffix.removeprefix("."), io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "formula-env"}):
            figure.savefig(buffer, format=form, dpi=120, metadata={"Date": None} if form == "svg" else None)
        written.append(path.with_name(f"{path.name}{suffix}"))
        write_atomically(written[-1], buffer.getvalue())
    return written
