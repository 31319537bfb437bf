"""Other forms of identities of calculus: canonical, skeleton, LaTeX, SymPy.

A text that is not well-formed has no other forms; it comes back as it is, or in a typewriter font.
"""

from formula_env.checkers.calculus_syntax import (
    DERIVATIVE,
    FUNCTIONS,
    NEGATE,
    PRECEDENCE,
    Node,
    parse,
    tree,
    write,
    write_formula,
)
from formula_env.errors import FormulaError

# --- canonical form -------------------------------------------------------------------------------------------


def canonical(text: str) -> str:
    """The formula with sorted terms and factors, and without needless parentheses; never longer than the text."""
    return _rewritten(text, hide_numbers=False)


def skeleton(text: str) -> str:
    """The canonical form of the formula with `#` in the place of each number."""
    return _rewritten(text, hide_numbers=True)


def _rewritten(text: str, hide_numbers: bool) -> str:
    try:
        formula = parse(text)
    except FormulaError:
        return text
    sides = (tree(side) for side in (formula.left, formula.right))
    if hide_numbers:
        sides = (_without_numbers(side) for side in sides)
    left, right = map(_canonical, sides)
    return write_formula(left, right, formula.is_integral)


def _without_numbers(node: Node) -> Node:
    if node.symbol.isdigit():
        return Node("#")
    return Node(node.symbol, tuple(map(_without_numbers, node.operands)))


def _canonical(node: Node) -> Node:
    if node.symbol in ("+", "-", NEGATE):
        return _sorted_chain(node, "+", "-")
    if node.symbol in ("*", "/"):
        return _sorted_chain(node, "*", "/")
    return Node(node.symbol, tuple(map(_canonical, node.operands)))


def _sorted_chain(node: Node, symbol: str, inverse: str) -> Node:
    """The sum or product with its parts in order: those that are added or multiplied, then the others."""
    parts: tuple[list[Node], list[Node]] = ([], [])
    _split(node, symbol, inverse, False, parts)
    straight, inverted = (sorted(each, key=write) for each in parts)
    if straight:
        result, *straight = straight
    else:  # only a sum: a product begins with a factor
        first, *inverted = inverted
        result = Node(NEGATE, (first,))
    for part in straight:
        result = Node(symbol, (result, part))
    for part in inverted:
        result = Node(inverse, (result, part))
    return result


def _split(node: Node, symbol: str, inverse: str, is_inverted: bool, parts: tuple[list[Node], list[Node]]) -> None:
    """Add the terms of a sum (or the factors of a product) to the first list, the inverted ones to the second."""
    if node.symbol == NEGATE and inverse == "-":
        _split(node.operands[0], symbol, inverse, not is_inverted, parts)
    elif node.symbol in (symbol, inverse):
        first, second = node.operands
        _split(first, symbol, inverse, is_inverted, parts)
        _split(second, symbol, inverse, is_inverted != (node.symbol == inverse), parts)
    else:
        parts[is_inverted].append(_canonical(node))


# --- LaTeX and SymPy ------------------------------------------------------------------------------------------


def to_latex(text: str) -> str:
    """The formula in LaTeX, for mathematical mode."""
    try:
        formula = parse(text)
    except FormulaError:
        return "".join([r"\texttt{", text.replace("^", r"\^{}"), "}"])
    left, right = tree(formula.left), tree(formula.right)
    if formula.is_integral:
        return rf"\int {_latex_inside(left, 2)}\,dx={_latex(right)}"
    return f"{_latex(left)}={_latex(right)}"


def _latex(node: Node) -> str:
    symbol, operands = node
    if not operands:
        return r"\pi" if symbol == "π" else symbol
    if symbol == NEGATE:
        return f"-{_latex_inside(operands[0], 2)}"
    if symbol == "sqrt(":
        return rf"\sqrt{{{_latex(operands[0])}}}"
    if symbol in FUNCTIONS or symbol == DERIVATIVE:
        name = r"\frac{d}{dx}" if symbol == DERIVATIVE else f"\\{symbol[:-1]}"
        return rf"{name}\left({_latex(operands[0])}\right)"
    first, second = operands
    if symbol == "/":
        return rf"\frac{{{_latex(first)}}}{{{_latex(second)}}}"
    if symbol == "^":
        is_fraction = first.symbol == "/"
        return rf"{_latex_inside(first, 5 if is_fraction else 4)}^{{{_latex(second)}}}"
    precedence = PRECEDENCE[symbol]
    leading = _latex(first) if symbol in "+-" else _latex_inside(first, precedence)
    return leading + (r" \cdot " if symbol == "*" else symbol) + _latex_inside(second, precedence + 1)


def _latex_inside(node: Node, lowest: int) -> str:
    """LaTeX in parentheses if the expression binds less than it must; a fraction's line groups it already."""
    is_grouped = node.symbol == "/" and lowest < 4
    binds = 4 if is_grouped else PRECEDENCE.get(node.symbol, lowest)
    return rf"\left({_latex(node)}\right)" if binds < lowest else _latex(node)


_SYMPY = {"π": "pi", "e": "E"}


def to_sympy(text: str) -> str:
    """The formula as text that `sympy.sympify(..., evaluate=False)` reads; FormulaError if it is not well-formed.

    An integral is compared as a derivative, `Eq(f, Derivative(F, x))`, so that its constant does not matter.
    """
    formula = parse(text)
    left, right = (_sympy(tree(side)) for side in (formula.left, formula.right))
    return f"Eq({left}, Derivative({right}, x))" if formula.is_integral else f"Eq({left}, {right})"


def _sympy(node: Node) -> str:
    symbol, operands = node
    if not operands:
        return _SYMPY.get(symbol, symbol)
    parts = [_sympy(operand) for operand in operands]
    if symbol == NEGATE:
        return f"(-{parts[0]})"
    if symbol == DERIVATIVE:
        return f"Derivative({parts[0]}, x)"
    if symbol in FUNCTIONS:
        return f"{symbol}{parts[0]})"
    return f"({parts[0]}{'**' if symbol == '^' else symbol}{parts[1]})"
