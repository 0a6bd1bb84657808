"""CSV time series -> blocks of rows, with the line number of whatever is wrong."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from ..errors import nearest
from .decimals import DECIMAL_COMMA, DecimalMark, with_point
from .recording_types import RecordingError, operating_system_faults
from .time_stamps import guess_unit, is_time_label, parse_stamp, parse_stamps, unit_of_label
from .timeline import IGNORE_TIMES

_STAMP_ROWS = 50_000
_COMMA_TO_POINT = str.maketrans({",": ".", ".": "?"})
_PLAIN_INTEGER = re.compile(r"[+-]?\d+")
# '1,05' read with a comma between columns: the second one begins with a zero that no number needs.
_DECIMAL_COMMAS = re.compile(r"(?:^|,)[ ]*[+-]?\d+,0\d+[ ]*(?:,|\r?$)", re.MULTILINE)


@dataclass(frozen=True)
class TableHeader:
    """How the rows of a table are laid out, and which of its columns are the channels."""

    delimiter: str
    header_lines: int
    """0 or 1."""
    cells: int
    """Columns of every row, whether they are channels or not."""
    positions: tuple[int, ...]
    """0-based column of each channel."""
    names: tuple[str, ...]
    """Name of each channel: from the header, or 'column 1', ..."""
    time_position: int | None = None
    """0-based column of the rows' times."""
    time_unit: str | None = None
    """Unit of times that are plain numbers; None for the others."""


def sniff_delimiter(line: str) -> str:
    """A tab if the line has one, else ';' if it has one, else ','. A decimal comma so never separates columns there."""
    return next((delimiter for delimiter in "\t;" if delimiter in line), ",")


def read_table_header(path: Path, channels: tuple[str, ...], time_column: str = "none") -> TableHeader:
    """Layout of the table at `path`, with `channels` by name or 1-based position; () takes all but the times.

    `time_column` as in TableFormat; a leading column of times is no channel, even where its times are not used. The
    first line is a header if it holds text and is not laid out like the second. Raises RecordingError for a file
    without rows, for channels that are not there, and for columns without numbers among those taken.
    """
    with operating_system_faults(path), _open(path) as file:
        if "\0" in file.read(4096):
            raise RecordingError(path, "unreadable: it is not a text file in UTF-8. Save it as CSV in UTF-8.")
        file.seek(0)
        lines = list(islice(((number, line) for number, line in enumerate(file, start=1) if not line.isspace()), 2))
    if not lines:
        raise RecordingError(path, "empty: the file has no rows")
    delimiter = sniff_delimiter(lines[0][1])
    rows = [_split(line, delimiter) for _, line in lines]
    if delimiter != ",":
        rows = [list(map(with_point, row)) for row in rows]
    has_header = _is_header(rows[0], rows[1] if len(rows) > 1 else [])
    if has_header and len(rows) == 1:
        raise RecordingError(path, "empty: there is a header and no row below it")
    labels = [cell.strip("#\" '") for cell in rows[0]] if has_header else [""] * len(rows[0])
    names = [label or f"column {i + 1}" for i, label in enumerate(labels)]
    leading = len(names) > 1 and (
        _is_calendar_time(rows[has_header][0]) or (has_header and (not labels[0] or is_time_label(labels[0])))
    )
    time_position: int | None = None
    if time_column == "auto":
        # A nameless leading column is the index that pandas writes: of times, or a mere count.
        time_position = 0 if leading and (labels[0] or not _is_number(rows[has_header][0])) else None
    elif time_column != "none":
        time_position = _position(path, time_column, names)
    if channels:
        positions = [_position(path, channel, names) for channel in channels]
    else:
        positions = [i for i in range(len(names)) if i != time_position and (i or not leading)]
        if not positions:
            raise RecordingError(path, "there is no column beside that of the times")
    time_cell = "" if time_position is None else "".join(rows[has_header][time_position : time_position + 1])
    if len(rows[has_header]) == len(names):  # a ragged row is named where the rows are read
        _check_columns_are_numeric(path, rows[has_header], lines[has_header][0], positions, names)
    return TableHeader(
        delimiter,
        int(has_header),
        len(names),
        tuple(positions),
        tuple(names[i] for i in positions),
        time_position,
        None if time_position is None else _time_unit(names[time_position], time_cell),
    )


def count_rows(path: Path, header: TableHeader) -> int:
    """Number of rows below the header; empty lines do not count."""
    with operating_system_faults(path), path.open("rb") as file:
        return sum(1 for line in file if not line.isspace()) - header.header_lines


def table_blocks(
    path: Path, header: TableHeader, *, block_rows: int, first_row: int = 0, end_row: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """Rows [first_row, end_row) of `path` in blocks [n <= block_rows, channels]; fewer if the file has fewer.

    Raises RecordingError, with the line number, for a row with another number of columns and for a cell that is not a
    finite number.
    """
    with operating_system_faults(path), _open(path) as file:
        rows = ((number, line) for number, line in enumerate(file, start=1) if not line.isspace())
        wanted = islice(
            rows, first_row + header.header_lines, None if end_row is None else end_row + header.header_lines
        )
        mark = "." if header.delimiter == "," else ""
        while block := list(islice(wanted, block_rows)):
            numbers, lines = zip(*block, strict=True)
            parsed, mark = _parse(path, header, list(lines), list(numbers), mark)
            yield parsed


def table_stamps(path: Path, header: TableHeader) -> Iterator[NDArray[np.int64]]:
    """The times of all rows of `path` in blocks [n], nanoseconds. Raises RecordingError, with the line, for no time."""
    assert header.time_position is not None
    position = header.time_position
    with operating_system_faults(path), _open(path) as file:
        rows = ((number, line) for number, line in enumerate(file, start=1) if not line.isspace())
        wanted = islice(rows, header.header_lines, None)
        while block := list(islice(wanted, _STAMP_ROWS)):
            try:
                cells = [line.split(header.delimiter, position + 1)[position].strip("\" '\r\n") for _, line in block]
                yield parse_stamps(cells, header.time_unit)
            except (ValueError, IndexError) as error:
                raise _bad_stamp(path, header, block) from error


def _bad_stamp(path: Path, header: TableHeader, block: list[tuple[int, str]]) -> RecordingError:
    """The error for the first line of `block` without a time."""
    assert header.time_position is not None
    for number, line in block:
        cells = _split(line, header.delimiter)
        _check_cells(path, header, cells, number)
        try:
            parse_stamp(cells[header.time_position], header.time_unit)
        except ValueError:
            return RecordingError(
                path,
                f"line {number}: '{cells[header.time_position]}' is no time. ISO 8601 (2026-03-09 10:14:33.250) or a "
                "number of seconds, within 146 years of 1970, can be read; a column's name may say another unit "
                f"(time_ms). {IGNORE_TIMES}",
            )
    return RecordingError(path, f"lines {block[0][0]} to {block[-1][0]} have times that cannot be read")


def _time_unit(name: str, cell: str) -> str | None:
    return unit_of_label(name) or (guess_unit(Decimal(cell)) if _is_number(cell) else None)


def _open(path: Path) -> TextIO:
    # Only names can hold bytes that are not UTF-8 (a degree sign from an old program); numbers cannot.
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def _split(line: str, delimiter: str) -> list[str]:
    try:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
    except csv.Error:  # a cell of more than 128 KiB
        cells = line.split(delimiter)
    return [cell.strip() for cell in cells]


def _parse(
    path: Path, header: TableHeader, lines: list[str], numbers: list[int], mark: str
) -> tuple[NDArray[np.float32], str]:
    """The channels of `lines` [lines, channels], and what stands before decimals, which `mark` says where it is known.

    `numbers` are the lines' numbers in the file.
    """
    for line, number in zip(lines, numbers, strict=True):
        if line.count('"') % 2:
            raise RecordingError(path, f"line {number} has a quote that is not closed")
        if line.count(header.delimiter) != header.cells - 1:
            _check_cells(path, header, _split(line, header.delimiter), number)
    if header.delimiter == "," and not header.header_lines:
        _refuse_decimal_commas(path, lines, numbers)
    block = _numbers(header, lines) if mark != "," else None
    if block is not None and not mark and (block % 1 != 0).any():
        mark = "."
    if block is None and mark != ".":
        # With the other mark as in '1.452', one thousand and more, a cell is no number.
        block, mark = _numbers(header, [line.translate(_COMMA_TO_POINT) for line in lines]), ","
    if block is None or len(block) != len(lines):
        raise _bad_cell(path, header, lines, numbers, mark)
    with np.errstate(over="ignore"):  # a number beyond float32 becomes inf, which is refused
        narrow = block.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise _bad_cell(path, header, lines, numbers, mark)
    return narrow, mark


def _numbers(header: TableHeader, lines: list[str]) -> NDArray[np.float64] | None:
    """The channels of `lines` [lines, channels]; None where a cell is no number."""
    try:
        return np.loadtxt(
            lines,
            dtype=np.float64,
            delimiter=header.delimiter,
            usecols=header.positions,
            comments=None,
            quotechar='"',
            ndmin=2,
        )
    except ValueError:
        return None


def _check_cells(path: Path, header: TableHeader, cells: list[str], number: int) -> None:
    if len(cells) != header.cells:
        content = header.delimiter.join(cells)
        shown = content if len(content) <= 60 else f"{content[:57]}..."
        raise RecordingError(
            path, f"line {number} has {len(cells)} columns, the first line has {header.cells}: '{shown}'"
        )


def _refuse_decimal_commas(path: Path, lines: list[str], numbers: list[int]) -> None:
    """Without a header, '1,05' for 1.05 would be two columns, and nothing else would show it."""
    if not _DECIMAL_COMMAS.search("".join(lines)):
        return
    number = next(n for line, n in zip(lines, numbers, strict=True) if _DECIMAL_COMMAS.search(line))
    raise RecordingError(
        path,
        f"line {number} looks like numbers with a decimal comma, which would be read as two columns. "
        "Save the file with decimal points, or give it a line of column names.",
    )


def _bad_cell(path: Path, header: TableHeader, lines: list[str], numbers: list[int], mark: str) -> RecordingError:
    """The error for the first cell that is not a finite number, with `mark` before its decimals."""
    decimals = DecimalMark(header.delimiter)
    decimals.mark = mark
    for line, number in zip(lines, numbers, strict=True):
        cells = _split(line, header.delimiter)
        _check_cells(path, header, cells, number)
        for position, name in zip(header.positions, header.names, strict=True):
            cell = cells[position]
            value = decimals.number(cell)
            with np.errstate(over="ignore"):
                if np.isfinite(np.float32(value)):
                    continue
            if not np.isnan(value) or (_is_number(cell) and np.isnan(float(cell))):
                return RecordingError(path, f"non-finite: line {number}, {name}: '{cell}'")
            return RecordingError(path, f"line {number}, {name}: '{cell}' is not a number.{_hint(cell, decimals.mark)}")
    return RecordingError(path, f"lines {numbers[0]} to {numbers[-1]} cannot be read as numbers")


def _hint(cell: str, mark: str) -> str:
    if not cell:
        return " Fill the gap or leave the row out."
    if _is_number(cell) and mark == ",":
        return " Others have a decimal comma, so this point may separate thousands: write all decimals alike."
    return " Write numbers with a decimal point." if DECIMAL_COMMA.fullmatch(cell) else ""


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _is_calendar_time(cell: str) -> bool:
    """True for a date with a time of day, or a time of day; not for numbers, whatever they may count."""
    if _is_number(cell) or not cell:
        return False
    try:
        parse_stamp(cell, None)
    except (ValueError, ArithmeticError):
        return False
    return True


def _is_header(first: list[str], second: list[str]) -> bool:
    """True if the row `first` names columns; a row of data may hold text as well, for instance a time of day."""
    numeric = [_is_number(cell) or bool(DECIMAL_COMMA.fullmatch(cell)) for cell in first]
    if not any(cell and not number for cell, number in zip(first, numeric, strict=True)):
        return False
    if not any(numeric):
        return True
    if first[0] and is_time_label(first[0]):
        return True
    all_integers = all(_PLAIN_INTEGER.fullmatch(cell) for cell, number in zip(first, numeric, strict=True) if number)
    return all_integers and numeric != [_is_number(cell) for cell in second]


def _position(path: Path, channel: str, names: list[str]) -> int:
    if names.count(channel) > 1:
        raise RecordingError(path, f"{names.count(channel)} columns are called '{channel}': choose one by its position")
    if channel in names:
        return names.index(channel)
    if channel.isdecimal():
        if 1 <= int(channel) <= len(names):
            return int(channel) - 1
        raise RecordingError(path, f"there is no column {channel}, the file has {len(names)}")
    raise RecordingError(
        path, f"there is no column '{channel}'.{nearest(channel, names)} The columns are {', '.join(names)}."
    )


def _check_columns_are_numeric(path: Path, row: list[str], number: int, positions: list[int], names: list[str]) -> None:
    """`row` is the first row of data, `number` its line in the file."""
    text = [names[i] for i in positions if row[i] and not _is_number(row[i])]
    if not text:
        return
    cells = ", ".join(f"'{row[i]}'" for i in positions if row[i] and not _is_number(row[i]))
    others = [names[i] for i in positions if _is_number(row[i])]
    times = [names[i] for i in positions if _is_calendar_time(row[i])]
    choose = f" Choose the channels, for instance {', '.join(others[:5])}." if others else ""
    if times:
        choose = (
            f" {times[0]} holds the times of the rows: say so by --set {shlex.quote(f'data.time_column={times[0]}')} "
            f"(dasvdd-train) or --time-column {shlex.quote(times[0])} (dasvdd-monitor score)."
        )
    elif any(DECIMAL_COMMA.fullmatch(row[i]) for i in positions):
        choose = " Write numbers with a decimal point."
    raise RecordingError(path, f"no numbers in {', '.join(text)} (line {number} holds {cells}).{choose}")
