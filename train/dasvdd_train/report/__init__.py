"""The training report: figures, tables and one self-contained page."""

from __future__ import annotations

from pathlib import Path

from dasvdd_runtime.files import write_atomically

from .data import ReportData

__all__ = ["ReportData", "write_report"]


def write_report(path: Path, data: ReportData) -> None:
    """Write the page for `data` to `path`, whole or not at all. The same data give the same bytes."""
    # Imported late: matplotlib takes longer to import than the rest of the program.
    from .page import render

    write_atomically(path, render(data).encode())
