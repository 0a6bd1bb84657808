"""What `auto` means: front end by kind and rate."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
import untrained_models
from dasvdd_runtime.errors import ConfigError
from dasvdd_runtime.reading.recording_types import Kind
from dasvdd_train.architecture import build_model, front_end_type
from dasvdd_train.config import FrontEndType, TrainConfig
from dasvdd_train.corpus import Corpus, Stretch
from dasvdd_train.front_ends import FRONT_ENDS
from dasvdd_train.sample_store import SampleStore


@pytest.mark.parametrize(
    ("kind", "sample_rate_hz", "expected"),
    [
        ("audio", 16_000.0, "log_mel"),
        ("audio", 50.0, "log_mel"),
        ("sensor", 3200.0, "log_spectrum"),
        ("sensor", 100.0, "log_spectrum"),
        ("sensor", 99.9, "rows"),
        ("sensor", 0.1, "rows"),
    ],
)
def test_auto_goes_by_kind_and_rate(kind: Kind, sample_rate_hz: float, expected: str) -> None:
    """Audio gets log_mel at any rate; sensors get log_spectrum from 100 Hz on, 100 included, and rows below."""
    assert front_end_type("auto", kind=kind, sample_rate_hz=sample_rate_hz) == expected


@pytest.mark.parametrize(("wanted", "kind"), [("log_mel", "sensor"), ("rows", "audio")])
def test_a_front_end_for_the_other_kind_is_refused(wanted: str, kind: Kind) -> None:
    """A front end that does not suit the kind of data is an error that names another."""
    with pytest.raises(ConfigError, match="Use "):
        front_end_type(wanted, kind=kind, sample_rate_hz=1000.0)


@pytest.mark.parametrize("kind", ["audio", "sensor"])
def test_a_front_end_asked_for_is_used(kind: Kind) -> None:
    """What suits both kinds is taken as asked, whatever the rate."""
    assert front_end_type("raw", kind=kind, sample_rate_hz=10.0) == "raw"


@pytest.mark.parametrize(
    ("kind", "sample_rate_hz", "widths"),
    [("audio", 16_000.0, [640, 1024, 256, 256]), ("sensor", 10.0, [1, 10, 10, 4])],
)
def test_the_network_is_the_papers_for_images_or_for_tables(
    kind: Kind, sample_rate_hz: float, widths: list[int]
) -> None:
    """Spectra (5 frames of 128 mel bands) get the paper's layers for images, rows those for tables."""
    noise = np.random.default_rng(0).normal(0, 0.1, (round(20 * sample_rate_hz), 1)).astype(np.float32)
    stretch = Stretch("r", "train", "", "", 0.0, SampleStore().add([noise], channels=1))
    model = build_model(Corpus(kind, sample_rate_hz, ("a",), ("",), [stretch]), TrainConfig())
    layers = [layer for layer in model.encoder.modules() if isinstance(layer, torch.nn.Linear)]
    assert [layers[0].in_features, *(layer.out_features for layer in layers)] == widths


def test_each_front_end_that_can_be_asked_for_is_there_and_tested() -> None:
    """Settings, classes, what they say of themselves, and the examples of the tests of export name the same ones."""
    examples = [front_end for front_end, _ in untrained_models.FRONT_ENDS.values()]
    assert {front_end.settings()["type"]: type(front_end) for front_end in examples} == FRONT_ENDS
    assert set(FRONT_ENDS) == set(get_args(FrontEndType))
