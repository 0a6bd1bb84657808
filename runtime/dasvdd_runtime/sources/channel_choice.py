"""Which channels a source must give so that the wanted ones are among them."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ConfigError
from ..reading.recording_types import Kind


def channels_to_open(wanted: Sequence[int | str], *, kind: Kind, source: str) -> tuple[list[str], list[int]]:
    """The names of the channels that the source gives, and for each of `wanted` its place among them.

    By number, from 0, a source gives all up to the largest one; by name those alone. Raises ConfigError for a mixture.
    """
    if all(isinstance(channel, str) for channel in wanted):
        names = list(dict.fromkeys(str(channel) for channel in wanted))
        return names, [names.index(str(channel)) for channel in wanted]
    if all(isinstance(channel, int) for channel in wanted):
        places = [int(channel) for channel in wanted]
        word, first = ("channel", 0) if kind == "audio" else ("column", 1)
        return [f"{word} {first + place}" for place in range(max(places) + 1)], places
    raise ConfigError(f"source '{source}': give all channels and the signal_channel by number, or all by name")
