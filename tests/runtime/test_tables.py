"""CSV time series -> samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
from dasvdd_runtime.recordings import (
    RecordingError,
    Signal,
    TableFormat,
    probe,
    read_pieces,
    read_signal,
)


def reason_of(path: Path, **how: Any) -> str:
    with pytest.raises(RecordingError) as caught:
        read_signal(path, **how)
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    return caught.value.reason


class TestTables:
    FORMAT = TableFormat(sample_rate_hz=100.0)

    def write(self, tmp_path: Path, text: str) -> Path:
        path = tmp_path / "x.csv"
        path.write_text(text, encoding="utf-8")
        return path

    def read(self, tmp_path: Path, text: str, *channels: str) -> Signal:
        return read_signal(self.write(tmp_path, text), table=TableFormat(100.0, channels))

    def reason(self, tmp_path: Path, text: str, *channels: str) -> str:
        return reason_of(self.write(tmp_path, text), table=TableFormat(100.0, channels))

    @pytest.mark.parametrize("delimiter", [",", ";", "\t", ", "])
    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    @pytest.mark.parametrize("header", [True, False])
    def test_layouts(self, tmp_path: Path, delimiter: str, newline: str, header: bool) -> None:
        """Every delimiter and line ending, with a header or without, gives the numbers that were written."""
        rows = [["0.5", "-1e-3"], ["2", "3.25"], ["1E2", "+4"]]
        lines = ([["x", "y"]] if header else []) + rows
        path = tmp_path / "x.csv"
        path.write_bytes(newline.join(delimiter.join(cells) for cells in lines).encode())
        signal = read_signal(path, table=self.FORMAT)
        np.testing.assert_array_equal(signal.samples, np.array(rows, np.float32))
        assert signal.channel_names == (("x", "y") if header else ("column 1", "column 2"))
        assert signal.sample_rate_hz == 100.0
        assert probe(path, table=self.FORMAT) == (100.0, 2, 0.03)

    @pytest.mark.parametrize("name", ["time", "Timestamp", "DATETIME", "date", "Time [s]", "time_ms", ""])
    def test_a_leading_time_column_is_left_out(self, tmp_path: Path, name: str) -> None:
        """A first column of times or the nameless index of pandas is no channel, unless it is chosen."""
        step = "10" if name == "time_ms" else "0.01"
        text = f"{name},x,y\n0,1,2\n{step},3,4\n"
        assert self.read(tmp_path, text).channel_names == ("x", "y")
        assert self.read(tmp_path, text, "1").samples.tolist() == [[0.0], [np.float32(step)]]

    def test_a_time_of_day_is_left_out(self, tmp_path: Path) -> None:
        """Times that are not numbers do not matter in a column that is left out."""
        path = self.write(tmp_path, "datetime;x\n10h14;1\n10h15;2\n")
        signal = read_signal(path, table=TableFormat(100.0, time_column="none"))
        assert signal.samples.tolist() == [[1.0], [2.0]]

    def test_channels_by_name_and_position(self, tmp_path: Path) -> None:
        """Channels come in the order in which they are chosen."""
        signal = self.read(tmp_path, "a,note,b\n1,ok,2\n3,bad,4\n", "b", "1")
        assert signal.channel_names == ("b", "a")
        assert signal.samples.tolist() == [[2, 1], [4, 3]]

    def test_unknown_channels(self, tmp_path: Path) -> None:
        """A channel that is not there is named with the nearest one, or with the number of columns."""
        text = "pressure,flow\n1,2\n"
        assert "Did you mean 'pressure'?" in self.reason(tmp_path, text, "presure")
        assert self.reason(tmp_path, text, "3") == "there is no column 3, the file has 2"
        assert "2 columns are called 'x'" in self.reason(tmp_path, "x,x\n1,2\n", "x")

    def test_columns_without_numbers_are_named(self, tmp_path: Path) -> None:
        """Text in a column that is not chosen away is an error that says which columns can be chosen."""
        reason = self.reason(tmp_path, "x,state,y\n1,running,2\n")
        assert reason.startswith("no numbers in state (line 2 holds 'running')")
        assert "Choose the channels, for instance x, y." in reason

    def test_a_row_with_a_time_of_day_is_no_header(self, tmp_path: Path) -> None:
        """Without a header, a first row that begins with a time of day is the first row, and that its time."""
        text = "10:14:33,0.5,1\n10:14:34,0.6,2\n"
        signal = read_signal(self.write(tmp_path, text))
        np.testing.assert_allclose(signal.samples, [[0.5, 1], [0.6, 2]], rtol=1e-6)
        assert "its times say 1 Hz" in self.reason(tmp_path, text, "2", "3")

    @pytest.mark.parametrize(
        ("row", "expected"),
        [
            ("1", "line 4 has 1 columns, the first line has 2: '1'"),
            ("1,2,3", "line 4 has 3 columns, the first line has 2: '1,2,3'"),
            ("1,nan", "non-finite: line 4, y: 'nan'"),
            ("inf,1", "non-finite: line 4, x: 'inf'"),
            ("1e39,1", "non-finite: line 4, x: '1e39'"),
            ("1,", "line 4, y: '' is not a number. Fill the gap or leave the row out."),
            ("1,abc", "line 4, y: 'abc' is not a number."),
            ("1_0,2", "line 4, x: '1_0' is not a number."),
            ('1,"2', "line 4 has a quote that is not closed"),
        ],
    )
    @pytest.mark.parametrize("rows_below", [0, 2])
    def test_a_bad_row_is_named_by_its_line(self, tmp_path: Path, row: str, expected: str, rows_below: int) -> None:
        """What is wrong with a row comes with its line in the file, empty lines counted."""
        text = f"x,y\n1,2\n\n{row}\n" + "5,6\n" * rows_below
        assert self.reason(tmp_path, text) == expected
        path = tmp_path / "x.csv"
        with pytest.raises(RecordingError, match="line 4"):
            list(read_pieces(path, block_seconds=0.01, sample_rate_hz=100.0, table=self.FORMAT)[0].blocks)

    @pytest.mark.parametrize(
        "text",
        [
            "x;y\n1,5;2\n1.452;3\n",
            "x;y\n1.5;2\n1,452;3\n",
            "x;y\n1.234,5;2\n",
            "x,y\n1,5,2,25\n",
            "1,50\n2,75\n0,05\n",
            "1,50,1,25\n0,75,3,007\n",
        ],
    )
    def test_decimal_commas_are_never_misread(self, tmp_path: Path, text: str) -> None:
        """Where columns may be meant, or a point may separate thousands, decimal commas are refused."""
        assert self.reason(tmp_path, text)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("x;y\n1,5;2\n", [[1.5, 2]]),
            ("1,5;2,5\n3;4\n", [[1.5, 2.5], [3, 4]]),
            ("x;y\n1;2\n1;2,75\n", [[1, 2], [1, 2.75]]),
            ("1,5e-3\t-,25\n", [[0.0015, -0.25]]),
            ("Zeitstempel;Ax [g];Drehzahl\n05.03.2026 06:00:00,00;0,5;1452\n05.03.2026 06:00:00,01;-2;7\n",
             [[0.5, 1452], [-2, 7]]),
            ("Zeitstempel;Ax [g]\n05.03.2026 06:00:00.00;0.5\n05.03.2026 06:00:00.01;1.5\n", [[0.5], [1.5]]),
            ("t [s];x\n0,00;0,5\n0,01;1,5\n", [[0.5], [1.5]]),
        ],
    )  # fmt: skip
    def test_german_files_are_read(self, tmp_path: Path, text: str, expected: list[list[float]]) -> None:
        """Between semicolons or tabs a comma is decimal, and a leading column of dates is that of the times."""
        signal = self.read(tmp_path, text)
        np.testing.assert_allclose(signal.samples, expected, rtol=1e-6)
        assert signal.sample_rate_hz == 100.0

    def test_times_elsewhere_are_told_with_the_cure(self, tmp_path: Path) -> None:
        """A column of times that does not lead is no channel: the message names the setting that says so."""
        said = self.reason(tmp_path, "Ax;Zeit der Messung\n0,5;05.03.2026 06:00:00,00\n")
        assert "--set 'data.time_column=Zeit der Messung' (dasvdd-train) or --time-column" in said

    def test_integers_with_commas_between_them_are_columns(self, tmp_path: Path) -> None:
        """Plain counts of a converter, zeros among them, are no decimal commas."""
        assert self.read(tmp_path, "10,0\n0,205\n7,0.05\n").samples.shape == (3, 2)

    @pytest.mark.parametrize("text", ["", "\n\n", "x,y\n", "x,y\n\n"])
    def test_empty_tables(self, tmp_path: Path, text: str) -> None:
        """A table without a row of data is called empty."""
        assert self.reason(tmp_path, text).startswith("empty")

    def test_utf16_and_binary_are_refused(self, tmp_path: Path) -> None:
        """A table saved in UTF-16 says how to save it."""
        path = tmp_path / "x.csv"
        path.write_bytes("x,y\n1,2\n".encode("utf-16"))
        assert "UTF-8" in reason_of(path, table=self.FORMAT)

    def test_names_of_an_old_program(self, tmp_path: Path) -> None:
        """A byte order mark, quotes and a Latin-1 degree sign in the header do no harm."""
        path = tmp_path / "x.csv"
        path.write_bytes(b'\xef\xbb\xbf"time","bearing","oil \xb0C"\n"1","2","3"\n')
        signal = read_signal(path, table=self.FORMAT)
        assert signal.channel_names == ("bearing", "oil \N{REPLACEMENT CHARACTER}C")
        assert signal.samples.tolist() == [[2.0, 3.0]]

    def test_a_table_needs_a_rate(self, tmp_path: Path) -> None:
        """A table without a sample rate is an error, not a guess; a rate of zero is no rate."""
        assert "sample rate" in reason_of(self.write(tmp_path, "1,2\n"))
        with pytest.raises(ValueError, match="sample_rate_hz = 0"):
            TableFormat(sample_rate_hz=0)

    def test_parts_of_a_table(self, tmp_path: Path) -> None:
        """A part in seconds is the slice of rows; a part beyond the end is refused with the length."""
        path = self.write(tmp_path, "x\n" + "".join(f"{i}\n" for i in range(50)))
        part = read_signal(path, start_seconds=0.1, end_seconds=0.2, table=self.FORMAT)
        assert part.samples[:, 0].tolist() == list(range(10, 20))
        for start, end in [(0.4, 0.6), (0.5, None), (3.0, 4.0)]:
            reason = reason_of(path, start_seconds=start, end_seconds=end, table=self.FORMAT)
            assert reason.endswith("which holds 0.500 s")

    @pytest.mark.parametrize("block_seconds", [0.001, 0.07, 10.0])
    @pytest.mark.parametrize("sample_rate_hz", [100.0, 64.0])
    def test_blocks_in_a_row_equal_the_whole(self, tmp_path: Path, block_seconds: float, sample_rate_hz: float) -> None:
        """A table in blocks of any length equals the table read at once, resampled or not."""
        path = tmp_path / "x.csv"
        np.savetxt(path, np.random.default_rng(7).uniform(-0.5, 0.5, (800, 3)), delimiter=",")
        pieces = read_pieces(path, block_seconds=block_seconds, sample_rate_hz=sample_rate_hz, table=self.FORMAT)
        whole = read_signal(path, table=self.FORMAT)
        expected = soxr.resample(whole.samples, whole.sample_rate_hz, sample_rate_hz, quality="HQ")
        np.testing.assert_allclose(np.concatenate(list(pieces[0].blocks)), expected, atol=1e-6)

    def test_cut_anywhere_gives_rows_or_an_error(self, tmp_path: Path) -> None:
        """A table cut at any byte gives no more than its whole rows and one shortened number, or a RecordingError."""
        whole = "x,y,z\n" + "".join(f"{i}.5,{i}.25,{i}.125\n" for i in range(5))
        path = tmp_path / "x.csv"
        errors = 0
        for length in range(len(whole)):
            path.write_text(whole[:length])
            try:
                samples = read_signal(path, table=self.FORMAT).samples
            except RecordingError:
                errors += 1
                continue
            complete = samples[:-1] if not whole[:length].endswith("\n") else samples
            assert complete[:, 2].tolist() == [i + 0.125 for i in range(len(complete))]
            assert samples.shape[1] == 3
        assert errors > 20


@pytest.mark.parametrize(
    ("trained_on", "selected"),
    [(["x", "y"], ("x", "y")), (["column 3", "column 1"], ("3", "1")), (["3", "1"], ("3", "1"))],
)
def test_a_models_channels_select_a_tables_columns(trained_on: list[str], selected: tuple[str, ...]) -> None:
    """Columns are found by the names of training, or by position where the table it came from had no header."""
    assert TableFormat.for_channels(trained_on, sample_rate_hz=50.0) == TableFormat(50.0, selected)
