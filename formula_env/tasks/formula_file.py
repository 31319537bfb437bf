"""Formulae from a file: the vocabulary, the lengths and the distribution to be learnt are those of its lines."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from formula_env.checkers import PROOFS, find_checker, find_forms, find_proof, find_undecided, is_code
from formula_env.errors import FormulaError, check_types
from formula_env.reading import MAX_SYMBOLS, REGEX, Lines, read_lines, split_symbols
from formula_env.tasks.automaton import check_tokens
from formula_env.tasks.base import ENUMERATION_LIMIT, SequenceTask
from formula_env.tasks.spelling import DEAD, ENDED, START, spellings
from formula_env.vocabulary import Tokens, Vocabulary, row_keys

MAX_TOKENS = 2**27
"""Tokens of all lines together at most, each line as long as the longest: 256 MiB."""

BLOCK = 2**14
"""Formulae that are encoded at once: NumPy takes 4 bytes for each character of a text, and of the longest one."""

MAX_REASONS = 5
"""Refused lines that the report shows."""


@dataclass(frozen=True)
class FormulaFile(SequenceTask):
    """Formulae of a text file; correct is what a checker approves, or without one what the file holds."""

    path: str = ""
    """File of formulae, UTF-8, one a line; a relative path is relative to the current folder, later too."""
    checker: str = ""
    """Checker of formulae: a name such as equation, or code: module:function, path.py:function or command:PROGRAM.
    Default: correct are the lines of the file alone."""
    tokens: str = ""
    """Symbols: a list separated by blanks, or regex:EXPRESSION that matches one. Default: all characters."""
    column: str = ""
    """Column of a CSV table that holds the formulae."""
    held_out_size: int | float = 0.1
    """Number, or share, of the different formulae that are kept from the training."""
    split_seed: int = 0
    """Random seed that chooses them."""
    sha256: str = ""
    """Hash of the file; a file with another one is refused. Default: that of the file as it is."""

    grammar: ClassVar[str] = "formula = symbol {symbol}; symbol is any one of the file's"
    difficulty: ClassVar[str] = (
        "Grammar and rule have to be learnt from the lines of the file; masks only say when a formula may end."
    )
    is_uniform: ClassVar[bool] = False
    default_preset: ClassVar[str | None] = "transformer"

    def __post_init__(self) -> None:
        check_types(self)
        if not self.path:
            raise FormulaError("formula-file needs a file; name one with --task.path FILE")
        size, is_share = self.held_out_size, isinstance(self.held_out_size, float)
        if size < 0 or (is_share and size >= 1):
            raise FormulaError(f"held_out_size must be a number of formulae or a share below 1.0, got {size}")
        lines = read_lines(Path(self.path), self.column)
        if self.sha256 not in ("", lines.sha256):
            raise FormulaError(f"{self.path} has changed since it was first read: its SHA-256 is {lines.sha256}")
        object.__setattr__(self, "sha256", lines.sha256)
        object.__setattr__(self, "_contents", Contents(self, lines))

    @staticmethod
    def code_in(options: dict[str, Any]) -> str | None:
        checker, tokens = options.get("checker"), options.get("tokens")
        code = [checker] if isinstance(checker, str) and is_code(checker) else []
        code += [tokens] if isinstance(tokens, str) and tokens.startswith(REGEX) else []  # one can run for ever
        return " and ".join(code) or None

    @property
    def contents(self) -> "Contents":
        """The contents of the file."""
        return self.__dict__["_contents"]

    @property
    def notes(self) -> list[str]:
        return self.contents.notes

    @property
    def vocabulary(self) -> Vocabulary:
        return self.contents.vocabulary

    @property
    def max_length(self) -> int:
        return self.contents.max_length

    @property
    def distribution(self) -> str:
        return "the training lines of the file, each as often as it occurs"

    def target(self) -> tuple[Tokens, NDArray[np.float64]] | None:
        """All formulae of the file, held out or not, each with its share of the lines.

        None with a checker, for then the file is a sample of the formulae that are correct.
        """
        if self.checker:
            return None
        return _widened(self.contents.distinct), self.contents.repetitions / self.contents.repetitions.sum()

    def training_set(self) -> Tokens:
        """The training lines, with repetitions."""
        contents = self.contents
        return _widened(
            np.repeat(contents.distinct, np.where(contents.is_held_out, 0, contents.repetitions), axis=0)
        )

    def held_out(self) -> Tokens:
        return _widened(self.contents.distinct[self.contents.is_held_out])

    def sample(self, n: int, rng: np.random.Generator) -> Tokens:
        weights = np.where(self.contents.is_held_out, 0, self.contents.repetitions)
        drawn = np.searchsorted(weights.cumsum(), rng.integers(weights.sum(), size=n), side="right")
        return _widened(self.contents.distinct[drawn])

    @property
    def has_checker(self) -> bool:
        return bool(self.checker)

    def is_correct(self, tokens: Tokens) -> NDArray[np.bool_]:
        correct = self._is_spelled(tokens)
        if not self.checker:
            correct[correct] = self.contents.contains(tokens[correct])
            return correct
        correct[correct] = find_checker(self.checker)(self.decode(tokens[correct]))
        return correct

    def _is_spelled(self, tokens: Tokens) -> NDArray[np.bool_]:
        """Whether formulae are spelled as the file's are, and have an end."""
        check_tokens(self, tokens)
        state = np.full(len(tokens), START)
        for column in tokens.T:
            state = self.contents.spellings[state, column]
        return state == ENDED

    def is_undecided(self, tokens: Tokens) -> NDArray[np.bool_] | None:
        if (undecided := find_undecided(self.checker)) is None:
            return None
        found = self._is_spelled(tokens)
        found[found] = undecided(self.decode(tokens[found]))
        return found

    def is_proved(self, tokens: Tokens) -> NDArray[np.bool_]:
        if (proof := find_proof(self.checker)) is None:
            raise FormulaError(
                f"there are proofs of what one of the checkers {', '.join(PROOFS)} finds correct, not of what "
                f"{self.checker or 'a file'!r} does; leave out --proved"
            )
        proved = self.is_correct(tokens)
        proved[proved] = proof(self.decode(tokens[proved]))
        return proved

    @property
    def transitions(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        table = self.contents.spellings
        repeated = np.broadcast_to(table, (self.max_length, *table.shape))  # one table in memory
        return repeated, np.arange(len(table)) == ENDED

    def legal_symbols(self, prefixes: Tokens) -> NDArray[np.bool_]:
        """EOS ends a formula of one symbol or more, at the last position it must; none completes a longer one."""
        eos, pad = self.vocabulary.eos, self.vocabulary.pad
        table, state = self.contents.spellings, np.full(len(prefixes), START)
        for column in prefixes.T:
            state = np.where(column == pad, state, table[state, column])
        legal = table[state, :pad] != DEAD
        lengths = (prefixes != pad).sum(axis=1)
        legal[lengths == self.max_length - 1, :eos] = False
        legal[lengths == self.max_length] = False
        return legal | ~legal.any(axis=1, keepdims=True)

    def canonical(self, formulae: Sequence[str]) -> list[str]:
        forms = find_forms(self.checker)
        return [forms.canonical(formula) for formula in formulae] if forms else super().canonical(formulae)

    def skeleton(self, formulae: Sequence[str]) -> list[str]:
        forms = find_forms(self.checker)
        return [forms.skeleton(formula) for formula in formulae] if forms else super().skeleton(formulae)

    def equal_forms(self, formula: str) -> list[str]:
        forms = find_forms(self.checker)
        equal_forms = getattr(forms, "equal_forms", super().equal_forms)
        return equal_forms(formula)

    def to_latex(self, formula: str) -> str:
        forms = find_forms(self.checker)
        return forms.to_latex(formula) if forms else super().to_latex(formula)

    def to_sympy(self, formula: str) -> str:
        forms = find_forms(self.checker)
        return forms.to_sympy(formula) if forms else super().to_sympy(formula)

    def count(self) -> int | None:
        return None if self.checker else len(self.contents.distinct)

    def enumerate(self) -> Tokens:
        if self.checker:
            return super().enumerate()
        if len(self.contents.distinct) > ENUMERATION_LIMIT:
            raise FormulaError(f"{len(self.contents.distinct)} formulae are too many to list; use sample()")
        return _widened(self.contents.distinct)


class Contents:
    """The distinct formulae of a file `(m, T)`, int16, in lexicographic order of ids, and how it was read.

    Raises FormulaError if a formula can't be split into symbols, if there are too many symbols or lines, if no
    line passes the checker, or if nothing is left to train on.
    """

    def __init__(self, task: FormulaFile, lines: Lines) -> None:
        counts = Counter(lines.texts)
        texts = sorted(counts)
        approved = find_checker(task.checker)(texts) if task.checker else np.ones(len(texts), dtype=bool)
        wrong = {text for text, is_right in zip(texts, approved.tolist(), strict=True) if not is_right}
        refused = [(n, text) for n, text in zip(lines.numbers.tolist(), lines.texts, strict=True) if text in wrong]
        if len(wrong) == len(texts):
            raise FormulaError(
                f"{lines.path}: no line passes the checker {task.checker!r}; the first is {lines.texts[0][:40]!r}"
            )
        texts = [text for text in texts if text not in wrong]
        self.vocabulary, rows = _read(lines, texts, task.tokens)
        self.max_length = rows.shape[1]
        self.spellings = spellings(self.vocabulary)
        order = np.lexsort(rows.T[::-1])
        self.distinct = rows[order]
        self.repetitions = np.array([counts[text] for text in texts])[order]
        self.is_held_out = self._split(task)
        self.notes = self._report(lines, refused)

    def _split(self, task: FormulaFile) -> NDArray[np.bool_]:
        total, size = len(self.distinct), task.held_out_size
        number = round(size * total) if isinstance(size, float) else size
        if number >= total:
            raise FormulaError(f"held_out_size: {number} of {total} different formulae leave none to train on")
        is_held_out = np.zeros(total, dtype=bool)
        is_held_out[np.random.default_rng(task.split_seed).permutation(total)[:number]] = True
        return is_held_out

    def _report(self, lines: Lines, refused: list[tuple[int, str]]) -> list[str]:
        total, distinct = len(lines.texts), len(self.distinct)
        notes = [
            f"{lines.path}: {total:,} formulae, {total - len(refused):,} of them correct, {distinct:,} different "
            f"({int(self.is_held_out.sum()):,} held out); up to {self.max_length - 1} symbols out of "
            f"{len(self.vocabulary.symbols)}"
        ]
        notes += [
            f"line {number} is left out, it is not correct: {text[:60]}" for number, text in refused[:MAX_REASONS]
        ]
        if len(refused) > MAX_REASONS:
            notes.append(f"and {len(refused) - MAX_REASONS:,} more lines")
        return notes

    @cached_property
    def _keys(self) -> NDArray[np.bytes_]:
        return np.sort(row_keys(self.distinct))

    def contains(self, tokens: Tokens) -> NDArray[np.bool_]:
        """Whether each of tokens `(n, T)` is one of the file's formulae."""
        keys = row_keys(tokens)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return self._keys[place] == keys


def _read(lines: Lines, texts: list[str], rule: str) -> tuple[Vocabulary, NDArray[np.int16]]:
    """The vocabulary of these different formulae, and their tokens `(m, T)`, int16."""
    if not rule:
        symbols = sorted(set(chain.from_iterable(texts)))
        _check_size(lines, len(symbols), len(texts), max(map(len, texts)))
        return Vocabulary(tuple(symbols), variable_length=True), _encode_characters(texts, symbols)
    numbers = dict(zip(reversed(lines.texts), reversed(lines.numbers.tolist()), strict=True))
    places = np.array([numbers[text] for text in texts])
    split = split_symbols(Lines(lines.path, texts, places, ""), rule)
    symbols = sorted(set(chain.from_iterable(split)))
    longest = max(map(len, split))
    _check_size(lines, len(symbols), len(texts), longest)
    vocabulary = Vocabulary(tuple(symbols), variable_length=True)
    rows = np.full((len(texts), longest + 1), vocabulary.pad, dtype=np.int16)
    for place, text, row, formula in zip(places.tolist(), texts, rows, split, strict=True):
        ids = vocabulary.read(text)
        row[: len(ids) + 1] = [*ids, vocabulary.eos]
        if [symbols[i] for i in ids] != formula:
            raise FormulaError(
                f"{lines.path}, line {place}: {text[:40]!r} is split into {' '.join(formula)[:60]}, not into the "
                "longest symbols"
            )
    return vocabulary, rows


def _encode_characters(texts: list[str], symbols: list[str]) -> NDArray[np.int16]:
    """Tokens `(m, T)` of formulae whose symbols, sorted, are characters."""
    eos, pad = len(symbols), len(symbols) + 1
    tokens = np.full((len(texts), max(map(len, texts)) + 1), pad, dtype=np.int16)
    ids = np.full(max(map(ord, symbols)) + 1, pad, dtype=np.int16)
    ids[[ord(symbol) for symbol in symbols]] = np.arange(len(symbols))
    for start in range(0, len(texts), BLOCK):
        points = (
            np.array(texts[start : start + BLOCK]).view(np.uint32).reshape(len(texts[start : start + BLOCK]), -1)
        )
        block = tokens[start : start + BLOCK]
        block[:, : points.shape[1]] = ids[points]
        block[np.arange(len(points)), (points != 0).sum(axis=1)] = eos
    return tokens


def _check_size(lines: Lines, symbols: int, formulae: int, longest: int) -> None:
    if symbols > MAX_SYMBOLS:
        raise FormulaError(f"{lines.path}: {symbols:,} different symbols; at most {MAX_SYMBOLS:,} can be learnt")
    if formulae * (longest + 1) > MAX_TOKENS:
        raise FormulaError(
            f"{lines.path}: {formulae:,} different formulae of up to {longest} symbols are more than "
            f"{MAX_TOKENS:,} tokens; use fewer or shorter ones"
        )


def _widened(tokens: NDArray[np.int16]) -> Tokens:
    """Tokens as they are kept, in the type that batches have."""
    return tokens.astype(np.int64)
