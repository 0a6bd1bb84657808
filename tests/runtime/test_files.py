"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from dasvdd_runtime.errors import DasvddError
from dasvdd_runtime.files import require_writable, write_atomically


def test_new_and_existing_files_hold_the_content(tmp_path: Path) -> None:
    """A file is made with its folders, then replaced; nothing else is left beside it, and others may read it."""
    path = tmp_path / "new" / "file"
    for content in (b"first", b"second"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o444 == 0o444


def test_the_umask_decides_who_may_read_and_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other threads make files meanwhile, so the process's umask is never changed, not even to read it."""
    before = os.umask(0o027)
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("the umask was changed"))
    try:
        write_atomically(tmp_path / "file", b"content")
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    """A full disk: the error names the file, and no part of it appears."""
    with pytest.raises(DasvddError, match=r"/proc/file: cannot be written \("):
        write_atomically(Path("/proc/file"), b"content")
    folder = tmp_path / "file"
    folder.mkdir()
    with pytest.raises(DasvddError, match="Is a directory"):
        write_atomically(folder, b"content")
    assert list(tmp_path.iterdir()) == [folder]


def test_a_place_that_cannot_be_written_is_named_before_the_work(tmp_path: Path) -> None:
    """A folder in the file's place and a file in the folder's place are refused; a new folder is made."""
    with pytest.raises(DasvddError, match="this is a folder"):
        require_writable(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(DasvddError, match="cannot be written"):
        require_writable(tmp_path / "file" / "model.onnx")
    require_writable(tmp_path / "new" / "model.onnx")
    assert list((tmp_path / "new").iterdir()) == []
