"""AWID 3: folders of CSV files, one an attack; a label column, fields that are no numbers, columns that never change.

`1.Deauth/Deauth_0.csv` and so on: 254 fields of a captured frame and `Label`, `Normal` or the attack's name. The files
hold tens of millions of rows, so a fixed sample is drawn; only what it draws is parsed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .split import DataFileError, DataSetMissing, LabelledRows

PUBLISHED = "https://icsdweb.aegean.gr/awid/awid3"
LABEL = "Label"
NORMAL = "normal"
ROWS_OF_EACH = 50_000
"""Normal rows, and as many anomalous ones, that are drawn."""
LEFT_OUT = re.compile(r"frame\.(number|time.*)")
"""Fields that say when a frame was captured, and so which attack was running, instead of what it is."""
HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]+")


def load_awid3(folder: Path, *, rows_of_each: int = ROWS_OF_EACH) -> LabelledRows:
    """A sample of normal and anomalous rows from all CSV files in and under `folder`.

    Kept are the columns that are numbers, decimal or 0x..., wherever they are filled, and that are not the same in
    every row; an empty cell, a field that the frame does not have, counts as 0. Raises DataSetMissing or DataFileError.
    """
    files = sorted(folder.rglob("*.csv"))
    if not files:
        raise DataSetMissing("awid3", wanted="<n>.<attack>/<attack>_<n>.csv", folder=folder, published=PUBLISHED)
    header = _header(files[0])
    samples = {True: _Reservoir(rows_of_each), False: _Reservoir(rows_of_each)}
    for path in files:
        if _header(path) != header:
            raise DataFileError(path, f"its columns are not those of {files[0].name}")
        for line_number, line, label in _lines(path, header):
            samples[label.lower() == NORMAL].offer((path, line_number, line))
    for is_normal, sample in samples.items():
        if not sample.kept:
            raise DataFileError(folder, f"no {'normal' if is_normal else 'anomalous'} row in {len(files)} CSV files")
    normal, anomalous = (_numbers(samples[kind].kept, len(header)) for kind in (True, False))
    return _select(header, normal, anomalous, files[0])


class _Reservoir:
    """A uniform sample of at most `size` of the items that it is offered; the same ones every time."""

    def __init__(self, size: int) -> None:
        self.kept: list[tuple[Path, int, str]] = []
        self._size = size
        self._seen = 0
        self._random = np.random.default_rng(0)

    def offer(self, item: tuple[Path, int, str]) -> None:
        self._seen += 1
        if len(self.kept) < self._size:
            self.kept.append(item)
        elif (place := int(self._random.integers(self._seen))) < self._size:
            self.kept[place] = item


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header = next(csv.reader(file), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataFileError(path, f"not a CSV file ({error})") from error
    if not header or header[-1] != LABEL:
        raise DataFileError(path, f"its last column should be '{LABEL}' and is {header[-1:]}")
    return header


def _lines(path: Path, header: list[str]) -> Iterator[tuple[int, str, str]]:
    """Line number, line and label of each row. Raises DataFileError for a row that is cut short."""
    known: set[str] = set()
    try:
        with path.open(encoding="utf-8", newline="") as file:
            next(file)
            for number, line in enumerate(file, start=2):
                whole = line.endswith("\n")
                text = line.rstrip("\r\n")
                label = text.rpartition(",")[2].strip('" ')
                if '"' not in text and text.count(",") != len(header) - 1:
                    raise DataFileError(path, f"line {number} has {text.count(',') + 1} fields of {len(header)}")
                # Cut inside its label, "Normal" would be the attack "Norm".
                if not label or not (whole or label in known):
                    raise DataFileError(path, f"line {number} ends within its label: '{label}'; truncated")
                known.add(label)
                yield number, text, label
    except UnicodeDecodeError as error:
        raise DataFileError(path, f"not text ({error})") from error


def _cells(path: Path, line_number: int, line: str, columns: int) -> list[str]:
    cells = next(csv.reader([line]))
    if len(cells) != columns:
        raise DataFileError(path, f"line {line_number} has {len(cells)} fields of {columns}")
    return cells[:-1]


def _numbers(rows: list[tuple[Path, int, str]], columns: int) -> NDArray[np.float64]:
    """The cells but the label as numbers, [rows, columns - 1]: 0 where empty, NaN where they are no number."""
    return np.array([[_number(cell.strip()) for cell in _cells(*row, columns)] for row in rows], np.float64)


def _number(cell: str) -> float:
    if not cell:
        return 0.0
    if HEXADECIMAL.fullmatch(cell):
        return float(int(cell, 16))
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _select(header: list[str], normal: NDArray[np.float64], anomalous: NDArray[np.float64], path: Path) -> LabelledRows:
    both = np.concatenate([normal, anomalous])
    numeric = np.isfinite(both).all(axis=0)
    changing = np.zeros(len(numeric), bool)
    changing[numeric] = np.ptp(both[:, numeric], axis=0) > 0
    described = np.array([not LEFT_OUT.fullmatch(name) for name in header[:-1]])
    kept = numeric & changing & described
    if not kept.any():
        raise DataFileError(path, "no column holds numbers that change")
    return LabelledRows(normal[:, kept].astype(np.float32), anomalous[:, kept].astype(np.float32))
