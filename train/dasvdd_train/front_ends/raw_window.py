"""The samples themselves as feature vector."""

from __future__ import annotations

from collections.abc import Sequence

from dasvdd_runtime.reading.recording_types import Kind
from torch import Tensor

from .base import FramedFrontEnd, without_mean


class RawWindow(FramedFrontEnd):
    """The samples of each frame, channel after channel: frames [batch, frames, selected * frame_samples] in the unit.

    With `remove_frame_mean` the mean of every frame and channel is subtracted, so that a sensor's offset or mounting
    angle does not count. Raises ConfigError if `frame_samples` is no multiple of `frame_hop_samples`.
    """

    least_deviation = 0.0
    band_noun = "sample"

    def __init__(
        self,
        *,
        kind: Kind,
        sample_rate_hz: float,
        channels: int,
        channel: str,
        channel_names: Sequence[str],
        frame_samples: int,
        frame_hop_samples: int,
        remove_frame_mean: bool,
    ) -> None:
        super().__init__(
            {
                "type": "raw",
                "kind": kind,
                "sample_rate_hz": sample_rate_hz,
                "channels": channels,
                "channel": channel,
                "channel_names": list(channel_names),
                "frame_samples": frame_samples,
                "frame_hop_samples": frame_hop_samples,
                "remove_frame_mean": remove_frame_mean,
            },
            kind=kind,
            channels=channels,
            channel=channel,
            channel_names=channel_names,
            frame_samples=frame_samples,
            frame_hop_samples=frame_hop_samples,
        )
        self.removes_mean = remove_frame_mean
        self.name_bands([f"at {1000 * i / sample_rate_hz:.6g} ms" for i in range(frame_samples)])

    def forward(self, window: Tensor) -> Tensor:
        """Frames [batch, frames, bands] of `window`."""
        frames = self.frames_of(window)
        return self.side_by_side(without_mean(frames) if self.removes_mean else frames)
