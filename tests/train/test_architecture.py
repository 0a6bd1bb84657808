"""What `auto` means: front end by kind and rate."""

from __future__ import annotations

import pytest
from dasvdd_runtime.errors import ConfigError
from dasvdd_runtime.recording_types import Kind
from dasvdd_train.architecture import front_end_type


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
