"""One alarm's clip while it grows: what belongs to it, and the sidecar that describes it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..detector import Decision, Episode
from .writer import OpenClip

SCHEMA = "1.0"


@dataclass
class Clip:
    """From the pre-roll to the post-roll of one alarm. Places are samples of the stream, counted from 0."""

    open_clip: OpenClip
    facts: dict[str, Any]
    """Of the sidecar: what is known when the alarm rises."""
    residual_names: list[str]
    residual_usual: list[float]
    """What is usual for each."""
    sample_rate_hz: float
    start: int
    """Where the pre-roll begins, if the stream goes back that far."""
    longest_end: int
    """Where the clip is cut."""
    alarm_start: int
    """Where the window begins that raised the alarm."""
    episode: Episode
    """As far as it is known."""
    end: int | None = None
    """Where the post-roll ends; None while the alarm lasts."""
    alarm_end: int | None = None
    cursor: int = 0
    """Samples before this one are in the clip, or will never be."""
    data_done: bool = False
    scores: list[Decision] = field(default_factory=list)
    pieces: list[tuple[int, int]] = field(default_factory=list)
    """First sample and one after the last of what follows without a gap."""

    @property
    def data_end(self) -> int:
        """Where the clip ends, as far as is known."""
        return self.longest_end if self.end is None else min(self.end, self.longest_end)

    def took(self, first_sample: int, samples: int) -> None:
        """These samples are in the clip."""
        if self.pieces and self.pieces[-1][1] == first_sample:
            self.pieces[-1] = (self.pieces[-1][0], first_sample + samples)
        else:
            self.pieces.append((first_sample, first_sample + samples))

    def described(self) -> dict[str, Any]:
        """The sidecar, but for what only the file knows."""
        rate, scores = self.sample_rate_hz, self.scores
        pieces, clip_samples = [], 0
        for first, last in self.pieces:
            pieces.append(
                {"clip_seconds": clip_samples / rate, "stream_seconds": first / rate, "seconds": (last - first) / rate}
            )
            clip_samples += last - first
        end = self.pieces[-1][1] if self.pieces else self.start
        return {
            "schema": SCHEMA,
            **self.facts,
            "seconds": clip_samples / rate,
            "pieces": pieces,
            "alarm_start_seconds": self.alarm_start / rate,
            "rise_seconds": self.episode.rise_seconds,
            "peak_seconds": self.episode.peak_seconds,
            "peak_score": self.episode.peak_score,
            "clear_seconds": self.episode.clear_seconds,
            "alarm_end_seconds": None if self.alarm_end is None else self.alarm_end / rate,
            "tail_seconds": None if self.alarm_end is None else max(0.0, (self.alarm_end - end) / rate),
            "residual": {
                "names": self.residual_names,
                "peak": list(self.episode.peak_residual),
                "usual": self.residual_usual,
            },
            "scores": {
                "stream_seconds": [round(decision.time_seconds, 3) for decision in scores],
                "score": [_short(decision.score) for decision in scores],
                "smoothed_score": [_short(decision.smoothed_score) for decision in scores],
            },
        }


def _short(value: float) -> float:
    """`value` with six digits."""
    return float(f"{value:.6g}")
