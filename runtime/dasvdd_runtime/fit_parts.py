"""A recording -> the parts of it whose windows `run` would judge: silence, and what is cut by it, is left out. Pure."""

from __future__ import annotations

from .condition.levels import SlicedSamples
from .intake import Break, Cutter, FitWindow, Intake, WindowFormat

BLOCK_SAMPLES = 2**18


def fit_parts(samples: SlicedSamples, windows: WindowFormat, *, silent_seconds: float) -> list[tuple[int, int]]:
    """First and end sample of each part of `samples` [samples, channels] that is made of windows fit to judge.

    The windows are those that `run` cuts of a stream that begins with the first sample, and a part is a row of them
    without one that it would withhold, so that the windows of a part are windows of the stream. Parts do not overlap:
    one whose first windows reach into the part before begins later. What follows the last window goes with it unless it
    is silent. Samples shorter than a window are one part. `silent_seconds`: see `SourceHealth`.
    """
    if len(samples) < windows.window_samples:
        return [(0, len(samples))]
    cutter = Cutter(Intake(silent_seconds=silent_seconds), windows)
    parts: list[tuple[int, int]] = []
    goes_on = False
    for start in range(0, len(samples), BLOCK_SAMPLES):
        for step in cutter.cut(samples[start : start + BLOCK_SAMPLES]):
            if isinstance(step, Break):
                goes_on = False
            elif isinstance(step, FitWindow):
                first = step.window.first_sample
                if goes_on:
                    first, _ = parts.pop()
                elif parts and first < parts[-1][1]:
                    continue
                parts.append((first, step.window.first_sample + windows.window_samples))
                goes_on = True
    if goes_on and cutter.is_fit(samples[len(samples) - windows.window_samples : len(samples)]):
        parts[-1] = (parts[-1][0], len(samples))
    return parts
