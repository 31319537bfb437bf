"""What every figure must keep: legends beside the data, all on the canvas, colours that all eyes tell apart."""

from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

Array = NDArray[np.float64]

VISION: dict[str, Array] = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
"""Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB."""

LEAST_DISTANCE = 25.0
"""In CIE Lab, of two colours in the same axes."""


def check_figure(figure: Figure) -> None:
    """Draw the figure; assert what its boxes and colours must keep."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    legends = [*figure.legends, *(legend for axis in figure.axes if (legend := axis.get_legend()) is not None)]
    boxes = [legend.get_window_extent() for legend in legends]
    for box in boxes:
        assert_on_canvas(box, figure)
        for axis in figure.axes:
            assert overlap(box, axis.get_window_extent()) < 1, "a legend covers data"
    title = figure._suptitle  # type: ignore[attr-defined]
    assert title is not None
    assert "seed" in title.get_text()
    others = [title.get_window_extent(), *(axis.title.get_window_extent() for axis in figure.axes)]
    for box in others:
        assert_on_canvas(box, figure)
        assert not any(overlap(box, legend) >= 1 for legend in boxes), "a legend covers a title"
    for one, two in combinations(others, 2):
        assert overlap(one, two) < 1, "two titles cover each other"
    for one, two in combinations(boxes, 2):
        assert overlap(one, two) < 1, "two legends cover each other"
    for axis in figure.axes:
        check_colours(colours_of(axis))


def assert_on_canvas(box: Bbox, figure: Figure) -> None:
    width, height = figure.bbox.size
    assert box.x0 >= -1
    assert box.y0 >= -1
    assert box.x1 <= width + 1
    assert box.y1 <= height + 1


def overlap(one: Bbox, two: Bbox) -> float:
    """The common area in square pixels."""
    common = Bbox.intersection(one, two)
    return 0.0 if common is None else common.width * common.height


def colours_of(axis: Any) -> set[tuple[float, ...]]:
    """The opaque colours of what is drawn in these axes."""
    drawn = {to_rgb(line.get_color()) for line in axis.get_lines()}
    drawn |= {to_rgb(text.get_color()) for text in axis.texts}
    drawn |= {to_rgb(patch.get_facecolor()) for patch in axis.patches if patch.get_facecolor()[3] > 0}
    for collection in axis.collections:
        for colours in (collection.get_facecolor(), collection.get_edgecolor()):
            drawn |= {tuple(colour[:3]) for colour in np.atleast_2d(colours) if len(colour) == 4}
    return {tuple(round(float(value), 3) for value in colour) for colour in drawn}


def check_colours(colours: set[tuple[float, ...]]) -> None:
    for name, matrix in VISION.items():
        for one, two in combinations(sorted(colours), 2):
            distance = np.linalg.norm(lab(np.array(one), matrix) - lab(np.array(two), matrix))
            assert distance >= LEAST_DISTANCE, f"{one} and {two} are too close for {name}: {distance:.1f}"


def lab(rgb: Array, matrix: Array) -> Array:
    """CIE Lab of an sRGB colour, as someone with this vision sees it."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(matrix @ linear, 0, 1)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    )
    xyz = to_xyz @ seen / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
