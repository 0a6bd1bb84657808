"""What the state of a source means to the person in front of it, and what to do. Words only."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ..condition.health import State
from ..running.snapshot import SourceSnapshot

Tone = Literal["good", "quiet", "warning", "bad"]


class StateWords(NamedTuple):
    """One state, told."""

    tone: Tone
    title: str
    meaning: str
    advice: str
    """What to do; empty where nothing is to be done."""


_WORDS: dict[State, StateWords] = {
    State.STARTING: StateWords(
        "quiet", "Starting", "Nothing has arrived yet.", "Wait some seconds. If it stays so, is the device plugged in?"
    ),
    State.OK: StateWords("good", "Listening", "Samples arrive and are judged.", ""),
    State.IDLE: StateWords(
        "quiet",
        "Machine stands still",
        "It is too quiet to be running, so nothing is judged.",
        "Nothing, if it does stand still. If it runs, the levels in [source.running] do not fit it.",
    ),
    State.STALLED: StateWords(
        "bad",
        "No samples",
        "The device is there but gives nothing. The machine is not watched. The device is opened again by itself.",
        "Check its cable and its power. Unplug it and plug it in again.",
    ),
    State.MISSING: StateWords(
        "bad",
        "Device missing",
        "It cannot be opened, or went away. The machine is not watched. It is tried again at least every 30 s.",
        "Plug it in again and check the cable. On this box, dasvdd-monitor devices lists what it finds.",
    ),
    State.SILENT: StateWords(
        "bad",
        "Silent",
        "Samples arrive but carry nothing, as of a dead microphone. The machine is not watched.",
        "Check the microphone: its plug, its mute switch, its gain.",
    ),
    State.CLIPPED: StateWords(
        "warning",
        "Too loud",
        "Samples at full scale. They are judged, but less surely.",
        "If the machine is no louder than usual, turn the microphone's gain down and calibrate again.",
    ),
    State.FAULT: StateWords(
        "bad",
        "Faulty samples",
        "Values that are no numbers. What holds them is not judged.",
        "Unplug the device and plug it in again; if it stays so, replace it.",
    ),
}
_FAILED = StateWords(
    "bad", "Ended with a fault", "It gives nothing any more.", "The log says why. Mend that and restart the monitor."
)
_HANGS = StateWords(
    "bad", "Driver hangs", "Its driver does not come back. The machine is not watched.", "Restart the monitor."
)
ENDED = StateWords("quiet", "Ended", "The recording came to its end.", "")


def words_of(state: State) -> StateWords:
    """What to tell of a source in `state` that goes on."""
    return _WORDS[state]


def words_for(source: SourceSnapshot) -> StateWords:
    """What to tell of `source`."""
    if source.failed:
        return _FAILED
    if source.ended:
        return ENDED
    return words_of(source.state) if source.alive else _HANGS
