"""An accelerometer of Linux's Industrial I/O, made of files and a FIFO."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dasvdd_runtime.sources.base import SourceLost
from dasvdd_runtime.sources.iio import IioSource
from dasvdd_runtime.sources.iio_scan import Element, Scan, parse_type
from dasvdd_runtime.sources.row_tables import IioTable
from hypothesis import given
from hypothesis import strategies as st

Capturing = Callable[..., Any]

ATTRIBUTES = {
    "name": "adxl345",
    "sampling_frequency": "100",
    "sampling_frequency_available": "25 50 100 200",
    "in_accel_scale": "0.5",
    "in_accel_y_offset": "10",
    "buffer/enable": "1",
    "buffer/length": "2",
    "trigger/current_trigger": "",
    "scan_elements/in_accel_x_en": "0",
    "scan_elements/in_accel_x_index": "0",
    "scan_elements/in_accel_x_type": "le:s12/16>>4",
    "scan_elements/in_accel_y_en": "0",
    "scan_elements/in_accel_y_index": "1",
    "scan_elements/in_accel_y_type": "be:s32/32>>0",
    "scan_elements/in_timestamp_en": "1",
    "scan_elements/in_timestamp_index": "3",
    "scan_elements/in_timestamp_type": "le:s64/64>>0",
}


class Accelerometer:
    """A tree as the kernel makes it, and a FIFO in place of the character device."""

    def __init__(self, folder: Path) -> None:
        self.sysfs, self.devices = folder / "sys", folder / "dev"
        self.folder = self.sysfs / "iio:device3"
        for name, text in ATTRIBUTES.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text + "\n")
        self.devices.mkdir()
        os.mkfifo(self.devices / "iio:device3")
        self.plug_in()

    def plug_in(self) -> None:
        self._end = os.open(self.devices / "iio:device3", os.O_RDWR)

    def unplug(self) -> None:
        os.close(self._end)

    def write(self, data: bytes) -> None:
        os.write(self._end, data)

    def says(self, name: str) -> str:
        return (self.folder / name).read_text().strip()

    def source(self, *, names: list[str] | None = None, rate_hz: float = 100.0, **settings: Any) -> IioSource:
        table = IioTable.model_validate({"name": "imu", "kind": "iio", "device": "adxl345"} | settings)
        names = names or ["accel_y", "accel_x"]
        return IioSource(table, sample_rate_hz=rate_hz, channel_names=names, sysfs=self.sysfs, devices=self.devices)


@pytest.fixture
def accelerometer(tmp_path: Path) -> Iterator[Accelerometer]:
    made = Accelerometer(tmp_path)
    yield made
    made.unplug()


def scan(x: int, y: int) -> bytes:
    """x in the upper 12 bits of 16, two bytes that align y, and y in big-endian."""
    return struct.pack("<hxx", x << 4) + struct.pack(">i", y)


def test_the_buffer_is_set_up_and_read(accelerometer: Accelerometer, captured: Capturing) -> None:
    """Wanted channels on, others off, the model's rate; values with offset and scale, cut anywhere, in its order."""
    source = captured(accelerometer.source(rate_hz=50.0, scale=2.0, trigger="timer"))
    source.pause(0.3)
    said = {name: accelerometer.says(name) for name in ATTRIBUTES}
    assert (said["scan_elements/in_accel_x_en"], said["scan_elements/in_timestamp_en"]) == ("1", "0")
    assert (said["sampling_frequency"], said["buffer/length"], said["buffer/enable"]) == ("50", "100", "1")
    assert said["trigger/current_trigger"] == "timer"
    data = scan(-2048, -1_000_000) + scan(2047, 5)
    for i in range(0, len(data), 5):
        accelerometer.write(data[i : i + 5])
        source.pause(0.02)
    source.wait(lambda: len(source.first_channel) == 2)
    np.testing.assert_array_equal(source.rows, [[-999_990, -2048], [15, 2047]])
    assert source.stop()
    assert accelerometer.says("buffer/enable") == "0"


def test_an_unplugged_device_is_missing_and_read_again(accelerometer: Accelerometer, captured: Capturing) -> None:
    """The buffer ends, and begins anew."""
    source = captured(accelerometer.source(names=["accel_x"]))
    source.pause(0.2)
    accelerometer.write(struct.pack("<h", 16))
    source.wait(lambda: source.first_channel == [0.5])
    accelerometer.unplug()
    source.wait(lambda: source.missing != [])
    assert "'adxl345' was lost" in source.missing[0]
    accelerometer.plug_in()
    source.pause(2.5)
    accelerometer.write(struct.pack("<h", 32))
    source.wait(lambda: source.first_channel[-1] == 1.0)


def test_what_the_device_cannot_do_is_told(accelerometer: Accelerometer) -> None:
    """Absent, ambiguous, another channel, a rate that cannot be set, a type that is none: each with what there is."""

    def fault(**settings: Any) -> str:
        with pytest.raises(SourceLost) as caught:
            accelerometer.source(**settings).open()
        return str(caught.value)

    assert "there is no device 'bmi160'" in fault(device="bmi160")
    assert "iio:device3 (adxl345)" in fault(device="bmi160")
    assert "has no channel 'accel_z', but accel_x, accel_y, timestamp" in fault(names=["accel_z"])
    (accelerometer.folder / "scan_elements/in_accel_x_type").write_text("le:f32/32")
    assert "'le:f32/32' is not like 'le:s16/16>>0'" in fault()
    (accelerometer.folder / "scan_elements/in_accel_x_type").write_text("le:s16/16")
    (accelerometer.folder / "sampling_frequency").unlink()
    (accelerometer.folder / "sampling_frequency").symlink_to("/dev/null")  # takes what is written, and says nothing
    assert "the model takes 100 Hz; it can 25 50 100 200" in fault()
    (accelerometer.folder / "sampling_frequency").unlink()
    (accelerometer.folder / "buffer/length").unlink()
    (accelerometer.folder / "buffer/length").symlink_to("/dev/full")
    assert "No space left" in fault()
    other = accelerometer.sysfs / "iio:device4"
    other.mkdir()
    (other / "name").write_text("adxl345\n")
    assert "there are several devices 'adxl345'" in fault()


@given(value=st.integers(-(2**63), 2**63 - 1), bits=st.integers(1, 64), data=st.data())
def test_any_type_gives_back_the_number_that_was_stored(value: int, bits: int, data: st.DataObject) -> None:
    """Whatever stands in the other bits; 53 bits are exact."""
    bits = min(bits, 24)  # that float32 holds
    storage = data.draw(st.sampled_from([size for size in (8, 16, 32, 64) if size >= bits]))
    shift = data.draw(st.integers(0, storage - bits))
    noise = data.draw(st.integers(0, 2**storage - 1))
    order, sign = data.draw(st.sampled_from(["le", "be"])), data.draw(st.sampled_from("su"))
    number = value % 2**bits
    mask = (2**bits - 1) << shift
    stored = ((noise & ~mask) | (number << shift)).to_bytes(storage // 8, "little" if order == "le" else "big")
    expected = number - 2**bits if sign == "s" and number >= 2 ** (bits - 1) else number
    element = Element(0, parse_type(f"{order}:{sign}{bits}/{storage}>>{shift}"))
    assert Scan([element]).decode(stored)[0, 0] == expected


@pytest.mark.parametrize(
    "text", ["", "le:s16", "le:s17/16>>0", "le:s16/16>>1", "le:s0/16", "le:s12/24>>0", "xe:s16/16"]
)
def test_types_that_cannot_be_are_refused(text: str) -> None:
    """With what they say."""
    with pytest.raises(ValueError, match="the type"):
        parse_type(text)
