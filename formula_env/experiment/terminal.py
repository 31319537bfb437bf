"""Text for the terminal: what comes from outside, such as a path or a file, is shown and can't control it."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

LONGEST_LINE = 2_000
"""Characters of a message at most; the middle of a longer one is left out."""


def printable(text: str) -> str:
    """The text with each character that is not printable written as an escape sequence, such as `\\x1b`.

    These are control characters (line breaks among them), marks that change the direction of writing, and the
    surrogates that stand for bytes that are not UTF-8.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def one_line(text: object) -> str:
    """A message as one printable line of bounded length."""
    line = printable(" ".join(str(text).split()))
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]} … {line[-half:]}"


class SafeConsole(Console):
    """A console that shows text as it is: brackets and colons are no markup, control characters are escaped."""

    def __init__(self, stderr: bool = False, **options: Any) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Text that is given as a string, such as a table's cell: escaped before its width is measured."""
        return super().render_str(_printable_lines(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of anything that is shown; rich's own control codes stay."""
        for segment in super().render(renderable, options):
            if segment.control is None and not segment.text.isprintable():
                yield Segment(_printable_lines(segment.text), segment.style)
            else:
                yield segment


def _printable_lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
