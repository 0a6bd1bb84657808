"""One source's samples -> windows fit to judge: the channels that are the model's, the running gate, health, level.

Pure: told of samples, gaps and faults, it keeps no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .condition.health import LEAST_ROWS, SourceHealth, State, StateChange
from .condition.newest_second import NewestSecond
from .condition.running_gate import STEP_SECONDS as GATE_STEP_SECONDS
from .condition.running_gate import GateSettings, LevelMeter, RunningGate, Sums, level_of
from .condition.silence import has_silent_edge
from .reading.recording_types import Kind
from .windows import Window, Windower

STEP_SECONDS = 1.0
"""How finely a stream is judged without a gate, beside at the end of every window; of slow rows LEAST_ROWS."""


class WindowFormat(Protocol):
    """What windows are cut to, and whether they are sound: a model's metadata say it, and a training before them."""

    @property
    def kind(self) -> Kind:
        """Of the samples."""

    @property
    def sample_rate_hz(self) -> float:
        """Samples a second."""

    @property
    def channels(self) -> int:
        """Channels of the samples."""

    @property
    def used_channels(self) -> list[int]:
        """Those of them that are listened to, counted from 0."""

    @property
    def window_samples(self) -> int:
        """Length of a window."""

    @property
    def window_hop_samples(self) -> int:
        """From the start of one window to that of the next."""


@dataclass(frozen=True)
class Intake:
    """What a pipeline takes of its source's samples. By default all channels are the model's, and no gate rules.

    Settings alone, which `Cutter` follows. Of a source with four columns, where the model takes the third and the first
    and the last says whether the machine runs: channels = (2, 0), gate_channel = 3.
    """

    channels: tuple[int, ...] | None = None
    """The source's channels that are the model's, in the model's order; None: all."""
    gate: GateSettings | None = None
    gate_channel: int | None = None
    """The source's channel whose mean is the external signal of the gate; None: the level of the used channels."""
    silent_seconds: float = 10.0
    stall_seconds: float = 5.0


@dataclass(frozen=True)
class Break:
    """A place in the stream behind which the decision chain restarts: a window not judged, or a gap between samples.

    In the order of the windows it stands where the window would; for a gap both numbers are 0.
    """

    withheld: int = 0
    """Windows of which nothing can be said: silent, or with samples that are not finite."""
    idle: int = 0
    """Windows while the machine stood still or settled."""


@dataclass(frozen=True)
class FitWindow:
    """A window that may be judged, and its source as it was at the window's end: it may be scored much later."""

    window: Window
    state: State
    level_sums: tuple[Sums, ...]

    @property
    def level_dbfs(self) -> float | None:
        """Level of the channels that the model uses over the second up to its end."""
        return level_of(self.level_sums)


class Cutter:
    """Cuts a source's samples into windows and says of each whether it may be judged."""

    def __init__(self, intake: Intake, metadata: WindowFormat) -> None:
        self.next_sample = 0
        """Index, in the stream, of the sample that comes next; lost ones are counted."""
        self._intake = intake
        self._gate = None if intake.gate is None else RunningGate(intake.gate)
        self._last_unjudged_sample = 0
        if intake.gate is None:
            self._step_samples = max(LEAST_ROWS, round(STEP_SECONDS * metadata.sample_rate_hz))
        else:
            self._step_samples = max(1, round(GATE_STEP_SECONDS * metadata.sample_rate_hz))
        self.use_model(metadata)
        self._level = LevelMeter(metadata.sample_rate_hz)
        self._newest = NewestSecond(metadata.sample_rate_hz)
        self.health = SourceHealth(
            kind=metadata.kind,
            used_channels=metadata.used_channels,
            sample_rate_hz=metadata.sample_rate_hz,
            silent_seconds=intake.silent_seconds,
            stall_seconds=intake.stall_seconds,
        )

    def use_model(self, metadata: WindowFormat) -> None:
        """Cut windows for this model from the next sample on. Its rate and channels must be those of the one before."""
        self._metadata = metadata
        self._windower = Windower(
            window_samples=metadata.window_samples,
            hop_samples=metadata.window_hop_samples,
            channels=metadata.channels,
        )
        self._windower.restart(self.next_sample)

    @property
    def level_dbfs(self) -> float | None:
        """Level of the channels that the model uses over the newest second; None before the first."""
        return self._level.level_dbfs

    @property
    def newest_blocks(self) -> tuple[NDArray[np.float32], ...]:
        """The newest second of those channels, see NewestSecond. From any thread."""
        return self._newest.blocks

    @property
    def needed_samples(self) -> int:
        """Samples that complete the next window."""
        return self._windower.needed_samples

    def cut(self, samples: NDArray[np.float32]) -> Iterator[FitWindow | Break | StateChange]:
        """What `samples` [samples, channels], which follow those before, cause, in order, whatever their number.

        They are judged in short steps that end where a window does, so that each window meets the state at its end.
        While a change of state is yielded, `next_sample` is where it happened.
        """
        self._newest.add(self._used(samples))
        windows = deque(self._windower.push(self._of_model(samples)))
        while len(samples):
            length = self._step_samples
            if windows:
                length = min(length, self._end_of(windows[0]) - self.next_sample)
            step, samples = samples[:length], samples[length:]
            change = self._judge(step)
            if change is not None:
                yield change
            if windows and self._end_of(windows[0]) == self.next_sample:
                yield self._judged(windows.popleft())

    def is_fit(self, samples: NDArray[np.float32]) -> bool:
        """False for a window [samples, channels] that ends here and says nothing: silence and NaN are not normal."""
        if not np.isfinite(samples).all() or self.health.state is State.SILENT:
            return False
        if self._metadata.kind == "sensor":
            return True
        return not has_silent_edge(
            samples[:, self._metadata.used_channels], sample_rate_hz=self._metadata.sample_rate_hz
        )

    def gap(self, missing_samples: int) -> None:
        """The next samples do not follow those before: `missing_samples` are lost."""
        self.next_sample += missing_samples
        self._windower.restart(self.next_sample)
        self._level.restart()
        self._newest.restart()
        if self._gate is not None:
            self._gate.gap()

    def _gated(self, samples: NDArray[np.float32]) -> str | None:
        """Feed the gate, if there is one, with `samples`; why the machine is taken to stand still, or None."""
        if self._gate is None:
            return None
        settings = self._gate.settings
        if self._intake.gate_channel is None:
            value, words = self._level.level_dbfs, "level"
        else:
            value, words = float(samples[:, self._intake.gate_channel].mean()), "running signal"
        assert value is not None
        if not self._gate.update(value, len(samples) / self._metadata.sample_rate_hz):
            self._last_unjudged_sample = self.next_sample + len(samples)
        if not self._gate.idle:
            return None
        return f"the machine stands still or settles: {words} {value:.4g}, it runs above {settings.start_level:.4g}"

    def _judge(self, samples: NDArray[np.float32]) -> StateChange | None:
        """The state of the source after the next `samples`, if they change it."""
        self._level.add(self._used(samples))
        idle = self._gated(samples)
        self.next_sample += len(samples)
        return self.health.samples(self._of_model(samples), idle=idle)

    def _judged(self, window: Window) -> FitWindow | Break:
        """`window`, which ends here, if it may be scored."""
        if window.first_sample < self._last_unjudged_sample:
            return Break(idle=1)
        if not self.is_fit(window.samples):
            return Break(withheld=1)
        return FitWindow(window, self.health.state, self._level.sums)

    def _end_of(self, window: Window) -> int:
        return window.first_sample + self._metadata.window_samples

    def _of_model(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The channels of the source that are the model's, in the model's order."""
        return samples if self._intake.channels is None else samples[:, self._intake.channels]

    def _used(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The channels of the source that the model listens to."""
        used: Sequence[int] = self._metadata.used_channels
        if self._intake.channels is not None:
            used = [self._intake.channels[i] for i in used]
        return samples if len(used) == samples.shape[1] else samples[:, used]
