"""Rows on their way from a source: is their rate the model's?"""

from __future__ import annotations

import numpy as np
import pytest
from dasvdd_runtime.sources.row_feed import feed_of
from dasvdd_runtime.sources.row_tables import CsvTailTable

RATE_HZ = 200.0


def told(seconds: np.ndarray, caplog: pytest.LogCaptureFixture, **keys: object) -> str:
    """What the log says of rows at `seconds`."""
    table = CsvTailTable.model_validate({"name": "fan", "kind": "csv_tail", "path": "a.csv"} | keys)
    feed = feed_of(table, sample_rate_hz=RATE_HZ, channel_names=["x"])
    for at in seconds:
        feed.add(float(at), [1.0])
        feed.next()
    return caplog.text


@pytest.mark.parametrize("rows_hz", [50.0, 100.0, 400.0])
def test_rows_at_another_rate_than_the_models_are_told(rows_hz: float, caplog: pytest.LogCaptureFixture) -> None:
    """They would be filled, thinned, or each be a gap (50 Hz), and sound like a fault of the machine."""
    text = told(np.arange(0, 40, 1 / rows_hz), caplog)
    assert f"rows come at {rows_hz:g} Hz, the model was trained at 200 Hz" in text


def test_rows_at_the_models_rate_are_not_told_nor_is_a_gap(caplog: pytest.LogCaptureFixture) -> None:
    """An outage of minutes makes no rate, and asks nobody for another max_gap_seconds."""
    seconds = np.concatenate([np.arange(0, 25, 1 / RATE_HZ), 300 + np.arange(0, 25, 1 / RATE_HZ)])
    text = told(seconds, caplog)
    assert "rows come at" not in text and "max_gap_seconds" not in text


def test_rows_that_are_gaps_one_after_the_other_are_told_the_way_out(caplog: pytest.LogCaptureFixture) -> None:
    """A source that is slower than max_gap_seconds allows is never judged, and the log says which key to set, once."""
    assert told(np.arange(0, 5, 0.5), caplog).count("set max_gap_seconds above the time between its rows") == 1


def test_rows_that_are_to_be_held_longer_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """max_gap_seconds says that slower rows are meant."""
    assert "rows come at" not in told(np.arange(0, 60, 0.1), caplog, max_gap_seconds=1.0)
