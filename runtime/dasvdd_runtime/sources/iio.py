"""A Linux Industrial I/O device, an accelerometer say: samples from its buffer, at its own clock."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import time
from pathlib import Path

import numpy as np

from .base import WAIT_SECONDS, Block, SourceLost
from .iio_scan import Element, Scan, parse_type
from .rate_watch import RateWatch
from .row_tables import IioTable

log = logging.getLogger(__name__)

SYSFS = Path("/sys/bus/iio/devices")
DEVICES = Path("/dev")
READ_BYTES = 65_536
BUFFER_SECONDS = 2.0
"""What the kernel keeps while this program is busy."""
RATE_TOLERANCE = 0.01


class IioSource:
    """Sets the device's rate to the model's, and its buffer to the wanted channels alone."""

    live = True

    def __init__(
        self,
        table: IioTable,
        *,
        sample_rate_hz: float,
        channel_names: list[str],
        sysfs: Path = SYSFS,
        devices: Path = DEVICES,
    ) -> None:
        """Channels are named as in scan_elements, without in_: accel_x."""
        self.sample_rate_hz = sample_rate_hz
        self._table = table
        self._channel_names = channel_names
        self._sysfs = sysfs
        self._devices = devices
        self._folder: Path | None = None
        self._descriptor: int | None = None
        self._scan: Scan | None = None
        self._pending = b""
        self._rate_watch = RateWatch(sample_rate_hz)

    def open(self) -> None:
        """Set the device up and start its buffer. Raises SourceLost where it is not there, or cannot do it."""
        self.close()
        folder = self._find()
        try:
            _write(folder / "buffer" / "enable", "0")
            self._folder = folder
            self._scan = self._choose_channels(folder)
            self._set_rate(folder)
            if self._table.trigger:
                _write(folder / "trigger" / "current_trigger", self._table.trigger)
            _write(folder / "buffer" / "length", str(max(2, round(BUFFER_SECONDS * self.sample_rate_hz))))
            self._descriptor = os.open(self._devices / folder.name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            _write(folder / "buffer" / "enable", "1")
        except OSError as error:
            raise SourceLost(f"{error.filename or folder}: {_why(error)}") from error
        self._pending = b""
        self._rate_watch.reopened()

    def read(self) -> Block:
        """What the buffer has, within WAIT_SECONDS. Raises SourceLost where the device goes away."""
        assert self._descriptor is not None and self._scan is not None, "open() comes first"
        ready, _, _ = select.select([self._descriptor], [], [], WAIT_SECONDS)
        if not ready:
            return Block(np.empty((0, len(self._channel_names)), np.float32))
        try:
            data = os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            return Block(np.empty((0, len(self._channel_names)), np.float32))
        except OSError as error:
            raise SourceLost(f"the device '{self._table.device}' was lost: {error.strerror}") from error
        if not data:
            raise SourceLost(f"the device '{self._table.device}' was lost: its buffer has ended")
        data = self._pending + data
        whole = len(data) - len(data) % self._scan.size
        self._pending = data[whole:]
        samples = self._scan.decode(data[:whole])
        finding = self._rate_watch.arrived(time.monotonic(), len(samples))
        if finding is not None:
            log.warning("the device '%s' %s", self._table.device, finding)
        return Block(samples)

    def close(self) -> None:
        """Stop the buffer."""
        descriptor, self._descriptor = self._descriptor, None
        folder, self._folder = self._folder, None
        if descriptor is not None:
            os.close(descriptor)
        if folder is not None:
            with contextlib.suppress(OSError):
                _write(folder / "buffer" / "enable", "0")

    def _find(self) -> Path:
        """The device's folder, by its name or that of its folder."""
        folders = sorted(self._sysfs.glob("iio:device*"))
        names = {folder: _read(folder / "name") for folder in folders}
        found = [folder for folder in folders if self._table.device in (folder.name, names[folder])]
        if len(found) == 1:
            return found[0]
        there = ", ".join(f"{folder.name} ({name})" for folder, name in names.items()) or "none"
        problem = "there are several devices" if found else "there is no device"
        raise SourceLost(f"{problem} '{self._table.device}' in {self._sysfs}; there are: {there}")

    def _choose_channels(self, folder: Path) -> Scan:
        """Switch the wanted elements on and all others off."""
        elements = folder / "scan_elements"
        there = {file.name[3:-3]: file for file in sorted(elements.glob("in_*_en"))}
        missing = [name for name in self._channel_names if name not in there]
        if missing:
            raise SourceLost(
                f"the device '{self._table.device}' has no channel '{missing[0]}', but {', '.join(there)}: list those "
                "that are the model's in `channels`, in its order"
            )
        wanted = []
        for name, file in there.items():
            _write(file, "1" if name in self._channel_names else "0")
        for name in self._channel_names:
            try:
                place = int(_read(elements / f"in_{name}_index"))
                kind = parse_type(_read(elements / f"in_{name}_type"))
                scale = float(_shared(folder, name, "scale") or 1) * self._table.scale
                offset = float(_shared(folder, name, "offset") or 0)
            except ValueError as error:
                raise SourceLost(f"the channel '{name}' of '{self._table.device}' cannot be read: {error}") from error
            wanted.append(Element(place, kind, scale=scale, offset=offset))
        return Scan(wanted)

    def _set_rate(self, folder: Path) -> None:
        """Set the rate and read it back. Raises SourceLost for another one."""
        kinds = {name.partition("_")[0] for name in self._channel_names}
        files = [folder / "sampling_frequency", *(folder / f"in_{kind}_sampling_frequency" for kind in sorted(kinds))]
        file = next((file for file in files if file.exists()), None)
        if file is None:
            log.warning("the device '%s' does not say its rate; the trigger sets it", self._table.device)
            return
        possible = _read(file.with_name(f"{file.name}_available"))
        with contextlib.suppress(OSError):  # refused: what it has instead is told below
            _write(file, f"{self.sample_rate_hz:.10g}")
        found = _read(file)
        if not _is_near(found, self.sample_rate_hz):
            raise SourceLost(
                f"the device '{self._table.device}' samples at {found or 'no known rate'} Hz, but the model takes "
                f"{self.sample_rate_hz:g} Hz{f'; it can {possible}' if possible else ''}. Train with recordings at a "
                "rate that it has."
            )


def _is_near(rate: str, wanted_hz: float) -> bool:
    try:
        return abs(float(rate) / wanted_hz - 1) <= RATE_TOLERANCE
    except ValueError:
        return False


def _shared(folder: Path, name: str, attribute: str) -> str:
    """An attribute of a channel, or that which it shares: in_accel_x_scale, in_accel_scale; empty without one."""
    parts = name.split("_")
    names = ["_".join(parts[:count]) for count in range(len(parts), 0, -1)]
    names.append(parts[0].rstrip("0123456789"))
    return next((text for part in names if (text := _read(folder / f"in_{part}_{attribute}"))), "")


def _read(file: Path) -> str:
    """What a file of sysfs says; empty where it is not there."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def _why(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "this user may not. A udev rule can give the group of this user the right to it"
    if error.errno == errno.EINVAL:
        return "the device refuses it. Does it need a `trigger`?"
    if error.errno == errno.EBUSY:
        return "another program uses the buffer"
    return error.strerror or str(error)
