"""A replay of one recording through the monitor, and two views of it: a chart for the terminal and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHART_ROWS = 9  # odd, so that the threshold lies in the middle of a row
CHART_TOP = 2.0  # times the threshold; what lies above is cut off
LEFT_MARGIN = 7
EIGHTHS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Replay:
    """What the monitor said of one recording. Times in seconds from the recording's start."""

    name: str
    threshold: float
    times: NDArray[np.float64]
    """End of each window, shape [windows]."""
    smoothed_scores: NDArray[np.float64]
    """Shape [windows]."""
    alarms: list[float]
    """When each alarm rose."""
    bands: list[str]
    """The bands that carried the first alarm, strongest first."""
    onset_seconds: float | None = None
    """When the fault began, where that is known."""

    @property
    def alarm_seconds(self) -> float | None:
        """When the first alarm rose."""
        return self.alarms[0] if self.alarms else None

    def verdict(self) -> str:
        """One line: when the alarm rose, and how long after the fault began."""
        if self.alarm_seconds is None:
            return "no alarm"
        verdict = f"alarm at {clock(self.alarm_seconds)}"
        if len(self.alarms) > 1:
            verdict += f" ({len(self.alarms)} in all)"
        if self.onset_seconds is None:
            return verdict
        delay = self.alarm_seconds - self.onset_seconds
        fault = f"the fault began at {clock(self.onset_seconds)}"
        if delay < 0:
            return f"FALSE {verdict}, {-delay:.0f} s before {fault}"
        return f"{verdict}, {delay:.0f} s after {fault}"


def replays_of(events: list[dict[str, Any]], onset_seconds: float | None = None) -> dict[str, Replay]:
    """The events that the monitor printed, as one replay per source. Raises ValueError if it never started."""
    started = next((event for event in events if event["event"] == "started"), None)
    if started is None:
        raise ValueError("no event 'started'")
    replays = {}
    for name, model in started["sources"].items():
        own = [event for event in events if event.get("source") == name]
        scores = [event for event in own if event["event"] == "score"]
        raised = [event for event in own if event["event"] == "alarm_raised"]
        replays[name] = Replay(
            name=name,
            threshold=started["models"][model]["threshold"],
            times=np.array([event["stream_seconds"] for event in scores], np.float64),
            smoothed_scores=np.array([event["smoothed_score"] for event in scores], np.float64),
            alarms=[event["stream_seconds"] for event in raised],
            bands=[band["name"] for band in raised[0]["bands"]] if raised else [],
            onset_seconds=onset_seconds,
        )
    return replays


def clock(seconds: float) -> str:
    """Seconds as minutes:seconds, for instance 1:07."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def chart(replay: Replay, *, width: int, unicode: bool) -> list[str]:
    """The smoothed score over time, with the threshold, in lines of at most `width` characters.

    Each column shows the highest score in its stretch of time. Without `unicode` only ASCII is used.
    """
    columns = max(10, width - LEFT_MARGIN - 1)
    if not len(replay.times):
        return ["(too short for a single window)"]
    end_seconds = float(replay.times[-1])
    column = np.minimum((replay.times / end_seconds * columns).astype(int), columns - 1)
    highest = np.zeros(columns)
    np.maximum.at(highest, column, replay.smoothed_scores)
    for empty in np.flatnonzero(~np.isin(np.arange(columns), column)):
        highest[empty] = highest[empty - 1] if empty else 0  # windows that are longer than a column is wide
    eighths = np.rint(np.clip(highest / (CHART_TOP * replay.threshold), 0, 1) * CHART_ROWS * 8).astype(int)
    threshold_row = CHART_ROWS // 2
    lines = []
    for row in reversed(range(CHART_ROWS)):
        fill = np.clip(eighths - 8 * row, 0, 8)
        if unicode:
            cells, rule, axis = [EIGHTHS[level] for level in fill], "┄", "│"
        else:
            cells, rule, axis = ["#" if level >= 4 else " " for level in fill], "-", "|"
        label = {threshold_row: "alarm >", CHART_ROWS - 1: f"{CHART_TOP:g}x"}.get(row, "").rjust(LEFT_MARGIN)
        if row == threshold_row:
            cells = [rule if cell == " " else cell for cell in cells]
        lines.append(label + axis + "".join(cells))
    for mark, seconds in (("fault begins", replay.onset_seconds), ("alarm", replay.alarm_seconds)):
        if seconds is not None:
            lines.append(_mark(f"{mark} {clock(seconds)}", seconds / end_seconds, columns, unicode))
    return lines


def _mark(text: str, position: float, columns: int, unicode: bool) -> str:
    """`text` with an arrow at `position` (0 to 1) of the chart, on the side where there is room."""
    at = min(int(position * columns), columns - 1)
    arrow = "▲" if unicode else "^"
    left = " " * (LEFT_MARGIN + 1)
    if at + 2 + len(text) <= columns:
        return left + " " * at + arrow + " " + text
    return left + " " * max(0, at - 1 - len(text)) + text + " " + arrow


def save_picture(path: Path, replay: Replay, samples: NDArray[np.float32], *, sample_rate_hz: float) -> None:
    """Write a PNG: the spectrogram of `samples` [samples] above, the smoothed score and the alarm below."""
    import matplotlib
    from matplotlib.ticker import LogLocator

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (above, below) = plt.subplots(2, 1, figsize=(10, 6), sharex=True, layout="constrained", dpi=100)
    power, _, _, image = above.specgram(samples, NFFT=1024, Fs=round(sample_rate_hz), noverlap=0, cmap="magma")
    image.set_clim(*10 * np.log10(np.percentile(np.maximum(power, 1e-14), [2, 99.8])))
    above.set_ylabel("frequency (Hz)")

    below.plot(replay.times, replay.smoothed_scores, color="#30506e", linewidth=1.4, label="smoothed score")
    below.axhline(replay.threshold, color="#c0392b", linestyle="--", linewidth=1.2, label="threshold")
    below.set_yscale("log")  # a full-grown fault scores many times the threshold
    below.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    for set_formatter in (below.yaxis.set_major_formatter, below.yaxis.set_minor_formatter):
        set_formatter("{x:g}")
    below.set_xlim(0, replay.times[-1])
    below.set(xlabel="time (s)", ylabel="anomaly score, logarithmic")
    for label, at, color in (("fault begins", replay.onset_seconds, "#2e8b57"), ("alarm", replay.alarm_seconds, "red")):
        if at is None:
            continue
        above.axvline(at, color="white", linewidth=1.2, linestyle=":" if label == "fault begins" else "-")
        below.axvline(at, color=color, linewidth=1.6, label=f"{label}, {clock(at)}")
    below.legend(loc="upper left", frameon=True)
    figure.suptitle(f"{replay.name}: {replay.verdict()}", fontweight="bold")
    figure.savefig(path)
    plt.close(figure)
