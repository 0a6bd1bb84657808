"""What sources of every kind have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dasvdd_runtime.errors import ConfigError, DasvddError, DataError
from dasvdd_runtime.sources import SOURCES, make_source
from dasvdd_runtime.sources.base import SourceLost
from dasvdd_runtime.sources.tables import KINDS, FileTable, MicrophoneTable, StdinTable


def test_each_kind_of_table_has_a_source() -> None:
    """No kind that a monitor.toml may name is forgotten where sources are made."""
    assert set(SOURCES) == set(KINDS.values())


def test_sound_for_a_model_of_sensors_is_refused(tiny_model: Any) -> None:
    """A microphone cannot feed a model that judges accelerations."""
    metadata = tiny_model.metadata(kind="sensor", channels=2)
    for table in (
        MicrophoneTable(name="m", kind="microphone"),
        StdinTable(name="m", kind="stdin", format="s16le"),
    ):
        with pytest.raises(ConfigError, match='gives rows: "file", "stdin", "command", "csv_tail"'):
            make_source(table, metadata)
    csv, wav = (FileTable(name="f", kind="file", path=Path(name)) for name in ("a.csv", "a.wav"))
    assert make_source(csv, metadata).sample_rate_hz == 16000
    with pytest.raises(DataError, match=r"a\.wav: it is audio, and this model takes rows of sensors"):
        make_source(wav, metadata)
    with pytest.raises(DataError, match=r"a\.csv: it is a table, and this model hears audio"):
        make_source(csv, tiny_model.metadata())


def test_errors_of_sources_have_exit_codes() -> None:
    """A lost source is an unavailable device to a service manager."""
    assert issubclass(SourceLost, DasvddError)
    assert SourceLost("x").exit_code == 69
