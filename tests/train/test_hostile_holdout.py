"""A `holdout.npz` from anybody: read or refused with one clear error, in bounded memory, and no code is run."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dasvdd_runtime.errors import ModelError
from dasvdd_train import holdout as module
from dasvdd_train.holdout import Holdout, LabelledWindows, load_holdout, save_holdout
from hostile import Chance, broken_bytes, require_clear_errors


def npy(values: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=True)
    return buffer.getvalue()


OTHERS = [
    *(b"", b"not an array", npy(np.zeros(0)), npy(np.float64(3)), npy(np.full(6, np.nan)), npy(np.array(["x"]))),
    *(npy(np.array([{}], dtype=object)), npy(np.zeros(3, np.complex64)), npy(np.array([-1, 7])), npy(np.zeros((3, 4)))),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file as training writes it."""
    random = np.random.default_rng(0)
    windows = random.standard_normal((3, 8, 2)).astype(np.float32)
    labelled = LabelledWindows(windows[:2], windows[1:])
    save_holdout(tmp_path / "holdout.npz", Holdout(windows, random.random(3), [np.ones(4), np.ones(2)], labelled))
    return tmp_path / "holdout.npz"


def rewrite(path: Path, parts: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def test_broken_files_are_refused_or_read(path: Path) -> None:
    """Bytes of the archive or of its arrays, and other arrays in their place: what is read has shapes that fit."""
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}

    def read(chance: Chance) -> None:
        if chance.random() < 0.4:
            path.write_bytes(broken_bytes(whole, chance))
        else:
            changed = dict(parts)
            for name in chance.sample(list(parts), chance.choice([1, 1, 2])):
                changed[name] = chance.choice(OTHERS) if chance.random() < 0.5 else broken_bytes(parts[name], chance)
            rewrite(path, changed)
        found = load_holdout(path)
        assert found.windows.ndim == 3 and len(found.windows) == len(found.window_scores)
        assert np.isfinite(np.concatenate([*found.streams, np.empty(0)])).all()

    read_well, refused = require_clear_errors(read, 1500)
    assert read_well > 50 and refused > 800


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("stream_lengths", b"no array", "stream_lengths is no array"),
        ("windows", b"no array", "windows is no array"),
        ("scores", npy(np.full(6, np.nan)), "not finite"),
        ("stream_lengths", npy(np.array([-1, 7])), "streams of"),
        ("test_normal", npy(np.zeros((2, 5, 2), np.float32)), "another shape"),
        ("scores", npy(np.array([{}], dtype=object)), "allow_pickle"),
    ],
    ids=["bytes for lengths", "bytes for windows", "not finite", "negative", "labelled of another shape", "pickle"],
)
def test_arrays_that_are_none_are_told(path: Path, name: str, content: bytes, said: str) -> None:
    """The first two, the fourth and the fifth were a traceback of the export once."""
    with zipfile.ZipFile(path) as archive:
        parts = {entry: archive.read(entry) for entry in archive.namelist()}
    rewrite(path, parts | {f"{name}.npy": content})
    with pytest.raises(ModelError, match=said):
        load_holdout(path)


def test_an_archive_that_unpacks_to_more_than_is_read_is_not_unpacked(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both numbers are told, and what to do."""
    monkeypatch.setattr(module, "MOST_BYTES", 2**20)
    rewrite(path, {"windows.npy": bytes(2**21)})
    with pytest.raises(ModelError, match=r"unpacks to 2097152 bytes, and at most 1048576 .* --calibration DATA"):
        load_holdout(path)
