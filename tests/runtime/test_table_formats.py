"""Time series in NPY, NPZ and Parquet: what other programs wrote is what is read, and damage is named."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from dasvdd_runtime.recordings import RecordingError, TableFormat, open_pieces, probe, read_pieces, read_signal
from numpy.typing import NDArray

RATED = TableFormat(sample_rate_hz=200.0)
ROWS = np.random.default_rng(0).standard_normal((1000, 3)).astype(np.float32)


def write(path: Path, rows: NDArray[Any] = ROWS, **more: Any) -> Path:
    """`rows` in the format of the suffix, by NumPy and Arrow themselves."""
    if path.suffix == ".npy":
        np.save(path, rows)
    elif path.suffix == ".npz":
        np.savez(path, samples=rows, **more)
    else:
        columns = dict(zip("xyz", rows.T, strict=False)) | {"note": ["a"] * len(rows)}
        pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=300)
    return path


def reason_of(path: Path, table: TableFormat = RATED) -> str:
    with pytest.raises(RecordingError) as caught:
        read_signal(path, table=table)
    return caught.value.reason


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet"])
def test_rows_are_those_that_were_written(tmp_path: Path, suffix: str) -> None:
    """Whole, in part and in blocks across row groups; columns by name or position; length without reading."""
    path = write(tmp_path / f"a{suffix}")
    signal = read_signal(path, table=RATED)
    np.testing.assert_array_equal(signal.samples, ROWS)
    assert signal.channel_names == (("x", "y", "z") if suffix == ".parquet" else ("column 1", "column 2", "column 3"))
    np.testing.assert_array_equal(
        read_signal(path, start_seconds=1.45, end_seconds=3.2, table=RATED).samples, ROWS[290:640]
    )
    blocks = list(read_pieces(path, block_seconds=0.7, sample_rate_hz=200.0, table=RATED)[0].blocks)
    np.testing.assert_array_equal(np.concatenate(blocks), ROWS)
    picked = read_signal(path, table=TableFormat(200.0, ("3", "1")))
    np.testing.assert_array_equal(picked.samples, ROWS[:, [2, 0]])
    assert probe(path, table=RATED) == (200.0, 3, 5.0)
    assert "no column 'w'" in reason_of(path, TableFormat(200.0, ("w",)))
    with pytest.raises(RecordingError, match="lies outside the file"):
        read_signal(path, start_seconds=4, end_seconds=6, table=RATED)


def test_an_archive_may_name_its_rate_and_channels(tmp_path: Path) -> None:
    """They need not be given again, and a rate that contradicts the file's is an error with both."""
    path = write(tmp_path / "a.npz", sample_rate_hz=50.0, channel_names=["p", "q", "r"])
    opened = open_pieces(path)[0]
    assert (opened.sample_rate_hz, opened.channel_names) == (50.0, ("p", "q", "r"))
    assert reason_of(path) == (
        "it says 50 Hz, 200 Hz were asked for: one of them is wrong. Leave the rate out to use its own"
    )
    assert "does not say its sample rate" in reason_of(write(tmp_path / "b.npz"), TableFormat())


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"sample_rate_hz": [10.0, 20.0]}, "sample_rate_hz = [10. 20.] in it is no rate; one number"),
        ({"sample_rate_hz": "fast"}, "sample_rate_hz = 'fast' in it is no rate; one number"),
        ({"sample_rate_hz": np.nan}, "sample_rate_hz = nan in it is no rate; one number"),
        ({"channel_names": "pqr"}, "1 channel_names for 3 columns"),
        ({"channel_names": [["p", "q", "r"]]}, "channel_names in it is of <U1 and the shape (1, 3)"),
        ({"channel_names": [1, 2, 3]}, "channel_names in it is of int64"),
    ],
    ids=str,
)
def test_what_an_archive_says_of_itself_must_make_sense(tmp_path: Path, more: dict[str, Any], reason: str) -> None:
    """Two rates, text for a rate, and names that are no list of names are told with what was found."""
    assert reason in reason_of(write(tmp_path / "a.npz", **more))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_the_content_and_not_the_suffix_tells_arrays_from_archives(tmp_path: Path, suffix: str) -> None:
    """An NPY under the name of an NPZ, and the other way round, is read as what it is."""
    other = write(tmp_path / f"a{'.npz' if suffix == '.npy' else '.npy'}")
    np.testing.assert_array_equal(read_signal(other.rename(tmp_path / f"b{suffix}"), table=RATED).samples, ROWS)


def test_integers_count_as_they_are_and_one_dimension_is_one_channel(tmp_path: Path) -> None:
    """Converter counts are numbers like others."""
    path = write(tmp_path / "a.npy", np.arange(-5, 5, dtype=np.int16))
    np.testing.assert_array_equal(read_signal(path, table=RATED).samples, np.arange(-5, 5)[:, None])


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet"])
def test_a_missing_value_is_named_with_its_row(tmp_path: Path, suffix: str) -> None:
    """NaN in row 401 of column y, also where the part begins later in the file than the block."""
    rows = ROWS.copy()
    rows[400, 1] = np.nan
    reason = reason_of(write(tmp_path / f"a{suffix}", rows))
    assert reason.startswith(f"row 401 has nan in {'y' if suffix == '.parquet' else 'column 2'}")


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (np.zeros((2, 3, 4)), "shape (2, 3, 4)"),
        (np.zeros((0, 3)), "empty"),
        (np.array(["a", "b"]), "numbers are needed"),
        (np.array([{}, {}], dtype=object), "damaged, cut short, or not NumPy's"),
    ],
    ids=["cube", "empty", "text", "objects"],
)
def test_arrays_that_are_no_time_series_are_named(tmp_path: Path, rows: NDArray[Any], reason: str) -> None:
    """Shape and kind are said; objects, which would have to be unpickled, are never loaded."""
    np.save(tmp_path / "a.npy", rows, allow_pickle=True)
    assert reason in reason_of(tmp_path / "a.npy")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet"])
def test_a_file_cut_at_any_length_is_an_error(tmp_path: Path, suffix: str) -> None:
    """Never a shorter recording, never a traceback."""
    content = write(tmp_path / f"whole{suffix}").read_bytes()
    path = tmp_path / f"cut{suffix}"
    for length in range(0, len(content), max(1, len(content) // 60)):
        path.write_bytes(content[:length])
        assert reason_of(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_changed_bytes_of_an_archive_are_an_error_or_read(tmp_path: Path, save: Any) -> None:
    """Whatever zip, zlib and NumPy make of them: never a traceback."""
    path = tmp_path / "a.npz"
    save(path, samples=ROWS[:100], sample_rate_hz=200.0, channel_names=["p", "q", "r"])
    content, random, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(600):
        changed = np.frombuffer(content, np.uint8).copy()
        changed[random.integers(0, len(changed), 1 + random.integers(3))] ^= np.uint8(1 << random.integers(8))
        path.write_bytes(changed.tobytes())
        try:
            read_signal(path)
        except RecordingError:
            refused += 1
    assert refused > 300


def test_a_parquet_file_without_numbers_says_what_it_has(tmp_path: Path) -> None:
    """Text alone is no time series."""
    pyarrow.parquet.write_table(pyarrow.table({"name": ["a"], "note": ["b"]}), tmp_path / "a.parquet")
    assert reason_of(tmp_path / "a.parquet") == "no numeric column; it has name, note"


def test_columns_of_one_name_in_parquet_are_refused(tmp_path: Path) -> None:
    """Which of them is meant cannot be said, by name or position."""
    table = pyarrow.table([[1.0, 2.0], [1.0, 2.0]], names=["x", "x"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert reason_of(tmp_path / "a.parquet") == "2 columns are called 'x': give each its own name"


def test_a_large_array_is_never_in_memory(tmp_path: Path) -> None:
    """A sparse 800 MB array is read in blocks within 150 MB beyond what the process had."""
    np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float32, (100_000_000, 2)).flush()
    code = f"""
import resource
from dasvdd_runtime.recordings import TableFormat, read_pieces
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = 0
for block in read_pieces({str(tmp_path / "a.npy")!r}, block_seconds=10, sample_rate_hz=20000.0,
                         table=TableFormat(sample_rate_hz=20000.0))[0].blocks:
    rows += len(block)
    if rows > 20_000_000: break
anonymous = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))
print(rows, anonymous)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rows, anonymous = map(int, done.stdout.split())
    assert rows > 20_000_000
    assert anonymous < 200 * resource.getpagesize() // 4
