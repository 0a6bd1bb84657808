"""TOML and tables -> validated settings; every fault becomes one ConfigError that names the key and the nearest one."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import ConfigError, nearest
from .fault_words import as_written, in_words


class StrictModel(BaseModel):
    """A table of settings: unknown keys are errors, values do not change after creation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def paths(self) -> dict[str, Path]:
        """The paths that stand in this table itself, by their keys."""
        return {key: value for key, value in self if isinstance(value, Path)}

    def relative_to(self, folder: Path) -> Self:
        """The table with its paths, and those of the tables in it, joined to `folder`; absolute paths stay."""
        return self.model_copy(update={key: _joined(value, folder) for key, value in self})


def _joined(value: Any, folder: Path) -> Any:
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, list):
        return [_joined(inner, folder) for inner in value]
    return value.relative_to(folder) if isinstance(value, StrictModel) else value


Settings = TypeVar("Settings", bound=BaseModel)

MAX_BYTES = 2**20
"""Largest configuration that is read."""


MOST_FAULTS = 8
"""Faults of a configuration that are told at once."""


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError, for a syntax error with its line."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        tables = tomllib.loads(content.decode("utf-8"))
        _require_usable(tables)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file. Check the path of the configuration.") from None
    except RecursionError:
        raise ConfigError(f"{path}: not a readable TOML file: its values lie too deep in each other") from None
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}. It must be a file that this user may read."
        ) from None
    except ValueError as error:  # for TOML, UTF-8 and numbers alike
        hint = '. A text stands in quotes: path = "model.onnx"' if str(error).startswith("Invalid value") else ""
        raise ConfigError(f"{path}: not a readable TOML file: {error}{hint}") from error
    return tables


def _require_usable(value: Any) -> None:
    """Raise ValueError for what TOML does not promise, whole numbers beyond 64 bits, and what no system call takes."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _require_usable(key)
            _require_usable(inner)
    elif isinstance(value, list):
        for inner in value:
            _require_usable(inner)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number beyond 64 bits")
    elif isinstance(value, str) and "\0" in value:
        raise ValueError("a text with the character U+0000")


def validate(settings: type[Settings], raw: dict[str, Any], *, origin: str) -> Settings:
    """`raw` as `settings`. Raises ConfigError, naming `origin` and the first faults, one a line.

    A number stands as a number, true and false as themselves: one in the place of the other, or either in quotes, is
    a fault, which pydantic would take.
    """
    try:
        made = settings.model_validate(raw)
    except ValidationError as error:
        # A value that may be of several types has a fault for each; they stand in one line.
        merged: dict[tuple[str, str], dict[str, None]] = {}
        for fault in error.errors():
            before, words, given = _describe(settings, raw, dict(fault))
            merged.setdefault((before or words, given), {})[words if before else ""] = None
        lines = [before + " or ".join(words) + given for (before, given), words in merged.items()]
        if len(lines) > MOST_FAULTS:
            lines = [*lines[:MOST_FAULTS], f"and {len(lines) - MOST_FAULTS} more"]
        raise ConfigError(f"{origin}: " + "\n  ".join(lines)) from error
    converted = [
        f"{_place(raw, location)}: must be {'true or false' if isinstance(value, bool) else 'a number'} "
        f"(given: {as_written(given)})"
        for location, given, value in _converted(raw, made)
    ]
    if converted:
        raise ConfigError(f"{origin}: " + "\n  ".join(converted[:MOST_FAULTS]))
    return made


def _converted(raw: Any, made: Any, location: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """Where, what was given and what it became: numbers and truth values that were written as something else."""
    if isinstance(raw, dict):
        table = made[0] if isinstance(made, list) else made
        names: dict[str, str] = {
            field.alias or name: name for name, field in getattr(type(table), "model_fields", {}).items()
        }
        for key, given in raw.items():
            name = names.get(str(key), str(key))
            value = table.get(key) if isinstance(table, dict) else getattr(table, name, None)
            yield from _converted(given, value, (*location, key))
    elif isinstance(raw, list) and isinstance(made, list | tuple):
        for index, (given, value) in enumerate(zip(raw, made, strict=False)):
            yield from _converted(given, value, (*location, index))
    elif isinstance(made, int | float) and (isinstance(raw, str) or isinstance(raw, bool) != isinstance(made, bool)):
        yield location, raw, made


def _describe(settings: type[BaseModel], raw: dict[str, Any], fault: dict[str, Any]) -> tuple[str, str, str]:
    """The fault in words: the key, what is wrong, and what was given."""
    location = _written(raw, [part for part in fault["loc"] if not str(part).startswith("function-")])
    plain = _without_tags(raw, location)
    name = _place(raw, plain)
    listed = any(isinstance(part, int) for part in plain)  # a key of one of several tables: which one, comes first
    owner, key = (f"{_place(raw, plain[:-1])}: ", plain[-1]) if listed else ("", name)
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _keys_beside(settings, [str(part) for part in location])
        return "", f"{owner}unknown key '{key}'.{nearest(str(location[-1]), known)} Known here: {', '.join(known)}", ""
    if fault["type"] == "missing":
        return "", f"{owner}the key '{key}' is missing", ""
    if fault["type"] == "union_tag_invalid":
        tag, known = fault["ctx"]["tag"], fault["ctx"]["expected_tags"].replace("'", "").split(", ")
        return f"{name}: ", f"there is no kind '{tag}'.{nearest(tag, known)} Kinds: {', '.join(known)}", ""
    if fault["type"] == "union_tag_not_found":
        where, key = (f"{name}: ", "kind") if listed else ("", f"{name}.kind")
        return "", f"{where}the key '{key}' is missing: it says of what kind the {location[0]} is", ""
    given = fault.get("input")
    shown = "" if isinstance(given, dict) else f" (given: {as_written(given)})"
    return f"{name}: " if name else "", in_words(fault, plain), shown if name else ""


def _place(raw: Any, location: Sequence[Any]) -> str:
    """`location` for people: a table by its name, or like an entry of another list counted from 1."""
    place = ""
    for part in location:
        if isinstance(raw, list) and not isinstance(part, int):
            continue  # what pydantic calls a kind of value, and no place
        raw = raw.get(part) if isinstance(raw, dict) else raw[part] if isinstance(raw, list) else None
        if not isinstance(part, int):
            place += f".{part}" if place else str(part)
        elif isinstance(raw, dict):
            name = raw.get("name")
            place += f" '{name}'" if name and isinstance(name, str) else f" {part + 1}"
        else:
            place += f", entry {part + 1}"
    return place


def _written(raw: Any, location: list[Any]) -> list[Any]:
    """`location` without the list indexes that the file does not have, where a lone table stands for a list of one."""
    kept = []
    for part in location:
        if isinstance(part, int) and isinstance(raw, dict):
            continue
        kept.append(part)
        if isinstance(raw, dict):
            raw = raw.get(part)
        elif isinstance(raw, list) and isinstance(part, int):
            raw = raw[part]
    return kept


def _without_tags(raw: Any, location: list[Any]) -> list[Any]:
    """`location` without the parts that no file has: a table's kind, and the types of which a value may be one."""
    kept = []
    for part in location:
        if not isinstance(raw, dict | list) or (isinstance(raw, dict) and part not in raw and raw.get("kind") == part):
            continue
        kept.append(part)
        raw = raw.get(part, {}) if isinstance(raw, dict) else raw[part] if isinstance(part, int) else {}
    return kept


def _keys_beside(settings: type[BaseModel], location: list[str]) -> list[str]:
    """The known keys of the table in which `location`'s last part stands."""
    table: Any = settings
    for part in location[:-1]:
        known = _fields(table)
        if part in known:
            table = _table_of(known[part])
        else:  # a list index, or the tag of a union that names one of its members
            table = next((t for t in _members(table) if part in _tags(t)), table)
    return sorted({key for member in _members(table) for key in _fields(member)})


def _fields(table: Any) -> dict[str, Any]:
    """Names, as a file writes them, and types of the fields of a pydantic model or of a dataclass."""
    if is_dataclass(table):
        return {field.name: field.type for field in fields(table)}
    return {field.alias or name: field.annotation for name, field in getattr(table, "model_fields", {}).items()}


def _table_of(annotation: Any) -> Any:
    """The table type(s) inside an annotation such as `list[T]`, `T | None` or a union."""
    inner = [_table_of(argument) for argument in getattr(annotation, "__args__", ())]
    tables = [t for t in inner if t is not None]
    if tables:
        return tables[0] if len(tables) == 1 else tuple(tables)
    is_table = isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation))
    return annotation if is_table else None


def _members(table: Any) -> tuple[Any, ...]:
    return table if isinstance(table, tuple) else (table,)


def _tags(table: Any) -> tuple[Any, ...]:
    """The values of a table's `kind`, by which a union tells its members apart."""
    return getattr(_fields(table).get("kind"), "__args__", ())
