"""Verdicts on Boolean formulae, `a&b>a`: correct is a tautology, true whatever its variables are.

A formula is made of the variables `a` to `e`, `~` (not), `&` (and), `|` (or), `>` (implies), `=` (is equivalent
to) and parentheses. They bind in this order, `~` first. `>` is right-associative; the others are associative.
A truth table is a number of 32 bits, one for each assignment of truth values to five variables.

`is_correct` is the plain reference for one formula. `check` and `check_codes` give the same verdicts on whole
batches, by parsing all formulae at once.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from formula_env.checkers.batches import Alphabet, Codes, Flags
from formula_env.checkers.expression import MAX_SYMBOLS
from formula_env.errors import FormulaError

Tables = NDArray[np.uint32]

VARIABLES = "abcde"
OPERATORS = "=>|&~"
"""From the one that binds last to the one that binds first."""
ALPHABET = Alphabet(f"{VARIABLES}{OPERATORS}()")
"""All symbols of Boolean formulae."""
EQUIVALENT, IMPLIES, OR, AND, NOT, OPEN, CLOSE, END, UNKNOWN = range(len(VARIABLES), len(VARIABLES) + 9)
"""Codes of the symbols that are no variables."""
PRECEDENCE = {"(": 0} | {operator: i for i, operator in enumerate(OPERATORS, 1)}

TRUE = 2**32 - 1
"""The truth table of a tautology."""
TRUTH_TABLES = (0xAAAAAAAA, 0xCCCCCCCC, 0xF0F0F0F0, 0xFF00FF00, 0xFFFF0000)
"""The truth tables of the variables: bit i is bit v of i for the variable v."""


# --- one formula ----------------------------------------------------------------------------------------------


def is_correct(formula: str) -> bool:
    """The verdict on one formula; False for a text that is not well-formed. White space is ignored."""
    try:
        return truth_table(parse(formula)) == TRUE
    except FormulaError:
        return False


def parse(formula: str) -> list[str]:
    """The variables and operators of a formula in postfix order; white space is ignored.

    Raises FormulaError for a text that is not well-formed.
    """
    if len(formula) > MAX_SYMBOLS:
        raise FormulaError(f"a formula has at most {MAX_SYMBOLS:,} symbols, this one has {len(formula):,}")
    try:
        return _postfix("".join(formula.split()))
    except FormulaError as error:
        raise FormulaError(f"{error}: {formula!r}") from None


def _postfix(formula: str) -> list[str]:
    """Dijkstra's shunting yard: operators wait on a stack until their last operand is complete."""
    output: list[str] = []
    waiting: list[str] = []
    previous = ""
    for symbol in formula:
        if symbol not in ALPHABET.symbols:
            raise FormulaError(f"{symbol!r} is no symbol of Boolean formulae; these are {ALPHABET.symbols}")
        expects_operand = not previous or previous in PRECEDENCE
        if expects_operand != (symbol in VARIABLES or symbol in "~("):
            raise FormulaError(f"{symbol} can't " + (f"stand after {previous}" if previous else "begin a formula"))
        if symbol in VARIABLES:
            output.append(symbol)
        elif symbol == ")":
            _move(waiting, output, lowest=1)
            if not waiting:
                raise FormulaError("a ) closes nothing")
            waiting.pop()
        else:
            if symbol not in "~(":
                _move(waiting, output, lowest=PRECEDENCE[symbol] + (symbol == ">"))
            waiting.append(symbol)
        previous = symbol
    if not previous:
        raise FormulaError("the formula is empty")
    if previous in PRECEDENCE:
        raise FormulaError(f"a formula can't end with {previous}")
    _move(waiting, output, lowest=1)
    if waiting:
        raise FormulaError("a ( is not closed")
    return output


def _move(waiting: list[str], output: list[str], lowest: int) -> None:
    """Move the operators of at least this precedence from the top of the stack to the output."""
    while waiting and PRECEDENCE[waiting[-1]] >= lowest:
        output.append(waiting.pop())


def truth_table(postfix: Sequence[str]) -> int:
    """The truth table of a formula in postfix order."""
    operands: list[int] = []
    for symbol in postfix:
        if symbol in VARIABLES:
            operands.append(TRUTH_TABLES[VARIABLES.index(symbol)])
        elif symbol == "~":
            operands.append(TRUE ^ operands.pop())
        else:
            second, first = operands.pop(), operands.pop()
            operands.append(_apply(symbol, first, second))
    return operands[0]


def _apply(operator: str, first: int, second: int) -> int:
    if operator == "&":
        return first & second
    if operator == "|":
        return first | second
    return TRUE ^ first | second if operator == ">" else TRUE ^ first ^ second


# --- batches --------------------------------------------------------------------------------------------------


def check(formulae: Sequence[str]) -> Flags:
    """The verdicts `(n,)` of `is_correct` on n formulae."""
    return ALPHABET.check(formulae, check_codes, is_correct)


def check_codes(codes: Codes) -> Flags:
    """The verdicts `(n,)` on formulae as codes `(n, T)`, each filled up with `END`."""
    verdicts = well_formed(codes)
    verdicts[verdicts] = truth_tables(codes[verdicts]) == TRUE
    return verdicts


_BEGINS_OPERAND = [*range(len(VARIABLES)), NOT, OPEN]
_FOLLOWS_OPERAND = [EQUIVALENT, IMPLIES, OR, AND, CLOSE, END]
_MAY_FOLLOW = np.zeros((UNKNOWN + 1, UNKNOWN + 1), dtype=bool)
_MAY_FOLLOW[np.ix_([EQUIVALENT, IMPLIES, OR, AND, NOT, OPEN], _BEGINS_OPERAND)] = True
_MAY_FOLLOW[np.ix_([*range(len(VARIABLES)), CLOSE], _FOLLOWS_OPERAND)] = True
_MAY_FOLLOW[END, END] = True


def well_formed(codes: Codes) -> Flags:
    """Whether formulae `(n, T)` are well-formed: `(n,)`."""
    n, length = codes.shape
    if length > MAX_SYMBOLS:
        return np.zeros(n, dtype=bool)
    symbols = np.full((length + 2, n), END, dtype=np.int8)
    symbols[0] = OPEN  # what may begin a formula may follow it
    symbols[1:-1] = codes.T
    follows = _MAY_FOLLOW.ravel()[symbols[:-1] * np.int16(len(_MAY_FOLLOW)) + symbols[1:]]
    depth = _depth(symbols[1:])
    return np.logical_and.reduce(follows & (depth >= 0)) & (depth[-1] == 0)


def _depth(columns: Codes) -> NDArray[np.int16]:
    """The number of open parentheses after each symbol, of codes by column: `(T, n)`."""
    return np.cumsum((columns == OPEN).astype(np.int8) - (columns == CLOSE), axis=0, dtype=np.int16)


def _tables(codes: Sequence[int]) -> Tables:
    """Of each code: `TRUE` for these, 0 for the rest."""
    tables = np.zeros(UNKNOWN + 1, dtype=np.uint32)
    tables[codes] = TRUE
    return tables


_VARIABLE = np.zeros(UNKNOWN + 1, dtype=np.uint32)
_VARIABLE[: len(VARIABLES)] = TRUTH_TABLES
_IS_VARIABLE = _tables(range(len(VARIABLES)))
_IS_NOT = _tables([NOT])
_ENDS_CONJUNCTION = _tables([OR, IMPLIES, EQUIVALENT, CLOSE, END])
_ENDS_DISJUNCTION = _tables([IMPLIES, EQUIVALENT, CLOSE, END])
_ENDS_IMPLICATION = _tables([EQUIVALENT, CLOSE, END])
_EMPTY = np.array([[TRUE], [TRUE], [0], [TRUE], [0]], dtype=np.uint32)
"""The state of a parser before the first symbol."""


def truth_tables(codes: Codes) -> Tables:
    """The truth tables `(n,)` of well-formed formulae `(n, T)`, which are read side by side.

    A parser's state is five truth tables: an equivalence of implications, the premises of the last one, a
    disjunction of conjunctions as the last premise or conclusion, the last conjunction, and whether its last
    operand is negated. No operator waits: an implication of several premises follows from their conjunction,
    a > b > c = (a & b) > c. Each open parenthesis keeps the state around it.
    """
    n = len(codes)
    columns = np.full((codes.shape[1] + 1, n), END, dtype=np.int8)
    columns[:-1] = codes.T
    opened = _depth(columns)
    around = np.empty((int(opened.max(initial=0)), 5, n), dtype=np.uint32)
    state = np.repeat(_EMPTY, n, axis=1)
    for symbols, depth in zip(columns, opened, strict=True):
        _end_operands(state, symbols)
        operand = _VARIABLE[symbols]
        is_operand = _IS_VARIABLE[symbols]
        if (rows := np.flatnonzero(symbols == CLOSE)).size:
            operand[rows] = state[0, rows]
            is_operand[rows] = TRUE
            state[:, rows] = around[depth[rows], :, rows].T
        _read_operands(state, operand, is_operand)
        state[4] ^= _IS_NOT[symbols]
        if (rows := np.flatnonzero(symbols == OPEN)).size:
            around[depth[rows] - 1, :, rows] = state[:, rows].T
            state[:, rows] = _EMPTY
    return state[0]


def _end_operands(state: Tables, symbols: Codes) -> None:
    """Add to `state` `(5, n)` what is complete before these symbols `(n,)`."""
    equivalence, premises, disjunction, conjunction, _ = state
    ends = _ENDS_CONJUNCTION[symbols]
    disjunction |= conjunction & ends
    conjunction |= ends
    ends = _ENDS_IMPLICATION[symbols]
    equivalence ^= premises & ~disjunction & ends  # where an implication is false, the equivalence is inverted
    premises |= ends
    ends ^= _ENDS_DISJUNCTION[symbols]
    premises &= disjunction | ~ends
    disjunction &= ~_ENDS_DISJUNCTION[symbols]


def _read_operands(state: Tables, operand: Tables, is_operand: Tables) -> None:
    """Add operands `(n,)` to the conjunctions in `state` `(5, n)`, where `is_operand` `(n,)` is `TRUE`."""
    _, _, _, conjunction, negation = state
    conjunction &= (operand ^ negation) | ~is_operand
    negation &= ~is_operand
