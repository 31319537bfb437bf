"""Tables of a `study.toml` as dataclasses: an unknown key is refused, with the name that may be meant."""

from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from formula_env.errors import FormulaError
from formula_env.suggestions import unknown


def build(where: str, cls: Any, table: Any) -> Any:
    """The dataclass of a table. Raises FormulaError naming the place and the key that is wrong."""
    if not isinstance(table, dict):
        raise FormulaError(f"{where} must be a table")
    check_keys(where, table, [field.name for field in fields(cls)])
    for field in fields(cls):
        if field.name not in table and field.default is MISSING and field.default_factory is MISSING:
            raise FormulaError(f"{where} lacks the key {field.name!r}")
    hints = get_type_hints(cls)
    values = {key: build_all(f"{where}, {key}", hints[key], value) for key, value in table.items()}
    try:
        return cls(**values)
    except FormulaError as error:
        raise FormulaError(f"{where}: {error}") from None


def build_all(where: str, hint: Any, value: Any) -> Any:
    """The dataclasses of a list of tables, if the type hint asks for such a list; else the value as it is."""
    item = get_args(hint)[0] if get_origin(hint) is list else None
    if not is_dataclass(item):
        return value
    if not isinstance(value, list):
        raise FormulaError(f"{where} must be a list of tables")
    return [build(f"{where} {i}", item, table) for i, table in enumerate(value)]


def check_keys(where: str, table: dict[str, Any], known: Iterable[str]) -> None:
    """Raise FormulaError for a key that is not known."""
    names = list(known)
    for key in table:
        if key not in names:
            raise FormulaError(unknown("key", key, names, where))
