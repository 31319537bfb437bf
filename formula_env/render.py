"""A formula for people: as a line of text, or as a picture with a reward under each symbol."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from formula_env.tasks.base import Task
from formula_env.vocabulary import Tokens

CELL = 56
GREEN, RED, GREY, INK = (46, 125, 50), (198, 40, 40), (158, 158, 158), (33, 33, 33)


def print_formula(
    task: Task, tokens: Tokens, length: int | np.int64, rewards: NDArray[np.float64], finished: bool
) -> str:
    """`0110____  return 0.125`, and the verdict once it is finished."""
    text = task.decode(tokens[None])[0]
    blanks = "" if finished else "_" * (task.max_length - int(length))
    verdict = f"  {_verdict(task, tokens)}" if finished else ""
    return f"{text}{blanks}  return {rewards[:length].sum():.3f}{verdict}"


def draw_formula(
    task: Task, tokens: Tokens, length: int | np.int64, rewards: NDArray[np.float64], finished: bool
) -> NDArray[np.uint8]:
    """`(height, width, 3)` uint8: a cell for each position, shaded by the sign and size of its reward."""
    image = Image.new("RGB", (CELL * task.max_length, CELL * 2), "white")
    canvas = ImageDraw.Draw(image)
    symbol_font, small_font = ImageFont.load_default(CELL * 0.55), ImageFont.load_default(CELL * 0.25)
    scale = max(1e-9, float(np.abs(rewards[:length]).max(initial=0.0)))
    for t in range(task.max_length):
        box = (t * CELL, 0, (t + 1) * CELL - 1, CELL - 1)
        centre = (t * CELL + CELL // 2, CELL // 2)
        if t >= length:
            canvas.rectangle(box, fill="white", outline=GREY)
            continue
        strength = abs(float(rewards[t])) / scale
        colour = GREEN if rewards[t] >= 0 else RED
        shade = tuple(round(255 - 0.5 * strength * (255 - channel)) for channel in colour)
        canvas.rectangle(box, fill=shade, outline=GREY)
        symbol = task.decode(tokens[None, t : t + 1])[0]
        canvas.text(centre, symbol, fill=INK, font=symbol_font, anchor="mm")
        below = (centre[0], CELL + CELL // 4)
        canvas.text(below, f"{rewards[t]:+.2f}", fill=INK, font=small_font, anchor="mm")
    line: dict[str, Any] = {"fill": INK, "text": f"return {rewards[:length].sum():.3f}"}
    if finished:
        verdict = _verdict(task, tokens)
        line = {"fill": GREEN if verdict == "correct" else RED, "text": f"{line['text']}  {verdict}"}
    canvas.text((6, CELL + CELL * 3 // 4), font=small_font, anchor="lm", **line)
    return np.asarray(image).copy()


def _verdict(task: Task, tokens: Tokens) -> str:
    return "correct" if task.is_correct(tokens[None])[0] else "incorrect"
