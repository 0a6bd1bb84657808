"""Why a value of a configuration is refused, in words of our own: what must stand there. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_TABLE = "must be a table, [{table}] with its keys below it"
_WORDS = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be a text in quotes",
    "path_type": "must be a path, a text in quotes",
    "list_type": "must be a list in square brackets",
    "tuple_type": "must be a list in square brackets",
    "dict_type": _TABLE,
    "model_type": _TABLE,
    "model_attributes_type": _TABLE,
    "dataclass_type": _TABLE,
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "string_pattern_mismatch": "must have the form {pattern} (a regular expression)",
    "literal_error": "must be {expected}",
}
"""By pydantic's type of the fault; `table` is where the key stands, the rest the fault's context."""


def in_words(fault: dict[str, Any], location: Sequence[Any]) -> str:
    """What the value at `location`, keys and indexes, must be, for one of pydantic's faults."""
    words = _WORDS.get(fault["type"])
    if words is None:
        message: str = fault["msg"].removeprefix("Value error, ")
        return message.replace("Input should be", "must be")
    context = fault.get("ctx", {})
    if context.get("min_length") == 1:
        return "must not be empty"
    if fault["type"] == "list_type" and len(location) == 1:  # a list of tables, of which one may stand alone
        words = _TABLE
    return words.format(table=".".join(part for part in location if isinstance(part, str)), **context)


def as_written(value: Any) -> str:
    """A value about as it stands in a TOML file."""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str | int | float | list) else str(value)
