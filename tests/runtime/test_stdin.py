"""Standard input as a source: samples or rows, however the bytes arrive."""

from __future__ import annotations

import io
import itertools
import os
import sys
import time

import numpy as np
import pytest
import soundfile
from dasvdd_runtime.errors import DataError
from dasvdd_runtime.sources.decoders import CsvDecoder, PcmDecoder
from dasvdd_runtime.sources.stdin import StdinSource
from hypothesis import given
from hypothesis import strategies as st


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
    CsvDecoder(["x", "y"], label="source 'a'").decode(b"t;x;y\n0;1.5;2\n1;3,5;4\n2;oops;4\n3;;nan\n4;5\n")
    assert [message.removesuffix("; it counts as not finite") for message in caplog.messages] == [
        "source 'a': line 3 of those read, column 2 (x): '3,5' is no number. Numbers before it have a decimal point.",
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
        CsvDecoder(["column 1", "column 2"]).decode(b"time,a,b\n")


@pytest.mark.parametrize(
    "header",
    [
        "a;b;c",
        "Ax [g];foo;Az [g]",
        "Az [mg];Ay [mg];Ax [mg]",
        "1;b;c",
        "Ax [g];Ax [g];Ay [g];Az [g]",
        "ax [g];ay [g];az [g]",
    ],
)
def test_a_foreign_header_is_never_taken_by_place(header: str) -> None:
    """Other names, some of them, another unit, order unknown: refused, as a file with it is; both lists are told."""
    with pytest.raises(DataError) as refused:
        CsvDecoder(["Ax [g]", "Ay [g]", "Az [g]"]).decode(f"{header}\n1;2;3\n".encode())
    assert "Ax [g]" in str(refused.value)


def test_german_numbers_without_a_header_are_read() -> None:
    """Between semicolons and tabs a comma is decimal, from the first row on; '1.452' among them is no number."""
    for delimiter in ";\t":
        text = "0,01417;0,10540;1\n-1,5;2;3e-1\n1.452;0;0\n".replace(";", delimiter)
        rows = CsvDecoder(["x", "y", "z"]).decode(text.encode())
        np.testing.assert_allclose(rows, [[0.01417, 0.1054, 1], [-1.5, 2, 0.3], [np.nan, 0, 0]], rtol=1e-6)
    with pytest.raises(DataError, match=r"6 columns.*takes 3 .*Decimal commas\?"):
        CsvDecoder(["x", "y", "z"]).decode(b"0,014,0,105,1,031\n")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('# "Az [g]";Ax [g];Ay [g]', [[20, 30, 10]]),
        ("n;Az [g];Ay [g];Ax [g]", [[40, 30, 20]]),
        ("1.5;2;ERR", [[1.5, 2, np.nan], [10, 20, 30]]),
        ("1,5;2,5;3,5", [[1.5, 2.5, 3.5], [10, 20, 30]]),
    ],
    ids=["another order", "one more", "a first row that went wrong", "decimal commas"],
)
def test_columns_come_by_name_and_a_first_row_is_no_header(header: str, expected: list[list[float]]) -> None:
    """All names, in any order and beside others, or none and a row of measurements."""
    cells = ["10", "20", "30", "40"][: header.count(";") + 1]
    rows = CsvDecoder(["Ax [g]", "Ay [g]", "Az [g]"]).decode(f"{header}\n{';'.join(cells)}\n".encode())
    np.testing.assert_array_equal(rows, np.array(expected, np.float32))


def test_channels_by_place_take_any_header() -> None:
    """What [[source]] asks for by number, or a model of tables without names, says itself which column is which."""
    rows = CsvDecoder(["column 1", "column 2"]).decode(b"a,b\n1,2\n")
    np.testing.assert_array_equal(rows, [[1, 2]])


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
    rows = np.concatenate([block.samples for block in iter(source.read, None)])
    source.close()
    sys.stdin.close()
    np.testing.assert_array_equal(rows, [[1], [2], [3]])
