from __future__ import annotations

import os
from pathlib import Path

import pytest
from dasvdd_runtime.errors import EXIT_DATA, EXIT_NO_INPUT, DasvddError, DataError, InputMissing
from dasvdd_runtime.reading.manifest import Segment, check_apart, find_segments, is_manifest, passed_over, read_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three recordings, one of them a folder deeper."""
    (tmp_path / "day2").mkdir()
    for name in ("b.wav", "a.FLAC", "day2/c.ogg"):
        (tmp_path / name).touch()
    return tmp_path


def manifest(folder: Path, text: str) -> Path:
    path = folder / "parts.csv"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DasvddError) as caught:
        read_manifest(path)
    return str(caught.value)


class TestManifest:
    def test_all_columns(self, folder: Path) -> None:
        """Every column arrives in its field, and paths are relative to the manifest."""
        path = manifest(
            folder,
            "path,start_seconds,end_seconds,role,machine,condition\n"
            'b.wav,0,6.5,train,pump 7,"1400 rpm, loaded"\n'
            "\n"
            "day2/c.ogg,6.5,,test_anomalous,pump 8,bearing\n",
        )
        assert read_manifest(path) == [
            Segment(folder / "b.wav", 0.0, 6.5, "train", "pump 7", "1400 rpm, loaded"),
            Segment(folder / "day2/c.ogg", 6.5, None, "test_anomalous", "pump 8", "bearing"),
        ]

    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_columns_in_any_order_with_defaults(self, folder: Path, delimiter: str) -> None:
        """Columns that are missing or empty take their defaults, whatever the delimiter and a byte order mark."""
        text = "\ufeffrole,path\ntest_normal,b.wav\n,a.FLAC\n".replace(",", delimiter)
        path = manifest(folder, text)
        assert is_manifest(path)
        assert read_manifest(path) == [Segment(folder / "b.wav", role="test_normal"), Segment(folder / "a.FLAC")]
        assert read_manifest(path, role="holdout")[1].role == "holdout"

    def test_only_a_csv_with_a_path_column_is_a_manifest(self, folder: Path) -> None:
        """A table of numbers, a recording and a missing file are no manifests."""
        table = folder / "numbers.csv"
        table.write_text("time,pathology\n1,2\n")
        assert not is_manifest(table)
        assert not is_manifest(folder / "b.wav")
        assert not is_manifest(folder / "missing.csv")
        assert not is_manifest(folder)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("path,rolle\nb.wav,train\n", "line 1: unknown column 'rolle'. Did you mean 'role'?"),
            ("start_seconds\n1\n", "line 1: the column 'path' is missing"),
            ("path,role,role\nb.wav,train,train\n", "line 1: 2 columns are called 'role'"),
            ("path,role\nb.wav,test_anomalus\n", "line 2, column role: unknown role 'test_anomalus'. Did you mean"),
            ("path,role\nb.wav,train\nb.wav,Train\n", "line 3, column role: unknown role 'Train'"),
            ("path,start_seconds\nb.wav,soon\n", "line 2, column start_seconds: 'soon' is not a number of seconds"),
            ("path,start_seconds\nb.wav,-1\n", "line 2, column start_seconds: '-1'"),
            ("path,end_seconds\nb.wav,nan\n", "line 2, column end_seconds: 'nan'"),
            ("path;end_seconds\nb.wav;1,5\n", "line 2, column end_seconds: '1,5'"),
            ("path,end_seconds\nb.wav,inf\n", "line 2, column end_seconds: 'inf'"),
            (
                "path,start_seconds,end_seconds\nb.wav,6,5\n",
                "line 2, column end_seconds: 5 s is not after the start 6 s",
            ),
            ("path,end_seconds\nb.wav,0\n", "0 s is not after the start 0 s"),
            ("path,end_seconds\nb.wav,1,5\n", "line 2: 3 columns, the first line has 2"),
            ("path,role\n\nb.wav\n", "line 3: 1 columns, the first line has 2"),
            ("path,role\n,train\n", "line 2, column path: no recording is named"),
            ("path\nmissing.wav\n", "line 2, column path: there is no file"),
            ("path\nday2\n", "line 2, column path: there is no file"),
            ("path\nparts.csv\n./notes.txt\n", "line 3, column path: './notes.txt' is no recording"),
            ("path\n", "names no recording"),
            ("", "is empty"),
        ],
    )
    def test_a_fault_names_line_and_column(self, folder: Path, text: str, expected: str) -> None:
        """Every fault of a manifest says where it is and what was found there."""
        (folder / "notes.txt").touch()
        path = manifest(folder, text)
        message = refusal(path)
        assert message.startswith(str(path))
        assert expected in message

    def test_what_is_not_there_has_its_own_exit_code(self, folder: Path) -> None:
        """A missing manifest or recording exits with the code for missing input, a bad row with that for bad data."""
        with pytest.raises(InputMissing) as missing:
            read_manifest(folder / "none.csv")
        assert missing.value.exit_code == EXIT_NO_INPUT
        with pytest.raises(InputMissing):
            read_manifest(manifest(folder, "path\nmissing.wav\n"))
        with pytest.raises(DataError) as bad:
            read_manifest(manifest(folder, "path,role\nb.wav,x\n"))
        assert bad.value.exit_code == EXIT_DATA

    def test_cut_anywhere_is_rows_or_a_clear_error(self, folder: Path) -> None:
        """A manifest cut at any character gives whole rows or an error for the user, never a traceback."""
        text = 'path,start_seconds,end_seconds,role\nb.wav,0,1.5,train\na.FLAC,0.25,9,"holdout"\n'
        outcomes = set()
        for length in range(len(text)):
            try:
                outcomes.add(len(read_manifest(manifest(folder, text[:length]))))
            except DasvddError:
                outcomes.add(0)
        assert outcomes == {0, 1, 2}


class TestFindSegments:
    def test_a_folder_at_any_depth_in_order(self, folder: Path) -> None:
        """Recordings of a folder come sorted by name, with the role asked for; other and hidden files are not meant."""
        (folder / "notes.txt").touch()
        (folder / "._b.wav").touch()
        (folder / ".trash").mkdir()
        (folder / ".trash/old.wav").touch()
        segments = find_segments(folder, role="test_normal")
        assert [segment.path.relative_to(folder).as_posix() for segment in segments] == [
            "a.FLAC",
            "b.wav",
            "day2/c.ogg",
        ]
        assert {segment.role for segment in segments} == {"test_normal"}

    def test_a_hidden_folder_that_is_given_itself(self, tmp_path: Path) -> None:
        """Only what is below the folder counts as hidden, not the folder's own place."""
        (tmp_path / ".cache").mkdir()
        (tmp_path / ".cache/x.wav").touch()
        assert len(find_segments(tmp_path / ".cache")) == 1

    def test_one_file_and_one_manifest(self, folder: Path) -> None:
        """One recording is one segment; a manifest keeps its own roles and takes the role asked for elsewhere."""
        assert find_segments(folder / "b.wav") == [Segment(folder / "b.wav")]
        path = manifest(folder, "path,role\nb.wav,holdout\na.FLAC,\n")
        assert [segment.role for segment in find_segments(path, role="test_normal")] == ["holdout", "test_normal"]

    def test_a_folder_of_tables(self, tmp_path: Path) -> None:
        """Tables of numbers are recordings too."""
        for name in ("0002.csv", "0001.csv"):
            (tmp_path / name).write_text("1,2\n")
        assert [segment.path.name for segment in find_segments(tmp_path)] == ["0001.csv", "0002.csv"]

    def test_both_kinds_in_one_folder_are_refused(self, folder: Path) -> None:
        """Audio and tables make no model together: the error counts and names them."""
        (folder / "x.csv").write_text("1,2\n")
        with pytest.raises(DataError, match=r"3 audio files and 1 tables, for instance a\.FLAC and x\.csv"):
            find_segments(folder)

    def test_a_manifest_among_the_recordings_must_be_given_itself(self, folder: Path) -> None:
        """A folder with a manifest in it could mean two things: the error says how to choose."""
        manifest(folder, "path\nb.wav\n")
        with pytest.raises(DataError, match=r"holds the manifest parts\.csv"):
            find_segments(folder)

    def test_a_folder_that_may_not_be_opened_is_told(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its recordings were left out without a word; it is named with the system's reason."""
        assert passed_over(folder) == ""
        (folder / "closed").mkdir(mode=0o000)
        folder.chmod(0o755)
        monkeypatch.chdir(folder)
        user = os.geteuid()
        if user == 0:  # root opens every folder
            os.seteuid(65534)
        try:
            told = passed_over(Path())
        finally:
            os.seteuid(user)
        assert "1 folder cannot be opened, ./closed (Permission denied)" in told

    def test_sound_that_is_not_read_is_named_with_the_command_that_converts_it(
        self, folder: Path, tmp_path: Path
    ) -> None:
        """MP3s alone are an error that says so, as is one; beside recordings they are a sentence, not silence."""
        assert passed_over(folder) == ""
        (folder / "x.mp3").touch()
        assert "1 file of a kind that is not read" in passed_over(folder)
        assert all(segment.path.suffix != ".mp3" for segment in find_segments(folder))
        alone = tmp_path / "phone"
        alone.mkdir()
        for name in ("my pump.MP3", "z.m4a"):
            (alone / name).touch()
        command = r"2 files of a kind that is not read \(\.m4a, \.mp3\).*ffmpeg -i 'my pump\.MP3' 'my pump\.wav'"
        with pytest.raises(InputMissing, match=command):
            find_segments(alone)
        with pytest.raises(DataError, match="1 file of a kind that is not read"):
            find_segments(alone / "z.m4a")

    def test_nothing_found_says_what_was_looked_for(self, tmp_path: Path) -> None:
        """An empty folder, a missing path and a file of another kind are told apart."""
        with pytest.raises(InputMissing, match=r"Looked for \.wav, \.flac, \.ogg, \.csv"):
            find_segments(tmp_path)
        with pytest.raises(InputMissing, match="no such file or folder"):
            find_segments(tmp_path / "none")
        (tmp_path / "x.txt").touch()
        with pytest.raises(DataError, match="neither a recording"):
            find_segments(tmp_path / "x.txt")


def test_samples_with_two_roles_are_refused(tmp_path: Path) -> None:
    """Parts of one file may touch; where a test or held-out part overlaps a training part, both are named."""
    path = tmp_path / "a.wav"
    train = Segment(path, 0.0, 6.0, role="train")
    check_apart([train, Segment(path, 6.0, None, role="test_normal"), Segment(path, 2.0, 3.0, role="train")])
    check_apart([train, Segment(tmp_path / "b.wav", 0.0, 6.0, role="holdout")])
    with pytest.raises(DataError, match=r"from 0 s to 6 s has the role train and the part from 5.5 s to the end"):
        check_apart([train, Segment(path, 5.5, None, role="test_anomalous")])
    with pytest.raises(DataError, match="role holdout"):
        check_apart([Segment(tmp_path / "x" / ".." / "a.wav", role="holdout"), train])
