"""How far a run is: cells done and time left, a bar in a terminal and plain lines elsewhere."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence

from dasvdd_runtime.words import count, duration
from rich.progress import BarColumn, TextColumn

from ..console import ProgressConsole
from .cells import Cell
from .results import Result

SECONDS_BETWEEN_LINES = 60.0


class TimeLeft:
    """Expected seconds for cells, from the median of finished ones of the same data set and method."""

    def __init__(self, earlier: Sequence[Result] = ()) -> None:
        self._seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._guesses: dict[tuple[str, str], float] = {}
        for result in earlier:
            self.learn(result)

    def learn(self, result: Result) -> None:
        """Take a finished cell into account."""
        self._seconds[result.dataset, result.method].append(result.seconds)

    def guess(self, cell: Cell, seconds: float) -> None:
        """What a cell like `cell` seems to take: counts until one is finished."""
        self._guesses[cell.dataset, cell.method] = seconds

    def of(self, cells: Sequence[Cell]) -> float | None:
        """Seconds for all of `cells`; a kind not seen yet takes as long as all others at the median. None: unknown."""
        known = self._guesses | {kind: statistics.median(seconds) for kind, seconds in self._seconds.items()}
        if not known:
            return None
        usual = statistics.median(known.values())
        return sum(known.get((cell.dataset, cell.method), usual) for cell in cells)


class Pace:
    """How fast the models train that are trained now, from the first epoch that was seen."""

    def __init__(self, cells: Sequence[Cell], epoch: int, now_seconds: float) -> None:
        self.cells = cells
        self._epochs = cells[0].settings.epochs
        self._first_epoch, self._first_seconds = epoch, now_seconds
        self._epoch, self._epoch_seconds = epoch, 0.0

    def at(self, epoch: int, now_seconds: float) -> None:
        """So many epochs are done at `now_seconds` of a monotonic clock."""
        self._epoch = epoch
        if epoch > self._first_epoch:
            self._epoch_seconds = (now_seconds - self._first_seconds) / (epoch - self._first_epoch)

    @property
    def seconds_of_a_cell(self) -> float:
        """From its first epoch to its last; 0 while nothing is known."""
        return self._epoch_seconds * self._epochs / len(self.cells)

    @property
    def seconds_left(self) -> float:
        """Until all of these models are trained."""
        return self._epoch_seconds * (self._epochs - self._epoch)


class Reporter(ProgressConsole):
    """Prints a run's progress to standard error; use as a context manager."""

    def __init__(self) -> None:
        super().__init__(
            BarColumn(),
            TextColumn("{task.completed}/{task.total} cells"),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[now]}"),
        )
        self._left: list[Cell] = []
        self._done = 0
        self._total = 0
        self._time = TimeLeft()
        self._pace: Pace | None = None
        self._task = self._progress.add_task("cells", total=None, left="", now="")

    def begin(self, cells: Sequence[Cell], finished: Sequence[Result]) -> None:
        """Say how much there is to do."""
        self._left = list(cells)
        self._done, self._total = len(finished), len(cells) + len(finished)
        self._time = TimeLeft(finished)
        already = f", {len(finished)} of them finished before" if finished else ""
        self.say(f"{count(self._total, 'cell')}{already}")
        self._update(str(cells[0]) if cells else "")

    def underway(self, cells: Sequence[Cell], epoch: int) -> None:
        """Show how far the models are that are trained now."""
        now_seconds = time.monotonic()
        if self._pace is None or self._pace.cells != cells:
            self._pace = Pace(cells, epoch, now_seconds)
            self._due(0)
        self._pace.at(epoch, now_seconds)
        if self._pace.seconds_of_a_cell:
            self._time.guess(cells[0], self._pace.seconds_of_a_cell)
        others = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
        now = f"{cells[0]}{others}, epoch {epoch}/{cells[0].settings.epochs}"
        self._update(now)
        if not self.is_terminal and self._due(SECONDS_BETWEEN_LINES):
            self.say(f"{self._done}/{self._total}  {now}{self._time_left('; ')}")

    def cell(self, cell: Cell, result: Result) -> None:
        """Say what a cell found."""
        self._time.learn(result)
        gamma = "" if result.gamma is None else f", gamma {result.gamma:.4g}"
        self._advance(cell, f"{cell}: AUC {result.auc:.1f}{gamma}, {result.seconds:.1f} s")

    def failed(self, cell: Cell, reason: str) -> None:
        """Say why a cell could not be run."""
        self._advance(cell, f"{cell}: not run: {reason}")

    def _advance(self, cell: Cell, text: str) -> None:
        self._left.remove(cell)
        self._done += 1
        self.say(f"{self._done}/{self._total}  {text}{'' if self.is_terminal else self._time_left('; ')}")
        self._update(str(self._left[0]) if self._left else "")

    def _time_left(self, before: str = "") -> str:
        if not self._left:
            return ""
        pace = self._pace if self._pace and self._pace.seconds_of_a_cell else None
        now = [cell for cell in pace.cells if cell in self._left] if pace else []
        seconds = self._time.of([cell for cell in self._left if cell not in now])
        if seconds is None:
            return ""
        if pace and now:
            seconds += pace.seconds_left
        return f"{before}about {duration(max(1, round(seconds)))} left"

    def _update(self, now: str) -> None:
        self._progress.update(self._task, completed=self._done, total=self._total, left=self._time_left(), now=now)
