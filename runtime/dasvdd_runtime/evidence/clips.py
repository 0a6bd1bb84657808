"""Which samples of a source belong to which alarm. Pure: told of samples and decisions, it hands rows to the writer."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..alarms.decision_rule import DecisionRule
from ..condition.levels import level_dbfs
from ..contract import ModelMetadata
from ..detector import Decision, Episode
from ..events import stamp
from ..windows import Window
from .base import Clips
from .clip import Clip
from .clip_file import ClipFormat
from .folder import stem_of
from .ring import Ring
from .rows import LevelRows, RowMaker, make_rows
from .tables import EvidenceTable, Mode
from .writer import OpenClip

BACKLOG_SECONDS = 1.0
"""What arrives before the windows in it are judged; where more does, the memory grows by that."""


class BeginsClips(Protocol):
    """What takes clips: the writer."""

    def begin(self, stem: str, format: ClipFormat, *, source: str, alarm: str) -> OpenClip:
        """A new clip."""


@dataclass(frozen=True)
class SourceOfClips:
    """A source, as its clips need to know it."""

    name: str
    mode: Mode
    channels: tuple[int, ...] | None
    """The source's channels that are the model's, in the model's order; None: all."""


class SourceClips(Clips):
    """Keeps the newest rows of one source, and of each alarm a clip with pre-roll and post-roll."""

    def __init__(
        self,
        source: SourceOfClips,
        metadata: ModelMetadata,
        table: EvidenceTable,
        writer: BeginsClips,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._source = source
        self._writer = writer
        self._now = now
        self._rate = metadata.sample_rate_hz
        self._next_sample = 0
        self._interrupted = False
        self._scores: deque[Decision] = deque()
        self._clips: list[Clip] = []
        self._lasting: Clip | None = None
        self._metadata = metadata
        self._measure(table)
        self._begin_rows()

    def use_table(self, table: EvidenceTable, mode: Mode) -> None:
        """Keep clips by `table` from the next alarm on. No window may wait for its score.

        In another `mode`, the clip that is being written ends here, though its alarm goes on.
        """
        self._measure(table)
        if mode != self._source.mode:
            self.ended()
            self._source = replace(self._source, mode=mode)
            self._begin_rows()

    def dismiss(self) -> None:
        """No clips any more: those that are being written end here, for good."""
        self.ended()
        for clip in self._clips:
            clip.open_clip.note(clip.described(), final=True)

    def _measure(self, table: EvidenceTable) -> None:
        self._table = table
        self._pre, self._post = (round(seconds * self._rate) for seconds in (table.pre_seconds, table.post_seconds))

    def _begin_rows(self) -> None:
        """Remember the stream, as the mode has it, from the next sample on."""
        self._rows = make_rows(self._source.mode, self._metadata)
        self.keeps = self._rows.keeps
        self._format = _format(self._rows, self._metadata)
        remembered = self._pre + self._metadata.window_samples + round(BACKLOG_SECONDS * self._rate)
        self._ring = Ring(self._rows.row_samples, capacity=remembered // self._rows.row_samples)
        self._ring.jump(self._next_sample)

    def use_model(self, metadata: ModelMetadata) -> None:
        """Another model judges from the next sample on."""
        self.ended()
        self._metadata = metadata

    def use_rule(self, rule: DecisionRule) -> None:
        """Another rule decides from the next score on."""
        self.ended()
        self._rule = rule

    @property
    def nbytes(self) -> int:
        """Memory that the rows take."""
        return self._ring.nbytes

    def add(self, first_sample: int, samples: NDArray[np.float32]) -> None:
        """`samples` [samples, channels] of the source, the first of which has this index in the stream."""
        if first_sample != self._next_sample:
            self._rows.restart()
            self._ring.jump(first_sample)
        self._next_sample = first_sample + len(samples)
        self._interrupted = False
        if self._source.channels is not None:
            samples = samples[:, self._source.channels]
        self._ring.add(self._rows.take(samples))

    def scored(self, decision: Decision, lasting: Episode | None) -> None:
        """A window was judged; the alarm that lasts now, if one does, as far as it is known."""
        self._scores.append(decision)
        for clip in self._clips:
            if not clip.data_done and decision.time_seconds * self._rate <= clip.data_end:
                clip.scores.append(decision)
        if self._lasting is not None and lasting is not None:
            self._lasting.episode = lasting

    def raised(self, window: Window, episode: Episode) -> dict[str, Any]:
        """It raised an alarm."""
        raised_at, alarm = self._now(), str(uuid.uuid4())
        stem = stem_of(self._source.name, alarm, raised_at)
        start = max(0, window.first_sample - self._pre)
        longest_seconds = self._table.longest_seconds(self._metadata.window_seconds)
        clip = Clip(
            open_clip=self._writer.begin(stem, self._format, source=self._source.name, alarm=alarm),
            facts=self._facts(alarm, raised_at, window),
            residual_names=self._metadata.residual_names,
            residual_usual=self._metadata.residual_baseline,
            sample_rate_hz=self._rate,
            start=start,
            longest_end=start + round(longest_seconds * self._rate),
            alarm_start=window.first_sample,
            episode=episode,
            cursor=start,
            scores=[decision for decision in self._scores if decision.time_seconds * self._rate > start],
        )
        self._clips.append(clip)
        self._lasting = clip
        return {"alarm": alarm}

    def cleared(self, episode: Episode) -> dict[str, Any]:
        """The alarm is over."""
        assert episode.clear_seconds is not None
        return self._end(episode, round(episode.clear_seconds * self._rate), self._post)

    def left_open(self, episode: Episode) -> dict[str, Any]:
        """Nothing more will be known of the alarm that lasts."""
        said = self._end(episode, self._next_sample, 0)
        self.ended()
        return said

    def settle(self, next_sample: int) -> None:
        """Every window of the stream before `next_sample` is judged."""
        for clip in list(self._clips):
            self._feed(clip, next_sample)
            if clip.data_done or self._interrupted or self._ring.end >= clip.data_end:
                self._complete(clip)
        oldest = next_sample - self._metadata.window_samples - self._pre
        cursors = [clip.cursor for clip in self._clips if not clip.data_done]
        self._ring.forget(min([oldest, *cursors]))
        while self._scores and self._scores[0].time_seconds * self._rate <= oldest:
            self._scores.popleft()

    def interrupted(self) -> None:
        """No samples will come for a while: the clips end here, once what has arrived is judged."""
        self._interrupted = True

    def ended(self) -> None:
        """What has arrived is judged, and there will be no more of this stream, or with this model."""
        self.interrupted()
        self.settle(self._next_sample)

    def _end(self, episode: Episode, alarm_end: int, post: int) -> dict[str, Any]:
        clip, self._lasting = self._lasting, None
        if clip is None:
            return {}
        clip.episode, clip.alarm_end, clip.end = episode, alarm_end, alarm_end + post
        lost = clip.open_clip.lost
        return {"evidence": clip.open_clip.name} if lost is None else {"evidence": None, "evidence_reason": lost}

    def _feed(self, clip: Clip, next_sample: int) -> None:
        """Hand over what is sure to belong to `clip`."""
        if clip.data_done:
            return
        end = min(clip.data_end, next_sample)
        for block in self._ring.part(clip.cursor, end):
            clip.open_clip.append(block.rows)
            clip.took(block.first_sample, len(block.rows) * self._rows.row_samples)
        clip.cursor = max(clip.cursor, min(end, self._ring.end))

    def _complete(self, clip: Clip) -> None:
        """No more rows for `clip`: its end has come, it is as long as a clip may be, or the stream breaks off.

        Where its alarm is over, its sidecar is written for good. Where it lasts, a clip cut at 60 s of an alarm of an
        hour, say, the sidecar is written now, without an end, so that people find it; and again when the alarm clears.
        """
        over = clip.end is not None
        if over or not clip.data_done:
            clip.open_clip.note(clip.described(), final=over)
        clip.data_done = True
        if over:
            self._clips.remove(clip)

    def _facts(self, alarm: str, raised_at: datetime, window: Window) -> dict[str, Any]:
        """What the sidecar says of the source, the model and the rise."""
        used = self._metadata.used_channels
        return {
            "alarm": alarm,
            "source": self._source.name,
            "raised_at": stamp(raised_at),
            "kind": self._metadata.kind,
            "sample_rate_hz": self._rate,
            "channels": list(self._format.channel_names),
            "level_dbfs": level_dbfs(window.samples[:, used]),
            "model": self._metadata.name,
            "model_fingerprint": self._metadata.model_fingerprint,
            "threshold": self._rule.threshold,
            "threshold_origin": self._rule.origin,
            "threshold_why": self._rule.why,
        }


def _format(rows: RowMaker, metadata: ModelMetadata) -> ClipFormat:
    if isinstance(rows, LevelRows):
        names = tuple(metadata.channel_names[i] for i in metadata.used_channels)
        return ClipFormat("", metadata.sample_rate_hz, names, rows.bands)
    return ClipFormat(rows.suffix, metadata.sample_rate_hz, tuple(metadata.channel_names))
