"""The part of `dasvdd-monitor check` that says what is kept of an alarm, where, and for how long there is room."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .check_receivers import check_folder

if TYPE_CHECKING:
    from ..configuration.config import MonitorConfig
    from ..contract import ModelMetadata
    from ..evidence.tables import EvidenceTable, Mode
    from .check_report import Report

KEPT = {
    "audio": "the samples (audio; of a microphone voices too)",
    "spectrogram": "a spectrogram (no speech can be rebuilt from it)",
    "none": "nothing",
}
LEVEL_BYTES = 7
"""Of one level in a sidecar: `-63.2, `."""
WINDOW_BYTES = 70
"""Of place, score and smoothed score of one window in a sidecar."""


def check_evidence(config: MonitorConfig, models: Mapping[str, ModelMetadata], report: Report) -> None:
    """Report on [evidence]. `models`: by source, the model that judges it, where that can be loaded."""
    table = config.evidence
    modes = {source.name: source.evidence or table.mode for source in config.sources}
    if table.directory is None:
        report.add("ok", "evidence", "nothing is kept of an alarm: there is no state directory, nor one of [evidence]")
        return
    kept = ", ".join(f"{name}: {KEPT[mode]}" for name, mode in modes.items())
    if not config.keeps_evidence:
        report.add("ok", "evidence", "nothing is kept of an alarm: mode is none")
        return
    report.add("ok", "evidence", f"kept of an alarm: {kept}; in {table.directory}")
    check_folder("evidence", table.directory, report)
    sizes = {
        name: clip_bytes(table, modes[name], metadata) for name, metadata in models.items() if modes[name] != "none"
    }
    if sizes:
        seconds = {name: table.longest_seconds(models[name].window_seconds) for name in sizes}
        check_room(table, table.directory, sizes, seconds, report)


def clip_bytes(table: EvidenceTable, mode: Mode, metadata: ModelMetadata) -> int:
    """What the longest clip takes on the disk, at most: of FLAC and NPZ what they hold, which they pack."""
    from ..evidence.rows import LevelRows, PcmRows, make_rows

    rows = make_rows(mode, metadata)
    if isinstance(rows, LevelRows):
        row_bytes = LEVEL_BYTES * rows.bands.count * len(metadata.used_channels)
    else:
        row_bytes = metadata.channels * (2 if isinstance(rows, PcmRows) else 4)
    row_seconds = rows.row_samples / metadata.sample_rate_hz
    longest_seconds = table.longest_seconds(metadata.window_seconds)
    return round(longest_seconds * (row_bytes / row_seconds + WINDOW_BYTES / metadata.window_hop_seconds))


def check_room(
    table: EvidenceTable, directory: Path, sizes: Mapping[str, int], seconds: Mapping[str, float], report: Report
) -> None:
    """Report on how many clips there is room for. By source, of its longest clip: `sizes` in bytes, and `seconds`."""
    from ..evidence.folder import EvidenceFolder

    nearest = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(nearest).free
    own = EvidenceFolder(directory, table, now=lambda: datetime.now(UTC)).used_bytes()
    name, largest = max(sizes.items(), key=lambda item: item[1])
    clip = f"a clip of {seconds[name]:g} s of {name} takes up to {megabytes(largest)}"
    left = f"{megabytes(free)} are free, of which min_free_bytes leaves {megabytes(table.min_free_bytes)} alone"
    room = min(table.max_bytes, own + max(0, free - table.min_free_bytes))
    subject = "evidence, room"
    if largest > table.max_bytes:
        text = (
            f"{clip}, and max_bytes is {megabytes(table.max_bytes)}: it would be lost. Lower max_seconds or raise it."
        )
        report.add("warning", subject, text)
    elif free < table.min_free_bytes and own < largest:
        report.add("warning", subject, f"no clip can be kept: {left}. Make room; monitoring goes on without.")
    elif room < table.max_bytes:
        text = f"the disk takes {megabytes(room)} of the {megabytes(table.max_bytes)} of max_bytes: {left}; {clip}"
        report.add("warning", subject, text)
    else:
        days = f"{table.max_bytes / sum(sizes.values()):.0f} days with one a day of each source"
        report.add(
            "ok",
            subject,
            f"{clip}; max_bytes ({megabytes(table.max_bytes)}) holds {table.max_bytes // largest} of them, or "
            f"{days}; what is older than {table.max_days:g} days is removed; {left}",
        )


def megabytes(size: float) -> str:
    """A size: '1.92 MB', '12.3 GB'."""
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"
