"""A `model.pt` from anybody: read or refused with one clear error, in bounded time and memory, and no code is run."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import untrained_models
from dasvdd_runtime.errors import ConfigError, ModelError
from dasvdd_train.front_ends import build_front_end
from dasvdd_train.model_file import load_model
from dasvdd_train.untrusted import LIMITS
from hostile import Chance, broken_bytes, broken_tree, require_clear_errors

MODEL = Path(__file__).parents[1] / "data" / "schema_1.0" / "audio.pt"


@pytest.fixture
def content() -> dict[str, Any]:
    """What the released file holds."""
    return dict(torch.load(MODEL, weights_only=True))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
def test_broken_models_are_refused_or_read(content: dict[str, Any], tmp_path: Path) -> None:
    """Bytes of the archive, its plain values, or its tensors."""
    whole, path = MODEL.read_bytes(), tmp_path / "model.pt"
    state = content.pop("state")
    tensors: list[Any] = [torch.zeros(1), torch.zeros(0), torch.zeros(1).expand(10**9), "x", None]

    def read(chance: Chance) -> None:
        if chance.random() < 0.5:
            path.write_bytes(broken_bytes(whole, chance))
        else:
            broken = broken_tree(content, chance) | {"state": dict(state)}
            if chance.random() < 0.4:
                broken["state"][chance.choice(list(state))] = chance.choice(tensors)
            torch.save(broken, path)
        load_model(path)

    read_well, refused = require_clear_errors(read, 1500)
    assert read_well > 100 and refused > 700


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"widths": [10**6]}, "encoder has the shapes"),
        ({"latent": 10**9}, "encoder has the shapes"),
        ({"stacked_frames": 10**9}, "encoder has the shapes"),
        ({"front_end.n_fft": 2**30, "front_end.frame_hop_samples": 2**15}, "n_fft"),
        ({"front_end.mel_bands": 10**7}, "mel_bands"),
        ({"front_end.mel_bands": 4096, "front_end.channels": 4096, "front_end.channel": "all"}, "damaged content"),
        ({"front_end.channels": 10**6}, "channels"),
        ({"front_end.channel": ["0"]}, "damaged content"),
        ({"sample_rate_hz": float("nan")}, "sample_rate_hz"),
        ({"name": None}, "name"),
        ({"state.mean": torch.zeros(1).expand(10**9)}, "claims 1000000000 numbers"),
        ({"state.mean": "x"}, "other than tensors"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_sizes_that_the_file_does_not_bear_out_build_nothing(
    content: dict[str, Any], tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    """Terabytes of network or tables, asked for by a file of some kilobytes."""
    for name, value in changes.items():
        holder, _, key = name.rpartition(".")
        (content[holder] if holder else content)[key] = value
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ModelError, match=said):
        load_model(tmp_path / "model.pt")


def test_every_number_of_a_front_end_is_bounded() -> None:
    """No setting of any front end can ask for more than its limit, whoever wrote the front end."""
    for front_end, _ in untrained_models.FRONT_ENDS.values():
        numbers = {key for key, value in front_end.settings().items() if type(value) in (int, float)}
        assert numbers <= LIMITS.keys(), front_end.settings()["type"]


def test_a_training_refuses_what_loading_would(content: dict[str, Any]) -> None:
    """A Fourier transform beyond the limit is told when the front end is built, before anybody trains with it."""
    with pytest.raises(ConfigError, match="32768 samples, and at most 16384"):
        build_front_end(content["front_end"] | {"n_fft": 2**15, "mel_bands": 4, "frame_hop_samples": 2**14})


def test_an_archive_that_unpacks_to_more_than_its_size_is_not_unpacked(tmp_path: Path) -> None:
    """128 MiB of zeros in a file of less than one."""
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("archive/data.pkl", "w") as part:
        for _ in range(128):
            part.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    with pytest.raises(ModelError, match="unpacks to 134217728 bytes"):
        load_model(path)


def test_a_bare_pickle_is_no_model(tmp_path: Path) -> None:
    """torch's format of before 2020 is not read at all."""
    torch.save({"format": "dasvdd model"}, tmp_path / "model.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match=r"not a model\.pt"):
        load_model(tmp_path / "model.pt")
