"""Sensor rows as they are."""

from __future__ import annotations

from typing import Any, cast

import torch
from dasvdd_runtime.reading.recording_types import Kind
from torch import Tensor, nn

from .base import channel_mix, selected_names


class Rows(nn.Module):
    """Sensor rows as they are: frames [batch, rows, channels] in the channels' units; `model.py` standardises them.

    Input `[batch, samples, channels]`, float32.
    """

    kind: Kind = "sensor"
    frame_hop_samples = 1
    frame_samples = 1
    band_noun = "channel"

    least_deviation = 0.0

    def __init__(self, *, channels: int, channel_names: list[str], channel: str = "all") -> None:
        super().__init__()
        mix = channel_mix(channel, channels)
        self._settings = {
            "type": "rows",
            "channels": channels,
            "channel_names": list(channel_names),
            "channel": channel,
        }
        self.bands = len(mix)
        self.keeps_channels = self.bands == channels
        self.band_names = selected_names(channel, channel_names)
        self.register_buffer("mix", torch.from_numpy(mix.T.copy()), persistent=False)

    def settings(self) -> dict[str, Any]:
        """The arguments that build this front end again, with its `type`."""
        return dict(self._settings)

    def forward(self, window: Tensor) -> Tensor:
        """Frames [batch, rows, bands] of `window` [batch, rows, channels]."""
        return window if self.keeps_channels else torch.matmul(window, cast(Tensor, self.mix))
