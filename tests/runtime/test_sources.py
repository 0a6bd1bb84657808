"""Sources of samples without a sound card, and the thread and queue between them and scoring."""

from __future__ import annotations

import io
import itertools
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from dasvdd_runtime.errors import ConfigError, DasvddError, DataError
from dasvdd_runtime.running.capture import Capture
from dasvdd_runtime.running.message_queue import Ended, Message, MessageQueue, Missing, Samples
from dasvdd_runtime.sources import SOURCES, make_source
from dasvdd_runtime.sources.base import Block, Source, SourceLost
from dasvdd_runtime.sources.decoders import CsvDecoder, PcmDecoder
from dasvdd_runtime.sources.file import FileSource
from dasvdd_runtime.sources.microphone import InputDevice, choose_device
from dasvdd_runtime.sources.stdin import StdinSource
from dasvdd_runtime.sources.tables import KINDS, FileTable, MicrophoneTable, StdinTable
from dasvdd_runtime.sources.usb_ports import port_of, usb_ports
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

RATE_HZ = 16000.0


def read_all(source: Source) -> NDArray[np.float32]:
    """All samples of a source that ends."""
    source.open()
    blocks = []
    while (block := source.read()) is not None:
        blocks.append(block.samples)
    source.close()
    return np.concatenate(blocks)


def noise(samples: int, channels: int = 1) -> NDArray[np.float32]:
    random = np.random.default_rng(3)
    return random.uniform(-0.5, 0.5, (samples, channels)).astype(np.float32)


# The file source


def test_a_file_is_replayed_sample_by_sample(tmp_path: Path) -> None:
    """Nothing is lost, added or changed at the model's own rate."""
    samples = noise(40_001)
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    source = FileSource(tmp_path / "a.wav", sample_rate_hz=RATE_HZ, channel_names=["channel 0"])
    np.testing.assert_array_equal(read_all(source), samples)


def test_a_replay_says_that_it_is_resampled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At half the model's rate half of the spectrum is missing: that is no fault of the machine."""
    soundfile.write(tmp_path / "a.wav", noise(8000), 8000)
    source = FileSource(tmp_path / "a.wav", sample_rate_hz=RATE_HZ, channel_names=["channel 0"])
    assert len(read_all(source)) == 16000
    assert "resampled from 8000 Hz to the model's 16000 Hz: nothing above 4000 Hz is in it" in caplog.text


def test_real_time_takes_as_long_as_the_recording(tmp_path: Path) -> None:
    """Half a second of sound takes half a second to replay, and the last sample does not come early."""
    soundfile.write(tmp_path / "a.wav", noise(8000), 16000)
    source = FileSource(tmp_path / "a.wav", sample_rate_hz=RATE_HZ, channel_names=["channel 0"], real_time=True)
    begin = time.monotonic()
    assert len(read_all(source)) == 8000
    assert 0.5 <= time.monotonic() - begin < 2.0


def test_a_replay_in_real_time_waits_in_short_turns(tmp_path: Path) -> None:
    """Through a gap of rows it says again and again that nothing came, so that a stop need not wait for its end."""
    times = [0.0, 0.1, 0.2, 0.3, 1.4, 1.5, 1.6]
    (tmp_path / "a.csv").write_text("time,x\n" + "".join(f"{at},{at}\n" for at in times))
    source = FileSource(tmp_path / "a.csv", sample_rate_hz=10.0, channel_names=["x"], real_time=True)
    source.open()
    begin = turn = time.monotonic()
    longest_seconds, rows, lost = 0.0, 0, 0
    while (block := source.read()) is not None:
        turn, before = time.monotonic(), turn
        longest_seconds = max(longest_seconds, turn - before)
        rows, lost = rows + len(block.samples), lost + (block.lost or 0)
    assert (rows, lost) == (7, 10)
    assert time.monotonic() - begin >= 1.7
    assert longest_seconds < 0.8


def test_a_file_with_other_channels_is_refused(tmp_path: Path) -> None:
    """Stereo for a mono model is an error with both numbers, not a guess."""
    soundfile.write(tmp_path / "a.wav", noise(8000, 2), 16000)
    source = FileSource(tmp_path / "a.wav", sample_rate_hz=RATE_HZ, channel_names=["channel 0"])
    with pytest.raises(DataError, match="2 channels, but the model takes 1"):
        read_all(source)


@pytest.mark.parametrize(("header", "channel_names"), [("time,y,x\n", ["x", "y"]), ("", ["column 3", "column 2"])])
def test_a_table_gives_the_models_channels(tmp_path: Path, header: str, channel_names: list[str]) -> None:
    """CSV columns are picked by the names, or without a header by the positions, that the model was trained with."""
    (tmp_path / "a.csv").write_text(header + "".join(f"{i / 10},{i + 0.5},{-i}\n" for i in range(20)))
    source = FileSource(tmp_path / "a.csv", sample_rate_hz=10.0, channel_names=channel_names)
    expected = [[-i, i + 0.5] for i in range(20)]
    np.testing.assert_array_equal(read_all(source), np.array(expected, np.float32))


# Standard input


@given(cuts=st.lists(st.integers(0, 400), max_size=8), channels=st.integers(1, 3))
def test_pcm_may_be_cut_anywhere(cuts: list[int], channels: int) -> None:
    """However the bytes arrive, the samples are those that libsndfile makes of the whole."""
    values = np.arange(-150, 150, dtype="<i2")[: 300 // channels * channels].reshape(-1, channels)
    data = values.tobytes()
    decoder = PcmDecoder(format="s16le", channels=channels)
    edges = [0, *sorted(cuts), len(data)]
    found = [decoder.decode(data[a:b]) for a, b in itertools.pairwise(edges)]
    expected, _ = soundfile.read(
        io.BytesIO(data), samplerate=16000, channels=channels, format="RAW", subtype="PCM_16", always_2d=True
    )
    np.testing.assert_array_equal(np.concatenate([*found, decoder.finish()]), expected.astype(np.float32))


@given(cuts=st.lists(st.integers(0, 60), max_size=8))
def test_csv_may_be_cut_anywhere(cuts: list[int]) -> None:
    """However the bytes arrive, the rows are the same, the last one without a line feed included."""
    data = b"time;x;y\r\n1;0.5;-2\r\n\r\n2;1e3;+4\r\n3; 7 ;8"
    decoder = CsvDecoder(["y", "x"])
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    found = [decoder.decode(data[a:b]) for a, b in itertools.pairwise(edges)]
    rows = np.concatenate([*found, decoder.finish()])
    np.testing.assert_array_equal(rows, np.array([[-2, 0.5], [4, 1000], [8, 7]], np.float32))


def test_a_bad_row_is_a_fault_and_not_the_end() -> None:
    """A word in a cell, an empty cell and a torn row become NaN where they stand; the rows around them are kept."""
    rows = CsvDecoder(["x", "y"]).decode(b"1,2\n3,oops\n4,\n5\n6,7,8\n9,10\n")
    nan = np.nan
    np.testing.assert_array_equal(rows, [[1, 2], [3, nan], [4, nan], [nan, nan], [nan, nan], [9, 10]])


def test_what_cannot_be_read_is_named_with_line_and_column(caplog: pytest.LogCaptureFixture) -> None:
    """And with what mends it; a missing value is no fault of the writing, and is not told."""
    CsvDecoder(["x", "y"], label="source 'a'").decode(b"t;x;y\n0;1;2\n1;3,5;4\n2;oops;4\n3;;nan\n4;5\n")
    assert [message.removesuffix("; it counts as not finite") for message in caplog.messages] == [
        "source 'a': line 3 of those read, column 2 (x): '3,5' is no number. Write numbers with a decimal point.",
        "source 'a': line 4 of those read, column 2 (x): 'oops' is no number.",
        "source 'a': line 6 of those read has 2 columns, the first has 3: '4;5'",
    ]


def test_bytes_without_a_line_feed_do_not_fill_the_memory() -> None:
    """A binary stream sent by mistake as CSV is cut into faulty rows."""
    decoder = CsvDecoder(["x"])
    decoder.decode(b"1\n")
    rows = np.concatenate([decoder.decode(b"\xff" * 65_536) for _ in range(40)])
    assert len(rows) >= 1
    assert np.isnan(rows).all()
    assert len(decoder._reader._pending) < 1_100_000


def test_a_table_without_the_models_channels_is_refused() -> None:
    """The error shows what came and what is needed."""
    with pytest.raises(DataError, match=r"3 columns \(time, a, b\).*2 \(x, y\)"):
        CsvDecoder(["x", "y"]).decode(b"time,a,b\n")
    with pytest.raises(DataError, match="csv_tail leaves out a column of times that is named: time_column = 'time'"):
        CsvDecoder(["x", "y"]).decode(b"time,a,b\n")


def test_standard_input_waits_ends_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty pipe gives empty blocks at once, and the end comes after the last row."""
    reading, writing = os.pipe()
    monkeypatch.setattr(sys, "stdin", os.fdopen(reading))
    source = StdinSource(format="csv", sample_rate_hz=10.0, channel_names=["x"])
    source.open()
    begin = time.monotonic()
    block = source.read()
    assert block is not None
    assert block.samples.shape == (0, 1)
    assert time.monotonic() - begin < 1.0
    os.write(writing, b"1\n2\n3")
    os.close(writing)
    rows = read_all(source)
    sys.stdin.close()
    np.testing.assert_array_equal(rows, [[1], [2], [3]])


def test_each_kind_of_table_has_a_source() -> None:
    """No kind that a monitor.toml may name is forgotten where sources are made."""
    assert set(SOURCES) == set(KINDS.values())


def test_sound_for_a_model_of_sensors_is_refused(tiny_model: Any) -> None:
    """A microphone cannot feed a model that judges accelerations."""
    metadata = tiny_model.metadata(kind="sensor", channels=2)
    for table in (
        MicrophoneTable(name="m", kind="microphone"),
        StdinTable(name="m", kind="stdin", format="s16le"),
    ):
        with pytest.raises(ConfigError, match='gives rows: "file", "stdin", "command", "csv_tail"'):
            make_source(table, metadata)
    assert make_source(FileTable(name="f", kind="file", path=Path("a.csv")), metadata).sample_rate_hz == 16000


# Choosing a microphone by name

DEVICES = [
    InputDevice(0, "USB Audio: Device A (hw:1,0)", 44100.0, 1, False),
    InputDevice(1, "USB Audio: Device B (hw:2,0)", 48000.0, 2, False),
    InputDevice(2, "default", 44100.0, 32, True),
]


@pytest.mark.parametrize(("wanted", "index"), [("Device A", 0), ("device b", 1), ("hw:2", 1), ("", 2), ("default", 2)])
def test_a_microphone_is_chosen_by_part_of_its_name(wanted: str, index: int) -> None:
    """Any part of the name in any case will do if only one device has it; nothing means the default."""
    assert choose_device(DEVICES, wanted).index == index


@pytest.mark.parametrize(("wanted", "says"), [("USB", "2 input devices.*Device A.*Device B"), ("pump", "'default'")])
def test_ambiguous_and_missing_names_list_what_there_is(wanted: str, says: str) -> None:
    """The error names the candidates."""
    with pytest.raises(SourceLost, match=says):
        choose_device(DEVICES, wanted)


def test_an_equal_name_beats_a_longer_one() -> None:
    """'mic' is not ambiguous beside 'mic 2'."""
    devices = [InputDevice(0, "mic 2", 1.0, 1, False), InputDevice(1, "mic", 1.0, 1, False)]
    assert choose_device(devices, "mic").index == 1


PORTS = [
    InputDevice(0, "USB PnP (hw:1,0)", 44100.0, 1, True, "1-1.2"),
    InputDevice(1, "USB PnP (hw:2,0)", 44100.0, 1, False, "1-1.3"),
    InputDevice(2, "Card (hw:3,0)", 44100.0, 1, False, "2-1"),
    InputDevice(3, "Card (hw:3,1)", 44100.0, 1, False, "2-1"),
]


@pytest.mark.parametrize(("wanted", "port", "index"), [("", "1-1.3", 1), ("usb", "1-1.2", 0), ("3,1", "2-1", 3)])
def test_microphones_of_one_name_are_told_apart_by_their_ports(wanted: str, port: str, index: int) -> None:
    """The port decides; a part of a name, where one port has several inputs."""
    assert choose_device(PORTS, wanted, port).index == index


@pytest.mark.parametrize(("port", "says"), [("1-9", "USB port 1-9.*1-1.2, 1-1.3, 2-1"), ("2-1", "2 input devices")])
def test_an_empty_or_ambiguous_port_lists_what_there_is(port: str, says: str) -> None:
    """The error names the ports with a microphone, or the inputs in the port."""
    with pytest.raises(SourceLost, match=says):
        choose_device(PORTS, "", port)


def test_ports_are_read_as_linux_shows_them(tmp_path: Path) -> None:
    """A card on a hub, one on a root port, and one that is not on USB."""
    pci = tmp_path / "devices/pci0000:00/0000:00:14.0"
    places = {1: pci / "usb1/1-1/1-1.2/1-1.2:1.0", 2: pci / "usb2/2-4/2-4:1.1", 0: pci}
    (tmp_path / "class/card7x").mkdir(parents=True)
    for card, place in places.items():
        place.mkdir(parents=True, exist_ok=True)
        (place / f"sound/card{card}").mkdir(parents=True)
        (place / f"sound/card{card}/device").symlink_to(place)
        (tmp_path / f"class/card{card}").symlink_to(place / f"sound/card{card}")
    ports = usb_ports(tmp_path / "class")
    assert ports == {1: "1-1.2", 2: "2-4"}
    assert [port_of(name, ports) for name in ("X: - (hw:2,0)", "Y (hw:0,0)", "pulse")] == ["2-4", "", ""]


# The queue and the thread


def queue(*, live: bool, rate_hz: float = 10.0) -> MessageQueue:
    return MessageQueue(sample_rate_hz=rate_hz, live=live, wake=threading.Event())


def block(value: float, samples: int = 40) -> Samples:
    return Samples(np.full((samples, 1), value, np.float32))


def test_a_full_live_queue_drops_the_oldest_and_says_how_many() -> None:
    """Of 160 samples, the 10 s at 10 Hz that may wait are kept, and the first kept block tells of the 80 before it."""
    messages = queue(live=True)
    messages.put(Missing("gone"))
    for value in range(4):
        messages.put(block(value))
    missing, *kept = messages.take_all()
    assert isinstance(missing, Missing)
    assert [message.samples[0, 0] for message in kept if isinstance(message, Samples)] == [2, 3]
    first = kept[0]
    assert isinstance(first, Samples)
    assert (first.gap, first.dropped, first.lost) == (True, 80, 0)
    assert messages.take_all() == []


def test_losses_before_dropped_samples_are_not_forgotten() -> None:
    """A gap that was reported with a block survives the block."""
    messages = queue(live=True)
    messages.put(Samples(np.zeros((60, 1), np.float32), gap=True, lost=7))
    messages.put(Samples(np.zeros((60, 1), np.float32), gap=True, lost=2))
    (kept,) = messages.take_all()
    assert isinstance(kept, Samples)
    assert (kept.gap, kept.lost, kept.dropped) == (True, 9, 60)


class ListSource:
    """Plays a script: blocks are given, exceptions are raised, and a float is a time to wait."""

    sample_rate_hz = 10.0

    def __init__(self, script: list[NDArray[np.float32] | Exception | None], *, live: bool) -> None:
        self.live = live
        self.opened = 0
        self.reads = 0
        self._script = script

    def open(self) -> None:
        self.opened += 1

    def read(self) -> Block | None:
        self.reads += 1
        if not self._script:
            time.sleep(0.01)
            return Block(np.empty((0, 1), np.float32))
        step = self._script.pop(0)
        if isinstance(step, Exception):
            raise step
        return None if step is None else Block(step)

    def close(self) -> None:
        pass


def gather(capture: Capture, *, until: type[Message], seconds: float = 10.0) -> list[Message]:
    """Messages up to the first of type `until` after a sample, or all of `seconds`."""
    messages: list[Message] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not any(isinstance(message, until) for message in messages):
        messages += capture.take_all()
        time.sleep(0.01)
    return messages


def start(source: Source, *, stall_seconds: float = 5.0) -> Capture:
    capture = Capture(source, name="test", stall_seconds=stall_seconds, wake=threading.Event())
    capture.start()
    return capture


def stop(capture: Capture) -> None:
    capture.request_stop()
    assert capture.join()


def test_nothing_is_dropped_from_a_source_that_can_wait() -> None:
    """A file is read no further than a few blocks ahead, and every block arrives in order."""
    source = ListSource([np.full((1000, 1), i, np.float32) for i in range(50)] + [None], live=False)
    capture = start(source)
    time.sleep(0.3)
    assert source.reads <= 6
    messages = gather(capture, until=Ended)
    stop(capture)
    assert [m.samples[0, 0] for m in messages if isinstance(m, Samples)] == list(range(50))
    assert messages[-1] == Ended(None)


def test_a_fault_ends_a_finite_source_and_is_handed_on() -> None:
    """A damaged file is not opened again."""
    fault = DataError("truncated")
    source = ListSource([np.ones((5, 1), np.float32), fault], live=False)
    capture = start(source)
    messages = gather(capture, until=Ended)
    stop(capture)
    assert messages[-1] == Ended(fault)
    assert source.opened == 1


@pytest.mark.parametrize(
    ("fault", "reason", "traced"),
    [
        (SourceLost("unplugged"), "unplugged", False),
        (OSError(24, "Too many open files"), "Too many open files", False),
        (ValueError("driver nonsense"), "ValueError: driver nonsense", True),
    ],
    ids=["lost", "system", "driver"],
)
def test_a_live_source_that_fails_is_opened_again(
    fault: Exception, reason: str, traced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a driver raises: MISSING with the reason, then samples again, marked as after a gap with its length.

    The log has a traceback of faults in code alone.
    """
    ones = np.ones((5, 1), np.float32)
    source = ListSource([ones, fault, ones * 2], live=True)
    capture = start(source)
    messages = gather(capture, until=Missing) + gather(capture, until=Samples)
    stop(capture)
    before, missing, after = messages
    assert isinstance(before, Samples)
    assert not before.gap
    assert missing == Missing(reason)
    assert any(record.exc_info for record in caplog.records) == traced
    assert isinstance(after, Samples)
    assert after.gap
    assert 5 <= after.lost <= 30  # away for one second and more; 10 samples a second


def test_a_live_source_that_gives_nothing_is_opened_again() -> None:
    """A device that hangs without an error is closed and opened once it has given nothing for too long."""
    source = ListSource([np.ones((5, 1), np.float32)], live=True)
    capture = start(source, stall_seconds=0.1)
    time.sleep(0.15)
    assert capture.waiting_seconds() > 0.05
    messages = gather(capture, until=Missing)
    stop(capture)
    assert any(isinstance(message, Missing) and "no samples" in message.reason for message in messages)


def test_a_read_that_never_returns_does_not_hold_up_the_end() -> None:
    """A driver that keeps the thread is seen by its waiting, and joining gives up."""
    release = threading.Event()

    class HangingSource(ListSource):
        def read(self) -> Block | None:
            release.wait()
            return None

    capture = start(HangingSource([], live=True))
    time.sleep(0.2)
    assert capture.waiting_seconds() >= 0.1
    capture.request_stop()
    begin = time.monotonic()
    assert not capture.join()
    assert time.monotonic() - begin < 5.0
    release.set()
    assert capture.join()


def test_errors_of_sources_have_exit_codes() -> None:
    """A lost source is an unavailable device to a service manager."""
    assert issubclass(SourceLost, DasvddError)
    assert SourceLost("x").exit_code == 69
