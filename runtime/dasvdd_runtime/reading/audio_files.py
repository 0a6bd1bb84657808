"""WAV, FLAC and OGG files -> blocks of samples. Finds out where a file holds less than its header promises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from .recording_types import RecordingError, operating_system_faults
from .wav_header import DataSizeFilledIn, check_wav_is_whole

UNKNOWN_FRAMES = 2**62
"""libsndfile gives 2**63 - 1 frames for a file whose header does not say how long it is."""
SEARCH_FRAMES = 4096
"""Step in which a damaged file is read to find out how much it holds."""

ENDS_CHECKED = ("FLAC", "OGG")
"""Formats, beside WAV, of which a missing end is found. libsndfile shortens AIFF and W64 without a word."""


@dataclass(frozen=True)
class AudioHeader:
    """What an audio file says of itself, checked against what it holds."""

    sample_rate_hz: float
    channels: int
    frames: int
    """Samples per channel."""

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate_hz


def read_audio_header(path: Path) -> AudioHeader:
    """Header of the audio file at `path`. Reads no samples, but for the last one.

    Raises RecordingError if the file is truncated, empty or not audio.
    """
    with operating_system_faults(path), _open(path) as audio:
        if audio.frames == 0 and audio.format == "OGG":
            raise RecordingError(path, "truncated or empty: the file ends without the page that says how long it is")
        if audio.frames == 0:
            raise RecordingError(path, "empty: the file holds no samples")
        if audio.frames >= UNKNOWN_FRAMES:
            raise RecordingError(
                path,
                "the header does not say how long the recording is, so nothing would show that its end is missing. "
                "Write it again with a program that fills in the length, for instance: ffmpeg -i OLD NEW.wav",
            )
        _check_end_is_there(path, audio)
        return AudioHeader(float(audio.samplerate), audio.channels, audio.frames)


def audio_blocks(path: Path, *, first_frame: int, end_frame: int, block_frames: int) -> Iterator[NDArray[np.float32]]:
    """Samples of the frames [first_frame, end_frame) of `path` in blocks [n <= block_frames, channels].

    Raises RecordingError where the file cannot be decoded, ends too early or holds a sample that is not finite.
    """
    with operating_system_faults(path), _open(path) as audio:
        audio.seek(first_frame)
        position = first_frame
        while position < end_frame:
            block = audio.read(min(block_frames, end_frame - position), dtype="float32", always_2d=True)
            if len(block) == 0:
                raise _truncated(path, end_frame / audio.samplerate, position / audio.samplerate)
            _check_finite(path, block, position, audio.samplerate)
            position += len(block)
            yield block


@contextmanager
def _open(path: Path) -> Iterator[soundfile.SoundFile]:
    """The file, open; a failure to open or decode it is a RecordingError."""
    is_wav = path.suffix.lower() == ".wav" or _begins_like_wav(path)
    size_position = check_wav_is_whole(path) if is_wav else None
    with ExitStack() as stack:
        try:
            if size_position is None:
                audio = stack.enter_context(soundfile.SoundFile(str(path)))
            else:
                patched = stack.enter_context(DataSizeFilledIn(path, size_position))
                audio = stack.enter_context(soundfile.SoundFile(patched))
            if not is_wav and audio.format not in ENDS_CHECKED:
                raise RecordingError(
                    path,
                    f"unreadable: it is {audio.format}, not {path.suffix[1:].upper()}, and nothing would show that its "
                    "end is missing. Convert it, for instance: ffmpeg -i OLD NEW.wav",
                )
            yield audio
        except soundfile.SoundFileError as error:
            text = getattr(error, "error_string", str(error)) or "the audio data cannot be decoded"
            raise RecordingError(path, f"unreadable: {text}") from error


def _begins_like_wav(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"RIFF", b"RIFX", b"RF64")


def _check_finite(path: Path, block: NDArray[np.float32], position: int, sample_rate_hz: float) -> None:
    if np.isfinite(block).all():
        return
    frame, channel = np.argwhere(~np.isfinite(block))[0]
    seconds = (position + frame) / sample_rate_hz
    raise RecordingError(path, f"non-finite: channel {channel} is {block[frame, channel]} at {seconds:.3f} s")


def _check_end_is_there(path: Path, audio: soundfile.SoundFile) -> None:
    """FLAC: the last frame that the header promises can be decoded."""
    try:
        audio.seek(audio.frames - 1)
        whole = len(audio.read(1)) == 1
    except soundfile.SoundFileError:
        whole = False
    if not whole:
        raise _truncated(path, audio.frames / audio.samplerate, _decodable_frames(path) / audio.samplerate)


def _decodable_frames(path: Path) -> int:
    frames = 0
    with _open(path) as audio:
        try:
            while read := len(audio.read(SEARCH_FRAMES)):
                frames += read
        except soundfile.SoundFileError:
            pass
    return frames


def _truncated(path: Path, promised_seconds: float, held_seconds: float) -> RecordingError:
    return RecordingError(
        path, f"truncated: the header promises {promised_seconds:.2f} s, the file holds {held_seconds:.2f} s"
    )
