"""Lines of CSV -> rows of the model's channels, for every source that writes text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import DataError
from ..reading.decimals import DecimalMark
from ..reading.tables import sniff_delimiter
from ..reading.time_stamps import is_time_label

MAX_LINE_BYTES = 1_000_000
_PLACE = re.compile(r"column \d+")


@dataclass(frozen=True)
class CsvRow:
    """One line."""

    values: list[float]
    """Of the model's channels, in its order."""
    time: str = ""
    """What stands in the time column; empty without one, and in a row that cannot be read."""
    fault: str = ""
    """Which line and column could not be read, and why; empty where all could, or a value is missing."""


@dataclass(frozen=True)
class _Layout:
    """What a header, or the first line of numbers, says of the lines below it."""

    delimiter: str
    labels: list[str]
    """Of all columns; empty without a header."""
    width: int
    columns: list[int]
    """Of the model's channels, in its order."""
    time_at: int | None

    @property
    def order(self) -> str:
        """For people."""
        return ", ".join(self.labels) or "without names, in the model's order"


class CsvReader:
    """Lines of comma, semicolon or tab separated numbers, cut anywhere -> rows.

    A first line of text is a header, from which the model's channels are picked by name, as from a file; one that does
    not name them all, in their unit where that stands in the name, is refused. Without a header, or for channels that
    have places for names ("column 1"), the columns must be the model's channels in order. A later line of names is a
    header again, from which on the columns are those that it names; after one that is refused no line is a row before a
    header that fits. A cell that is not a number, and a row of another length, become NaN: the windows with it are a
    fault of the source, and monitoring goes on.
    """

    def __init__(self, channel_names: list[str], *, tell: Callable[[str], None], time_column: str = "none") -> None:
        """`time_column`: its name or its position from 1, or "none". `tell` logs a change of the columns."""
        self._channel_names = channel_names
        self._time_column = time_column
        self._tell = tell
        self._pending = b""
        self._layout: _Layout | None = None
        self._decimals = DecimalMark(",")
        self._refusal = ""
        """Why the newest header cannot be used; empty where it can."""
        self._lines = 0
        named_time = [] if time_column == "none" else [time_column]
        self._wanted_names = {name for name in [*channel_names, *named_time] if not is_number(name)}

    def rows(self, data: bytes) -> list[CsvRow]:
        """The rows that `data` completes. Raises DataError if the first line, or the newest header, cannot be used."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        if len(self._pending) > MAX_LINE_BYTES:
            lines, self._pending = [*lines, self._pending], b""
        rows = [row for line in lines if (row := self._row(line)) is not None]
        if self._refusal and not rows:
            raise DataError(self._refusal)
        return rows

    def _row(self, line: bytes) -> CsvRow | None:
        """One line; None for an empty one, for a header, and below a header that was refused."""
        self._lines += 1
        text = line.decode("utf-8", errors="replace").strip("\r \ufeff")
        if not text:
            return None
        if self._is_known_header(text):
            return self._take_header(text)
        if self._refusal:
            return None
        if self._layout is None:
            cells = _cells(text, sniff_delimiter(text))
            if self._is_header(cells, self._choose_time(cells)):
                return self._take_header(text)
            self._take(self._layout_of(text, has_header=False))
        return self._read(text)

    def _take_header(self, text: str) -> CsvRow | None:
        """Go on with its columns. One that does not fit below rows is a row of NaN."""
        before, below_rows = self._layout, self._layout is not None and not self._refusal
        try:
            layout = self._layout_of(text, has_header=True)
        except DataError as error:
            self._refusal = str(error)
            fault = f"{self._place} is a header that does not fit: {error}"
            return CsvRow([math.nan] * len(self._channel_names), fault=fault) if below_rows else None
        self._take(layout)
        if before is not None and before.labels != layout.labels:
            self._tell(f"{self._place} is another header: columns were {before.order}; now they are {layout.order}")
        return None

    def _take(self, layout: _Layout) -> None:
        self._layout, self._refusal = layout, ""
        self._decimals = DecimalMark(layout.delimiter)

    def _layout_of(self, text: str, *, has_header: bool) -> _Layout:
        delimiter = sniff_delimiter(text)
        cells = _cells(text, delimiter)
        time_at = self._choose_time(cells)
        columns = self._choose_columns(cells, has_header, time_at)
        return _Layout(delimiter, _labels(cells) if has_header else [], len(cells), columns, time_at)

    def _is_known_header(self, text: str) -> bool:
        """The line has a wanted name or one of the header before, and no numbers but those that are names."""
        labels = _labels(_cells(text, sniff_delimiter(text)))
        if self._wanted_names.isdisjoint(labels) and (self._layout is None or labels != self._layout.labels):
            return False
        known = [*self._channel_names, *([] if self._layout is None else self._layout.labels)]
        return all(label in known or not label for label in labels if _is_meant_as_number(label))

    def _read(self, text: str) -> CsvRow:
        layout = self._layout
        assert layout is not None, "the first line comes first"
        cells = _cells(text, layout.delimiter)
        if len(cells) != layout.width:
            fault = f"{self._place} has {len(cells)} columns, the first has {layout.width}: '{text[:60]}'"
            return CsvRow([math.nan] * len(layout.columns), fault=fault)
        time = "" if layout.time_at is None else cells[layout.time_at]
        values = [self._decimals.number(cells[column]) for column in layout.columns]
        return CsvRow(values, time, self._fault_of(cells, layout.columns, values))

    @property
    def _place(self) -> str:
        return f"line {self._lines} of those read"

    def _fault_of(self, cells: list[str], columns: list[int], values: list[float]) -> str:
        """Where the first of the model's cells that holds no number stands; `values`: what they were read as."""
        for column, name, value in zip(columns, self._channel_names, values, strict=True):
            cell = cells[column]
            if math.isnan(value) and not is_missing(cell):
                mark = {".": "point", ",": "comma"}.get(self._decimals.mark, "")
                hint = f" Numbers before it have a decimal {mark}." if _is_meant_as_number(cell) else ""
                return f"{self._place}, column {column + 1} ({name}): '{cell[:40]}' is no number.{hint}"
        return ""

    def _choose_time(self, cells: list[str]) -> int | None:
        if self._time_column == "none":
            return None
        if self._time_column in (labels := _labels(cells)):
            return labels.index(self._time_column)
        if self._time_column.isdecimal() and 1 <= int(self._time_column) <= len(cells):
            return int(self._time_column) - 1
        raise DataError(
            f"the first line of the CSV has {len(cells)} columns ({', '.join(cells[:8])}), and none of them is "
            f"time_column = '{self._time_column}'. Give its name in the header, or its position from 1."
        )

    def _is_header(self, cells: list[str], time_at: int | None) -> bool:
        """The first line names columns. Numbers may be names; a measurement among words is a row that went wrong."""
        labels = _labels(cells)
        if self._time_column in labels or self._names_all(labels):
            return True
        others = [cell for i, cell in enumerate(cells) if i != time_at]
        numbers = [cell for cell in others if _is_meant_as_number(cell)]
        return len(numbers) < len(others) and all(cell.isdecimal() or not cell for cell in numbers)

    def _names_all(self, labels: list[str]) -> bool:
        return all(name in labels for name in self._channel_names)

    def _choose_columns(self, cells: list[str], has_header: bool, time_at: int | None) -> list[int]:
        labels = _labels(cells)
        twice = [name for name in self._channel_names if labels.count(name) > 1]
        if twice:
            raise DataError(
                f"{labels.count(twice[0])} columns of the CSV are called '{twice[0]}': give each its own name"
            )
        if self._names_all(labels):
            return [labels.index(name) for name in self._channel_names]
        others = [i for i in range(len(cells)) if i != time_at]
        by_place = not has_header or all(map(_PLACE.fullmatch, self._channel_names))
        if by_place and len(others) == len(self._channel_names):
            return others
        if not by_place:
            absent = [name for name in self._channel_names if name not in labels]
            raise DataError(
                f"the header of the CSV names {len(labels)} columns ({', '.join(labels[:8])}), the model takes "
                f"{len(self._channel_names)} ({', '.join(self._channel_names)}), and '{absent[0]}' is not among them: "
                "another name may be another quantity or unit. Send a header with the model's names, in any order; or "
                "say in [[source]] which columns they are: channels, by name, or by place from 0."
            )
        beside = "" if time_at is None else " beside the time"
        times = [cell for cell in cells if is_time_label(cell)] if time_at is None else []
        hint = f" csv_tail leaves out a column of times that is named: time_column = '{times[0]}'." if times else ""
        if len(cells) == 2 * len(self._channel_names) and all(map(is_number, cells)):
            hint = " Decimal commas? Then separate the columns by semicolons or tabs, or write decimal points."
        raise DataError(
            f"the first line of the CSV has {len(cells)} columns ({', '.join(cells[:8])}), but the model takes "
            f"{len(self._channel_names)}{beside} ({', '.join(self._channel_names)}). "
            f"Send a header line with these names, or these columns alone.{hint}"
        )


def _cells(text: str, delimiter: str) -> list[str]:
    return [cell.strip(' "') for cell in text.split(delimiter)]


def _labels(cells: list[str]) -> list[str]:
    return [cell.strip("#\" '") for cell in cells]


def _is_meant_as_number(cell: str) -> bool:
    return is_number(cell) or is_number(cell.replace(",", ".", 1))


def number(cell: str) -> float:
    """The number in `cell`, or NaN."""
    try:
        return float(cell)
    except ValueError:
        return math.nan


def is_number(cell: str) -> bool:
    """True for a number, and for what stands for a missing one."""
    return is_missing(cell) or not math.isnan(number(cell))


def is_missing(cell: str) -> bool:
    """True for what stands where a number is missing."""
    return cell == "" or cell.lower() == "nan"
