"""Draw docs/overview.png, the picture in README.md: `python docs/overview.py [FILE]`."""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#00745A", "#555555"  # distinct for the colour-blind, too
Point = tuple[float, float]


def box(axes: Axes, corner: Point, size: Point, colour: str, title: str, text: str) -> None:
    (x, y), (width, height) = corner, size
    style = "round,pad=0,rounding_size=0.12"
    axes.add_patch(
        FancyBboxPatch(corner, width, height, style, facecolor="white", edgecolor=colour, linewidth=2.2)
    )
    axes.text(
        x + width / 2, y + height - 0.32, title, ha="center", va="center", color=colour, size=13, weight="bold"
    )
    axes.text(x + width / 2, y + (height - 0.5) / 2, text, ha="center", va="center", size=11, linespacing=1.5)


def arrow(axes: Axes, start: Point, end: Point, text: str, where: Point, align: str = "center") -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "linewidth": 1.8, "color": GREY})
    axes.text(*where, text, ha=align, va="center", size=11, color="black", linespacing=1.4)


def draw(path: Path) -> None:
    figure, axes = plt.subplots(figsize=(11.5, 4.6))
    box(axes, (0.0, 2.0), (2.5, 1.9), BLUE, "Agent", "SeqGAN, PPO,\nDQN, your own …")
    box(axes, (4.4, 2.0), (2.9, 1.9), GREY, "Environment", "an episode is a formula\n\n\n")
    for i, symbol in enumerate("0110····"):
        corner = (4.65 + 0.3 * i, 2.3)
        face, edge = ("#E6F0F7", BLUE) if symbol != "·" else ("white", "#999999")
        axes.add_patch(Rectangle(corner, 0.3, 0.42, facecolor=face, edgecolor=edge))
        axes.text(corner[0] + 0.15, 2.51, symbol, ha="center", va="center", size=12, family="DejaVu Sans Mono")
    box(axes, (9.6, 2.0), (2.9, 1.9), ORANGE, "Reward model", "discriminator, or\nthe exact checker")
    box(axes, (9.6, 0.0), (2.9, 1.15), GREEN, "Real formulae", "01100101  10110111 …")
    box(axes, (0.0, 0.0), (2.5, 1.15), GREEN, "Evaluator", "exact accuracy, JSD")

    arrow(axes, (2.55, 3.3), (4.35, 3.3), "next symbol", (3.45, 3.52))
    arrow(axes, (4.35, 2.6), (2.55, 2.6), "prefix, mask,\nreward", (3.45, 2.2))
    arrow(axes, (7.35, 3.3), (9.55, 3.3), "finished formula", (8.4, 3.52))
    arrow(axes, (9.55, 2.6), (7.35, 2.6), "reward", (8.4, 2.4))
    arrow(axes, (11.05, 1.2), (11.05, 1.95), "trains the\ndiscriminator", (10.95, 1.57), "right")
    arrow(axes, (1.25, 1.95), (1.25, 1.2), "probabilities", (1.4, 1.57), "left")
    axes.plot([5.85, 5.85], [1.95, 1.2], color=GREY, linewidth=1.4, linestyle="--")
    box(
        axes,
        (3.7, 0.0),
        (4.3, 1.15),
        GREY,
        "Monte-Carlo rollouts",
        "complete each prefix many times:\nQ, a reward at every step",
    )
    axes.annotate(
        "", (9.55, 2.1), (8.05, 0.9), arrowprops={"arrowstyle": "<|-|>", "linestyle": "--", "color": GREY}
    )

    axes.set(xlim=(-0.1, 12.6), ylim=(-0.1, 4.0))
    axes.set_axis_off()
    figure.savefig(path, dpi=130, bbox_inches="tight", pad_inches=0.08, facecolor="white")


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("overview.png"))
