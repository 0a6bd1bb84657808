"""What a program at work shows: a progress bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from dasvdd_runtime.reading.manifest import Segment
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeRemainingColumn

from .metrics import EpochMetrics

SECONDS_BETWEEN_LINES = 10.0


class ProgressConsole:
    """Lines and a bar of `columns` on standard error, the bar in a terminal only; use as a context manager."""

    def __init__(self, *columns: ProgressColumn) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._progress = Progress(*columns, console=self._console, disable=not self.is_terminal)
        self._last_line = 0.0

    @property
    def is_terminal(self) -> bool:
        """Whether somebody watches a bar."""
        return self._console.is_terminal

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False)

    def _due(self, seconds: float) -> bool:
        """Whether the last line that asked was printed so many seconds ago or more."""
        now = time.monotonic()
        if now - self._last_line < seconds:
            return False
        self._last_line = now
        return True


class ConsoleListener(ProgressConsole):
    """Prints a training run's progress to standard error."""

    def __init__(self, *, epochs: int, segments: int) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[terms]}"),
        )
        self._epochs = epochs
        self._segments = segments
        self._read = 0
        self._reading: TaskID = self._progress.add_task("reading", total=segments, terms="")
        self._step_text = ""
        self._step: TaskID = self._progress.add_task("", total=1, terms="", visible=False)
        self._training: TaskID = self._progress.add_task("training", total=epochs, terms="", visible=False)

    def warn(self, text: str) -> None:
        """Print a line that stands out."""
        self._console.print(f"warning: {text}", style="bold yellow", markup=False)

    def reading(self, segment: Segment) -> None:
        """Count the recordings that are read."""
        self._read += 1
        self._progress.update(self._reading, completed=self._read)
        if not self.is_terminal and self._due(SECONDS_BETWEEN_LINES):
            self.say(f"reading {self._read}/{self._segments}: {segment.path}")

    def working(self, text: str, done: int, total: int) -> None:
        """Show a step when it begins and how far it is."""
        self._progress.update(self._reading, visible=False)
        self._progress.update(self._step, description=text, completed=done, total=total, visible=done < total)
        begins = text != self._step_text
        self._step_text = text
        if not self.is_terminal and (begins or (done < total and self._due(SECONDS_BETWEEN_LINES))):
            self.say(f"{text} {done}/{total} ..." if done else f"{text} ...")

    def epoch(self, metrics: EpochMetrics) -> None:
        """Show both loss terms and the time left."""
        terms = (
            f"reconstruction {metrics.reconstruction_error:.4g}  "
            f"gamma x center distance {metrics.gamma * metrics.center_distance:.4g}"
        )
        self._progress.update(self._reading, visible=False)
        self._progress.update(self._training, completed=metrics.epoch, terms=terms, visible=True)
        last = metrics.epoch == self._epochs
        if not self.is_terminal and (last or metrics.epoch == 1 or self._due(SECONDS_BETWEEN_LINES)):
            left = metrics.seconds / metrics.epoch * (self._epochs - metrics.epoch)
            self.say(f"epoch {metrics.epoch}/{self._epochs}  {terms}  {left:.0f} s left")
