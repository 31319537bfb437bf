"""Other forms of Boolean formulae: canonical, skeleton, operands exchanged, LaTeX, SymPy.

A text that is not well-formed has no other forms; it comes back as it is, or in a typewriter font.
"""

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

from formula_env.checkers.boolean import PRECEDENCE, VARIABLES, parse
from formula_env.checkers.equation_forms import MAX_FORMS
from formula_env.errors import FormulaError

_Operand = tuple[int, str]
"""The precedence of its last operator, and its text."""
_ATOM = len(PRECEDENCE)
_LATEX = {"~": r"\lnot ", "&": r" \land ", "|": r" \lor ", ">": r" \to ", "=": r" \leftrightarrow "}
_ESCAPED = {"~": r"\textasciitilde{}", "&": r"\&", "|": r"\textbar{}", ">": r"\textgreater{}"}


class _Form(NamedTuple):
    """A formula as an operand."""

    precedence: int
    texts: list[str]
    """Of `&`, `|` and `=` the operands, of others the whole formula."""

    def text(self) -> str:
        """The formula, with its operands in order: short ones first, their variables considered last."""
        if len(self.texts) == 1:
            return self.texts[0]
        ordered = sorted(self.texts, key=lambda text: (len(text), _without_names(text), text))
        return _SYMBOLS[self.precedence].join(ordered)

    def inside(self, lowest: int) -> str:
        """The text as an operand, in parentheses if its precedence is lower."""
        return self.text() if self.precedence >= lowest else f"({self.text()})"


_SYMBOLS = {precedence: operator for operator, precedence in PRECEDENCE.items()}


def canonical(formula: str) -> str:
    """The formula with sorted operands of `&`, `|` and `=`, short ones first, and no needless parentheses."""
    try:
        postfix = parse(formula)
    except FormulaError:
        return formula
    operands: list[_Form] = []
    for symbol in postfix:
        if symbol in VARIABLES:
            operands.append(_Form(_ATOM, [symbol]))
        elif symbol == "~":
            precedence = PRECEDENCE["~"]
            operands.append(_Form(precedence, [f"~{operands.pop().inside(precedence)}"]))
        else:
            second, first = operands.pop(), operands.pop()
            operands.append(_combined(symbol, first, second))
    return operands[0].text()


def _combined(operator: str, first: _Form, second: _Form) -> _Form:
    precedence = PRECEDENCE[operator]
    if operator == ">":
        return _Form(precedence, [f"{first.inside(precedence + 1)}>{second.inside(precedence)}"])
    texts = [
        text
        for form in (first, second)
        for text in (form.texts if form.precedence == precedence else [form.inside(precedence + 1)])
    ]
    return _Form(precedence, texts)


def skeleton(formula: str) -> str:
    """The canonical form with `#` in the place of each variable."""
    return _without_names(canonical(formula))


def equal_forms(formula: str) -> list[str]:
    """The formula, and what it becomes where operands of `&`, `|` and `=` change places; none is longer.

    At most `MAX_FORMS` others; a text that is not well-formed has itself alone.
    """
    try:
        postfix = parse(formula)
    except FormulaError:
        return [formula]
    operands: list[list[_Operand]] = []
    for symbol in postfix:
        precedence = PRECEDENCE.get(symbol, _ATOM)
        if symbol in VARIABLES:
            operands.append([(precedence, symbol)])
        elif symbol == "~":
            operands.append([(precedence, f"~{_grouped(form, precedence)}") for form in operands.pop()])
        else:
            second, first = operands.pop(), operands.pop()
            pairs = [*product(first, second), *(product(second, first) if symbol != ">" else ())]
            operands.append([(precedence, _joined(symbol, *pair)) for pair in pairs[:MAX_FORMS]])
    return list(dict.fromkeys([formula, *(text for _, text in operands[0])]))


def _joined(operator: str, first: _Operand, second: _Operand) -> str:
    precedence = PRECEDENCE[operator]
    return f"{_grouped(first, precedence + (operator == '>'))}{operator}{_grouped(second, precedence)}"


def _without_names(text: str) -> str:
    return _replaced(text, dict.fromkeys(VARIABLES, "#"))


def _replaced(text: str, table: Mapping[str, str]) -> str:
    """The text with other ones for some symbols; much faster than `str.translate`."""
    for symbol, other in table.items():
        text = text.replace(symbol, other)
    return text


def to_latex(formula: str) -> str:
    """The formula in LaTeX, for mathematical mode."""
    try:
        parse(formula)
    except FormulaError:
        return "".join([r"\texttt{", _replaced(formula, _ESCAPED), "}"])
    return _replaced("".join(formula.split()), _LATEX)


def to_sympy(formula: str) -> str:
    """The formula as text for SymPy."""
    try:
        postfix = parse(formula)
    except FormulaError:
        return formula
    operands: list[_Operand] = []
    for symbol in postfix:
        precedence = PRECEDENCE.get(symbol, _ATOM)
        if symbol in VARIABLES:
            operands.append((_ATOM, symbol))
        elif symbol == "~":
            operands.append((precedence, f"~{_grouped(operands.pop(), precedence)}"))
        else:
            second, first = operands.pop(), operands.pop()
            operands.append(_sympy_of(symbol, first, second))
    return operands[0][1]


def _sympy_of(operator: str, first: _Operand, second: _Operand) -> _Operand:
    if operator in "&|":
        precedence = PRECEDENCE[operator]
        return precedence, f"{_grouped(first, precedence)} {operator} {_grouped(second, precedence + 1)}"
    name = "Implies" if operator == ">" else "Equivalent"
    return _ATOM, f"{name}({first[1]}, {second[1]})"


def _grouped(operand: _Operand, lowest: int) -> str:
    """The text of an operand, in parentheses if its precedence is lower."""
    precedence, text = operand
    return text if precedence >= lowest else f"({text})"
