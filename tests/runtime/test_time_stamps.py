"""The times of rows -> rate, pieces between gaps, duplicates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from dasvdd_runtime.reading.time_stamps import parse_stamp
from dasvdd_runtime.recordings import RecordingError, TableFormat, open_pieces, probe, read_pieces, read_signal
from dasvdd_runtime.sources.file import FileSource
from hypothesis import given
from hypothesis import strategies as st

NOON = datetime(2026, 3, 9, 12, 0, 0, tzinfo=UTC)


def write(path: Path, seconds: list[float], *, values: list[float] | None = None, label: str = "time") -> Path:
    """A CSV with a row at each of `seconds` after noon, in ISO 8601; the value is the row's number."""
    rows = values if values is not None else list(range(len(seconds)))
    lines = [f"{(NOON + timedelta(seconds=at)).isoformat()},{value}" for at, value in zip(seconds, rows, strict=True)]
    path.write_text("\n".join([f"{label},x", *lines]) + "\n")
    return path


def pieces_of(path: Path, table: TableFormat = TableFormat()) -> list[tuple[float, list[float]]]:  # noqa: B008
    """(start in seconds, values) of every piece."""
    return [
        (round(piece.start_seconds, 6), [float(v) for block in piece.blocks for v in block[:, 0]])
        for piece in open_pieces(path, table=table)
    ]


def fault_of(path: Path, table: TableFormat = TableFormat()) -> str:  # noqa: B008
    with pytest.raises(RecordingError) as caught:
        for piece in open_pieces(path, table=table):
            list(piece.blocks)
    return caught.value.reason


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("2026-03-09T12:00:00.250Z", None),
        ("2026-03-09 13:00:00.250+01:00", None),
        ("2026-03-09 12:00:00,250", None),
        ("9.3.2026 12:00:00.250", None),
        ("1773057600.25", None),
        ("1773057600250", None),
        ("1773057600250000", None),
        ("1773057600250000000", None),
        ("1.77305760025e9", "s"),
    ],
)
def test_every_way_to_write_a_time_is_exact(text: str, unit: str | None) -> None:
    """ISO 8601, a German date and epoch times in four units give the nanosecond that NumPy gives."""
    assert parse_stamp(text, unit) == np.datetime64("2026-03-09T12:00:00.250", "ns").astype(np.int64)


@given(st.integers(min_value=0, max_value=4 * 10**18))
def test_decimals_keep_every_nanosecond(stamp_ns: int) -> None:
    """Epoch seconds with nine decimals come back as the same nanosecond, which a float would not hold."""
    assert parse_stamp(f"{stamp_ns // 10**9}.{stamp_ns % 10**9:09}", "s") == stamp_ns


@pytest.mark.parametrize(("rate_hz", "written"), [(100.0, 6), (600.0, 3), (900.0, 3), (25.0, 2), (0.2, 0)])
def test_the_rate_is_that_of_the_rows(tmp_path: Path, rate_hz: float, written: int) -> None:
    """Times rounded to what a logger writes give the true rate, and no gap."""
    rows = 4000
    path = write(tmp_path / "a.csv", [round(i / rate_hz, written) for i in range(rows)])
    measured_hz, _, seconds = probe(path)
    assert measured_hz == pytest.approx(rate_hz, rel=2e-3)
    assert seconds == pytest.approx(rows / rate_hz, rel=2e-3)


def test_a_late_row_is_no_gap_and_a_lost_one_is(tmp_path: Path) -> None:
    """A step of 1.4 usual ones passes; the recording is parted at a step of 2, wherever the rows lie."""
    steady = [i * 0.01 for i in range(50)]
    late = [*steady, *(0.504 + i * 0.01 for i in range(50))]
    assert len(pieces_of(write(tmp_path / "late.csv", late))) == 1
    lost = [*steady, *(0.51 + i * 0.01 for i in range(50))]
    assert pieces_of(write(tmp_path / "lost.csv", lost)) == [
        (0.0, list(map(float, range(50)))),
        (0.51, list(map(float, range(50, 100)))),
    ]


@given(
    lost=st.sets(st.integers(2, 197), max_size=6),
    twice=st.sets(st.integers(2, 197), max_size=6),
    rows=st.integers(1, 60),
)
def test_pieces_and_duplicates_are_those_that_a_loop_finds(
    tmp_path_factory: pytest.TempPathFactory, lost: set[int], twice: set[int], rows: int
) -> None:
    """With rows lost and rows written twice anywhere, the pieces hold each row that is left once, at its time."""
    path = tmp_path_factory.mktemp("t") / "a.csv"
    kept = [i for i in range(200) if i not in lost]
    written = [i for i in kept for _ in range(1 + (i in twice))]
    write(path, [i / 100 for i in written], values=[float(i) for i in written])
    expected: list[tuple[float, list[float]]] = []
    for i in kept:
        if not expected or expected[-1][1][-1] != i - 1:
            expected.append((i / 100, []))
        expected[-1][1].append(float(i))
    opened = read_pieces(path, block_seconds=rows / 100, sample_rate_hz=100.0, table=TableFormat(100.0))
    found = [(round(p.start_seconds, 6), [float(v) for b in p.blocks for v in b[:, 0]]) for p in opened]
    assert found == expected


def test_a_part_is_cut_by_the_time_and_not_by_the_row(tmp_path: Path) -> None:
    """Seconds of a part count gaps in: half a second after a gap of ten is found there."""
    path = write(tmp_path / "a.csv", [*(i / 100 for i in range(100)), *(11 + i / 100 for i in range(100))])
    part = open_pieces(path, start_seconds=0.9, end_seconds=11.05)
    assert [float(v) for piece in part for block in piece.blocks for v in block[:, 0]] == list(range(90, 105))
    with pytest.raises(RecordingError, match=r"holds 12\.000 s"):
        open_pieces(path, start_seconds=5, end_seconds=13)
    with pytest.raises(RecordingError, match="outside"):
        open_pieces(path, start_seconds=3, end_seconds=4)


def test_a_gapped_file_is_no_one_signal(tmp_path: Path) -> None:
    """What wants one signal is told of the gap instead of getting the rows joined."""
    path = write(tmp_path / "a.csv", [*(i / 100 for i in range(100)), *(11 + i / 100 for i in range(100))])
    with pytest.raises(RecordingError, match="1 gap, 10 s without rows"):
        read_signal(path)


@pytest.mark.parametrize(
    ("seconds", "values", "expected"),
    [
        ([0, 1, 2, 1.5, 3], None, "row 4 (2026-03-09 12:00:01.500) lies 0.5 s before row 3"),
        ([0, 1, 2, 2, 3], None, "rows 3 and 4 have the same time and different values"),
        ([3600, 3601, 3602, 3, 4], None, "daylight saving"),
        ([5, 5, 5, 5], [1.0, 2.0, 3.0, 4.0], "have the time 2026-03-09 12:00:05.000"),
    ],
)
def test_times_that_are_no_time_line_are_refused(
    tmp_path: Path, seconds: list[float], values: list[float] | None, expected: str
) -> None:
    """Backwards, twice with other values, an hour back, standing still: an error that names the rows."""
    assert expected in fault_of(write(tmp_path / "a.csv", seconds, values=values))


def test_irregular_times_are_refused(tmp_path: Path) -> None:
    """Rows that arrive in bursts have no rate, and the way out is named."""
    seconds = [burst * 1.0 + i * 0.001 for burst in range(40) for i in range(5)]
    reason = fault_of(write(tmp_path / "a.csv", seconds))
    assert "irregular" in reason
    assert "time_column=none" in reason


def test_a_rate_that_contradicts_the_times_is_an_error_with_both(tmp_path: Path) -> None:
    """100 Hz for rows a second apart is refused; with the times left out it is believed."""
    path = write(tmp_path / "a.csv", [float(i) for i in range(20)])
    reason = fault_of(path, TableFormat(100.0))
    assert "its times say 1 Hz" in reason
    assert "100 Hz were asked for" in reason
    assert probe(path, table=TableFormat(100.0, time_column="none")) == (100.0, 1, 0.2)


def test_a_cell_that_is_no_time_is_named(tmp_path: Path) -> None:
    """The line and the text come with the forms that can be read."""
    path = tmp_path / "a.csv"
    path.write_text("time,x\n0.0,1\n0.1,2\nlater,3\n")
    assert fault_of(path).startswith("line 4: 'later' is no time. ISO 8601")


@pytest.mark.parametrize(
    "cell",
    [
        "1e300",
        "-1e300",
        "1e999999999",
        "nan",
        "inf",
        "9" * 20,
        "9" * 5000,
        "0001-01-01T00:00:00",
        "9999-12-31 23:59:59",
    ],
    ids=lambda cell: cell[:20],
)
@pytest.mark.parametrize("row", [0, 1])
def test_a_time_out_of_all_reason_is_named_with_its_line(tmp_path: Path, cell: str, row: int) -> None:
    """What a logger writes before its clock is set, and what does not fit into nanoseconds of 64 bits."""
    cells = ["1700000000", "1700000001", "1700000002"]
    cells[row] = cell
    (tmp_path / "a.csv").write_text("time,x\n" + "".join(f"{time},1\n" for time in cells))
    assert fault_of(tmp_path / "a.csv").startswith(f"line {row + 2}: '{cell}' is no time")


def test_a_first_row_that_ends_before_its_time_is_named(tmp_path: Path) -> None:
    """As a later one is, with its line and both numbers of columns."""
    (tmp_path / "a.csv").write_text("x,y,time\n1\n1,2,0.1\n")
    assert "line 2 has 1 columns, the first line has 3" in fault_of(tmp_path / "a.csv", TableFormat(time_column="time"))


@pytest.mark.parametrize(
    "times",
    [
        pyarrow.array([0.0, np.nan, 2.0]),
        pyarrow.array([0.0, np.inf, 2.0], pyarrow.float32()),
        pyarrow.array([0, 2**63 - 1, 2**63 - 1]),
        pyarrow.array([0, -(2**62), 1], pyarrow.timestamp("ms")),
        pyarrow.array([0, 2**64 - 1, 1], pyarrow.uint64()),
    ],
    ids=lambda times: str(times.type),
)
def test_such_a_time_in_parquet_is_named_with_its_row(tmp_path: Path, times: pyarrow.Array) -> None:
    """In the first row, too, which says the unit of the others."""
    path = tmp_path / "a.parquet"
    for order, row in (([0, 1, 2], 2), ([1, 0, 2], 1)):
        table = pyarrow.table({"time": times.take(pyarrow.array(order)), "x": [1.0, 2.0, 3.0]})
        pyarrow.parquet.write_table(table, path)
        assert fault_of(path).startswith(f"row {row}: ")
        assert "is no time within 146 years of 1970" in fault_of(path)


def test_text_in_parquet_is_no_time(tmp_path: Path) -> None:
    """The column that was named is told with its type."""
    pyarrow.parquet.write_table(pyarrow.table({"when": ["a", "b"], "x": [1.0, 2.0]}), tmp_path / "a.parquet")
    assert "'when' is of the type string" in fault_of(tmp_path / "a.parquet", TableFormat(time_column="when"))


def test_an_index_of_pandas_is_a_time_only_where_it_holds_times(tmp_path: Path) -> None:
    """The nameless leading column that it writes carries the rate if it holds dates; a count does not."""
    dated = [f"{NOON + timedelta(milliseconds=10 * i)},{i}.0" for i in range(50)]
    (tmp_path / "a.csv").write_text("\n".join([",x", *dated]))
    assert probe(tmp_path / "a.csv") == (100.0, 1, 0.5)
    (tmp_path / "b.csv").write_text("\n".join([",x", *(f"{i},{i}.0" for i in range(50))]))
    assert "does not say its sample rate" in fault_of(tmp_path / "b.csv")
    assert probe(tmp_path / "b.csv", table=TableFormat(50.0)) == (50.0, 1, 1.0)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_times_of_every_unit(tmp_path: Path, unit: str) -> None:
    """Gaps and duplicates of a timestamp column are found in any of Arrow's units, whatever its place."""
    seconds = [0, 1, 2, 3, 3, 10, 11, 12]
    stamps = pyarrow.array([NOON + timedelta(seconds=s) for s in seconds], pyarrow.timestamp(unit, "UTC"))
    table = pyarrow.table({"x": np.array(seconds, np.float32), "when": stamps})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=3)
    assert pieces_of(tmp_path / "a.parquet") == [(0.0, [0, 1, 2, 3]), (10.0, [10, 11, 12])]


def test_a_replay_tells_the_monitor_what_a_gap_lost(tmp_path: Path) -> None:
    """The block after a gap says how many samples are missing, as a live source would."""
    path = write(tmp_path / "a.csv", [*(i / 100 for i in range(100)), *(11 + i / 100 for i in range(100))])
    source = FileSource(path, sample_rate_hz=100.0, channel_names=["x"])
    source.open()
    blocks = [source.read(), source.read()]
    assert [(len(block.samples), block.lost) for block in blocks if block is not None] == [(100, 0), (100, 1000)]
    assert source.read() is None


@pytest.mark.parametrize("rate_hz", [99.1, 100.9])
def test_a_gap_is_as_long_as_its_times_say_where_the_rate_is_a_little_off(tmp_path: Path, rate_hz: float) -> None:
    """Rows that are counted at a rate up to 1 % off take nothing from the gaps between them, and add nothing."""
    times = [i / rate_hz + 0.3 * (i >= 2000) for i in range(4000)]
    path = write(tmp_path / "a.csv", times)
    pieces = open_pieces(path, table=TableFormat(sample_rate_hz=100.0))
    assert [piece.start_seconds for piece in pieces] == pytest.approx([0.0, 20.3], abs=0.001)
    source = FileSource(path, sample_rate_hz=100.0, channel_names=["x"])
    source.open()
    assert sum(block.lost or 0 for block in iter(source.read, None) if block is not None) == 30
