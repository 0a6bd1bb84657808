"""A microphone through PortAudio, by blocking reads.

Facts that shape this file: in callback mode an unplugged device is silent for ever without an error, so samples are
read; a read may hang with a dead device, so only frames that are already there are asked for; PortAudio's list of
devices is frozen when it is initialised, so it is initialised anew before a device is opened, unless another stream is
open, which that would kill.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Unavailable
from .base import WAIT_SECONDS, Block, SourceLost
from .native_noise import native_noise_left_out
from .usb_ports import port_of, usb_ports

if TYPE_CHECKING:
    import soxr

log = logging.getLogger(__name__)

BLOCK_SECONDS = 0.1
POLL_SECONDS = 0.04
LATENCY_SECONDS = 0.3
"""What the device may hold back before samples are lost; well above BLOCK_SECONDS."""

_portaudio_lock = threading.Lock()
_open_streams = 0


@dataclass(frozen=True)
class InputDevice:
    """An input device, as PortAudio lists it."""

    index: int
    name: str
    default_rate_hz: float
    channels: int
    is_default: bool
    usb_port: str = ""
    """Such as '1-1.2'; empty for one that is not on USB."""


def load_portaudio() -> ModuleType:
    """The sounddevice module. Raises Unavailable where PortAudio or sounddevice is not installed."""
    try:
        import sounddevice
    except (OSError, ImportError) as error:
        raise Unavailable(
            f"microphones need PortAudio, which is not installed ({error}). "
            "Debian or Ubuntu: sudo apt-get install libportaudio2. Sources 'file' and 'stdin' work without it."
        ) from error
    return sounddevice  # type: ignore[no-any-return]


def list_input_devices() -> list[InputDevice]:
    """The devices with inputs, from a fresh list unless a stream is open. Raises Unavailable without PortAudio."""
    sounddevice = load_portaudio()
    with _portaudio_lock, native_noise_left_out():
        _refresh(sounddevice)
        return _inputs(sounddevice)


def choose_device(devices: list[InputDevice], wanted: str, usb_port: str = "") -> InputDevice:
    """The device whose name contains `wanted` (any case), an equal name first; the default one for ''.

    With `usb_port` only the devices in that port count. Raises SourceLost, with what there is, if none or several fit.
    """
    listed = ", ".join(f"'{device.name}'" for device in devices) or "none at all"
    if usb_port:
        ports = ", ".join(sorted({device.usb_port for device in devices} - {""})) or "none"
        devices = [device for device in devices if device.usb_port == usb_port]
        if not devices:
            raise SourceLost(f"no input device is in the USB port {usb_port}. Ports with one: {ports}")
        if not wanted and len(devices) == 1:
            return devices[0]
    elif not wanted:
        found = [device for device in devices if device.is_default]
        if not found:
            raise SourceLost(f"there is no default input device. Input devices: {listed}")
        return found[0]
    equal = [device for device in devices if device.name == wanted]
    found = equal or [device for device in devices if wanted.lower() in device.name.lower()]
    if not found:
        raise SourceLost(f"no input device has '{wanted}' in its name. Input devices: {listed}")
    if len(found) > 1:
        fitting = ", ".join(f"'{device.name}'" for device in found)
        raise SourceLost(f"{len(found)} input devices have '{wanted}' in their names: {fitting}. Give a longer part.")
    return found[0]


class MicrophoneSource:
    """One input device at the model's rate, resampled where the device cannot give it.

    Raises Unavailable on creation where PortAudio is not installed.
    """

    live = True

    def __init__(self, *, device: str, sample_rate_hz: float, channels: int, usb_port: str = "") -> None:
        self.sample_rate_hz = sample_rate_hz
        self._device = device
        self._usb_port = usb_port
        self._channels = channels
        self._sounddevice = load_portaudio()
        self._stream: Any = None
        self._device_rate_hz = sample_rate_hz
        self._resampler: soxr.ResampleStream | None = None

    def open(self) -> None:
        """Find the device and start it. Raises SourceLost."""
        global _open_streams
        self.close()
        with _portaudio_lock, native_noise_left_out():
            try:
                _refresh(self._sounddevice)
                device = choose_device(_inputs(self._sounddevice), self._device, self._usb_port)
                self._stream = self._start(device)
            except (self._sounddevice.PortAudioError, OSError) as error:
                raise SourceLost(f"the microphone '{self._device}' cannot be opened: {_reason(error)}") from error
            _open_streams += 1
        self._resampler = None
        if self._device_rate_hz != self.sample_rate_hz:
            import soxr

            self._resampler = soxr.ResampleStream(
                self._device_rate_hz, self.sample_rate_hz, self._channels, dtype="float32", quality="HQ"
            )
        log.info("listening to '%s' at %g Hz, %d channel(s)", device.name, self._device_rate_hz, self._stream.channels)
        if self._device_rate_hz < self.sample_rate_hz:
            log.warning(
                "'%s' gives %g Hz where %g Hz are wanted: nothing above %g Hz is heard",
                device.name,
                self._device_rate_hz,
                self.sample_rate_hz,
                self._device_rate_hz / 2,
            )

    def read(self) -> Block | None:
        """About BLOCK_SECONDS of samples, or none after WAIT_SECONDS. Never None: a microphone has no end."""
        wanted = round(BLOCK_SECONDS * self._device_rate_hz)
        pieces: list[NDArray[np.int16]] = []
        overflowed = False
        deadline = time.monotonic() + WAIT_SECONDS
        try:
            while wanted > 0 and time.monotonic() < deadline:
                available = self._stream.read_available
                if available < 0:
                    raise SourceLost(f"the microphone '{self._device}' reports error {available}")
                if available == 0:
                    time.sleep(POLL_SECONDS)
                    continue
                piece, lost = self._stream.read(min(available, wanted))
                pieces.append(piece[:, : self._channels])
                overflowed = overflowed or lost
                wanted -= len(piece)
        except (self._sounddevice.PortAudioError, OSError) as error:
            raise SourceLost(f"the microphone '{self._device}' stopped: {_reason(error)}") from error
        return Block(self._at_model_rate(pieces), overflowed)

    def close(self) -> None:
        """Stop the device."""
        global _open_streams
        stream, self._stream = self._stream, None
        if stream is None:
            return
        with _portaudio_lock, native_noise_left_out():
            try:
                stream.abort(ignore_errors=True)
                stream.close(ignore_errors=True)
            finally:
                _open_streams -= 1

    def _start(self, device: InputDevice) -> Any:
        """A started stream: at the model's rate and channels, else at what the device offers itself."""
        attempts = [
            (rate_hz, channels)
            for rate_hz in dict.fromkeys([self.sample_rate_hz, device.default_rate_hz])
            for channels in dict.fromkeys([self._channels, device.channels])
            if channels >= self._channels
        ]
        if not attempts:
            raise SourceLost(f"'{device.name}' has {device.channels} channel(s), but {self._channels} are needed")
        fault: Exception | None = None
        for rate_hz, channels in attempts:
            try:
                stream = self._sounddevice.InputStream(
                    device=device.index, samplerate=rate_hz, channels=channels, dtype="int16", latency=LATENCY_SECONDS
                )
            except self._sounddevice.PortAudioError as error:
                fault = fault or error
                continue
            try:
                stream.start()
            except self._sounddevice.PortAudioError as error:
                fault = fault or error
                stream.close(ignore_errors=True)
                continue
            self._device_rate_hz = rate_hz
            return stream
        assert fault is not None
        raise fault

    def _at_model_rate(self, pieces: list[NDArray[np.int16]]) -> NDArray[np.float32]:
        if not pieces:
            return np.empty((0, self._channels), np.float32)
        samples = np.concatenate(pieces) * np.float32(1 / 32768)
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples).reshape(-1, self._channels)
        return samples.astype(np.float32, copy=False)


def _refresh(sounddevice: ModuleType) -> None:
    """Make PortAudio look for devices again. The lock is held, and no stream may be open."""
    if _open_streams > 0:
        return
    if sounddevice._initialized:  # not so after an _initialize that failed
        sounddevice._terminate()
    sounddevice._initialize()


def _inputs(sounddevice: ModuleType) -> list[InputDevice]:
    try:
        default = sounddevice.query_devices(kind="input")["index"]
    except sounddevice.PortAudioError:
        default = -1  # there is no input device at all
    ports = usb_ports()
    return [
        InputDevice(
            index=index,
            name=str(info["name"]),
            default_rate_hz=float(info["default_samplerate"]),
            channels=int(info["max_input_channels"]),
            is_default=index == default,
            usb_port=port_of(str(info["name"]), ports),
        )
        for index, info in enumerate(sounddevice.query_devices())
        if info["max_input_channels"] > 0
    ]


def _reason(error: Exception) -> str:
    """The message of a PortAudio error in one line."""
    return " ".join(str(error).split())
