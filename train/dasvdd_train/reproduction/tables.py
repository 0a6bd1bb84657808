"""Numbers -> CSV, Markdown and the words between them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dasvdd_runtime.files import write_atomically

Row = Sequence[str | int | float | None]


@dataclass(frozen=True)
class Summary:
    """Mean and deviation of some runs."""

    runs: int
    mean: float
    deviation: float | None
    """Of a sample (n - 1); None for a single run."""

    def __str__(self) -> str:
        return shown(self.mean, self.deviation)


def summarise(values: Sequence[float]) -> Summary | None:
    """Mean and deviation of `values`; None of nothing."""
    if not values:
        return None
    return Summary(len(values), float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def shown(mean: float, deviation: float | None = None) -> str:
    """For instance '97.7 ± 0.1'."""
    return f"{mean:.1f}" if deviation is None else f"{mean:.1f} ± {deviation:.1f}"


def difference(ours: Summary | None, paper: float | None) -> str:
    """The mean of `ours` minus `paper` with its sign, or a dash."""
    return "-" if ours is None or paper is None else f"{ours.mean - paper:+.1f}"


def shown_or_none(summary: Summary | None) -> str | None:
    """`summary` as text."""
    return None if summary is None else str(summary)


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Row]) -> Path:
    """A CSV file; None is an empty cell, a float has six digits."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow([f"{cell:.6g}" if isinstance(cell, float) else "" if cell is None else cell for cell in row])
    write_atomically(path, buffer.getvalue().encode())
    return path


def write_markdown(path: Path, title: str, parts: Sequence[str]) -> Path:
    """A Markdown page of paragraphs and tables."""
    write_atomically(path, ("\n\n".join([f"# {title}", *parts]) + "\n").encode())
    return path


def markdown_table(header: Sequence[str], rows: Sequence[Row]) -> str:
    """A Markdown table; None is a dash."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join("-" if cell is None else str(cell) for cell in line) + " |" for line in lines)
