"""How far a run is: cells done and time left, a bar in a terminal and plain lines elsewhere."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from types import TracebackType

from dasvdd_runtime.words import duration
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from .cells import Cell
from .results import Result


class TimeLeft:
    """Expected seconds for cells, from the median of finished ones of the same data set and method."""

    def __init__(self, earlier: Sequence[Result] = ()) -> None:
        self._seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
        for result in earlier:
            self.learn(result)

    def learn(self, result: Result) -> None:
        """Take a finished cell into account."""
        self._seconds[result.dataset, result.method].append(result.seconds)

    def of(self, cells: Sequence[Cell]) -> float | None:
        """Seconds for all of `cells`; a kind not seen yet takes as long as all others at the median. None: unknown."""
        known = {kind: statistics.median(seconds) for kind, seconds in self._seconds.items()}
        if not known:
            return None
        usual = statistics.median(known.values())
        return sum(known.get((cell.dataset, cell.method), usual) for cell in cells)


class Reporter:
    """Prints a run's progress to standard error; use as a context manager."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._left: list[Cell] = []
        self._done = 0
        self._total = 0
        self._time = TimeLeft()
        self._progress = Progress(
            BarColumn(),
            TextColumn("{task.completed}/{task.total} cells"),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[now]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("cells", total=None, left="", now="")

    def __enter__(self) -> Reporter:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False)

    def begin(self, cells: Sequence[Cell], finished: Sequence[Result]) -> None:
        """Say how much there is to do."""
        self._left = list(cells)
        self._done, self._total = len(finished), len(cells) + len(finished)
        self._time = TimeLeft(finished)
        already = f", {len(finished)} of them finished before" if finished else ""
        self.say(f"{self._total} cells{already}")
        self._update()

    def underway(self, cells: Sequence[Cell], epoch: int) -> None:
        """Show how far the models are that are trained now."""
        others = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
        now = f"{cells[0]}{others}, epoch {epoch}/{cells[0].settings.epochs}"
        self._progress.update(self._task, now=now)

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
        self.say(f"{self._done}/{self._total}  {text}{'' if self._console.is_terminal else self._time_left('; ')}")
        self._update()

    def _time_left(self, before: str = "") -> str:
        seconds = self._time.of(self._left)
        return "" if seconds is None or not self._left else f"{before}about {duration(max(1, round(seconds)))} left"

    def _update(self) -> None:
        now = str(self._left[0]) if self._left else ""
        self._progress.update(self._task, completed=self._done, total=self._total, left=self._time_left(), now=now)
