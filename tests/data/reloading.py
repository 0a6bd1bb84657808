"""A monitor of paced noise whose configuration changes while it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from monitor_child import Events, MonitorChild
from scraping import wait_until

PACED_NOISE = Path(__file__).parent / "paced_noise.py"
HOP_SECONDS, WINDOW_SECONDS = 0.05, 0.1
HEAD = f"""
[model]
path = "model.onnx"
[[source]]
name = "m"
kind = "command"
format = "s16le"
stall_seconds = 100
silent_seconds = 100
argv = ["{sys.executable}", "{PACED_NOISE}", "SECONDS"]
[decision]
smoothing_seconds = 0.0
k = 1
n = 1
[events]
scores = true
"""


def write(folder: Path, tables: str, *, seconds: float, head: str = HEAD) -> None:
    (folder / "monitor.toml").write_text(head.replace("SECONDS", f"{seconds:g}") + tables)


def reload(child: MonitorChild) -> dict[str, Any]:
    """Have it read anew; the event that tells what came of it."""
    before = len(child.of_kind("reloaded")) + len(child.of_kind("reload_refused"))
    child.reload()
    wait_until(lambda: len(child.of_kind("reloaded")) + len(child.of_kind("reload_refused")) > before)
    found: dict[str, Any] = [e for e in list(child.events) if e["event"] in ("reloaded", "reload_refused")][-1]
    return found


def stopped_without_a_gap(child: MonitorChild, seconds: float) -> Events:
    """Its events, once all of `seconds` was heard: each window scored once, and nothing lost."""
    windows = round((seconds - WINDOW_SECONDS) / HOP_SECONDS) + 1
    child.wait_for("score", count=windows, seconds=seconds + 60)
    assert child.stop() == 0
    starts = [round(event["start_seconds"] / HOP_SECONDS) for event in child.of_kind("score")]
    assert starts == list(range(windows))
    (summary,) = child.of_kind("summary")
    assert (summary["gaps"], summary["lost_seconds"], summary["dropped_seconds"]) == (0, 0, 0)
    return [event for event in child.events if event["event"] != "score"]
