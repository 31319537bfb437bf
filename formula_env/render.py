"""A formula for people: as a line of text, or as a picture with a reward under each symbol."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens

CELL, MARGIN = 64, 16  # pixels
COLUMNS = 16
"""Cells in a line; a longer formula goes on in the next one."""

GREEN, RED, GREY, INK = (46, 125, 50), (198, 40, 40), (189, 189, 189), (33, 33, 33)


def print_formula(
    task: SequenceTask, tokens: Tokens, length: int | np.int64, rewards: NDArray[np.float64], finished: bool
) -> str:
    """`0110____  return 0.125`, and the verdict once it is finished."""
    text = task.decode(tokens[None])[0]
    blanks = "" if finished else "_" * (task.max_length - int(length))
    verdict = f"  {_verdict(task, tokens)}" if finished else ""
    return f"{text}{blanks}  return {rewards[:length].sum():.3f}{verdict}"


def draw_formula(
    task: SequenceTask, tokens: Tokens, length: int | np.int64, rewards: NDArray[np.float64], finished: bool
) -> NDArray[np.uint8]:
    """`(height, width, 3)` uint8: a cell for each position, and under each symbol its reward.

    The colour is the reward's sign, its strength the reward's size; full at 1, or at the largest beyond.
    """
    columns, lines = min(COLUMNS, task.max_length), -(-task.max_length // COLUMNS)
    line_height = CELL * 3 // 2
    extent = (max(columns, 5) * CELL + 2 * MARGIN, lines * line_height + CELL // 2 + 2 * MARGIN)
    image = Image.new("RGB", extent, "white")
    canvas = ImageDraw.Draw(image)
    widest = max(map(len, task.vocabulary.symbols))
    symbol_font, reward_font, status_font = (_font(size) for size in (min(0.55, 1.2 / widest), 0.26, 0.34))
    scale = max(1.0, float(np.abs(rewards[:length]).max(initial=0.0)))
    for t in range(task.max_length):
        x, y = MARGIN + t % COLUMNS * CELL, MARGIN + t // COLUMNS * line_height
        written = t < length
        box = (x, y, x + CELL - 5, y + CELL - 5)
        canvas.rounded_rectangle(box, 8, _shade(rewards[t] / scale) if written else "white", GREY, 2)
        if written:
            centre = x + CELL // 2 - 2
            symbol = task.decode(tokens[None, t : t + 1])[0]
            font = symbol_font if symbol else reward_font
            canvas.text((centre, y + CELL // 2 - 2), symbol or "end", INK, font, anchor="mm")
            canvas.text((centre, y + CELL * 5 // 4 - 4), _signed(rewards[t]), INK, reward_font, anchor="mm")
    status = (MARGIN, MARGIN + lines * line_height + CELL // 4)
    text = f"return {_signed(rewards[:length].sum())}"
    canvas.text(status, text, INK, status_font, anchor="lm")
    if finished:
        verdict = _verdict(task, tokens)
        right = (status[0] + canvas.textlength(text, status_font) + CELL // 4, status[1])
        canvas.text(right, verdict, GREEN if verdict == "correct" else RED, status_font, anchor="lm")
    return np.asarray(image).copy()


@cache
def _font(size: float) -> ImageFont.FreeTypeFont:
    """The font of this height in cells: matplotlib's, which has the signs of mathematics that Pillow's has not."""
    from matplotlib import get_data_path  # only here: it is slow to import

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", size * CELL)


def _shade(reward: float) -> tuple[int, int, int]:
    """White at 0 to the sign's colour at ±1."""
    r, g, b = (round(255 + abs(reward) * (c - 255)) for c in (GREEN if reward >= 0 else RED))
    return r, g, b


def _signed(reward: float) -> str:
    return f"{reward:+z.2f}".replace("-", "−")


def _verdict(task: SequenceTask, tokens: Tokens) -> str:
    return "correct" if task.is_correct(tokens[None])[0] else "incorrect"
