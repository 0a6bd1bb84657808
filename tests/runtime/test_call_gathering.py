"""What one mail says of many events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from dasvdd_runtime.call_gathering import calls_of

BEGIN = datetime(2026, 11, 30, 22, 34, tzinfo=UTC)


def event(kind: str, number: int, *, seconds: float, source: str = "pump1", **fields: Any) -> dict[str, Any]:
    """An event of the alarm with this number, `seconds` after the beginning."""
    time = (BEGIN + timedelta(seconds=seconds)).isoformat()
    values = {"muted": False, "latched": False, "threshold": 0.02, "start_seconds": 0.0, "stream_seconds": 7.0}
    return (
        {"event": kind, "id": f"{kind}-{number}", "time": time, "source": source, "alarm": f"{number}"}
        | values
        | fields
    )


def rise(number: int, *, seconds: float, times: float = 1.5, **fields: Any) -> dict[str, Any]:
    bands = [{"name": "3.1 kHz", "ratio": 5.1}]
    return event("alarm_raised", number, seconds=seconds, smoothed_score=0.02 * times, bands=bands, **fields)


def over(number: int, *, seconds: float, times: float = 1.5, **fields: Any) -> dict[str, Any]:
    return event("alarm_cleared", number, seconds=seconds, peak_score=0.02 * times, **fields)


def test_of_many_alarms_the_worst_is_told_and_the_others_together() -> None:
    """How many, since when, how far, whether one lasts; how to answer all; and what keeps them apart."""
    alarms = [make(i, seconds=12 * i + late) for i in range(5) for make, late in ((rise, 0), (over, 7))]
    alarms[4] = rise(2, seconds=24, times=12.0)
    alarms[7] = over(3, seconds=43, times=3.0)
    told = calls_of(alarms, UTC)
    assert [call.title for call in told] == ["Alarm: pump1", "4 more alarms: pump1"]
    assert "12 times the threshold" in told[0].sentences[0]
    assert told[1].sentences[0] == (
        "4 more alarms of pump1 since 2026-11-30 22:34:00 UTC, worst 3 times the threshold. All are over."
    )
    assert "[source.running]" in told[1].sentences[1] and "[alarm] cooldown_seconds" in told[1].sentences[1]
    assert "ack --source pump1 --config monitor.toml" in told[1].sentences[2]


def test_the_worst_of_many_is_told_as_far_as_it_went() -> None:
    """A small rise that grew is the worst, and its end or growth says how far; the others have the next worst."""
    grew = event("alarm_grew", 1, seconds=70, peak_score=0.6, bands=[{"name": "3.1 kHz", "ratio": 5.1}])
    for further in (grew, over(1, seconds=80, times=30.0)):
        told = calls_of([rise(1, seconds=0, times=1.2), further, rise(2, seconds=100, times=2.0)], UTC)
        assert [call.title for call in told] == ["Alarm: pump1", "1 more alarm: pump1"]
        assert "since 2026-11-30 22:34:00 UTC: 30 times the threshold" in told[0].sentences[0]
        assert "worst 2 times the threshold" in told[1].sentences[0]


def test_two_alarms_and_one_that_lasts() -> None:
    """Two within a minute are no reason for another configuration; that the last goes on is said."""
    told = calls_of([rise(1, seconds=0), over(1, seconds=9), rise(2, seconds=40)], UTC)
    assert told[1].title == "1 more alarm: pump1"
    assert told[1].sentences[0].endswith("The last goes on, since 2026-11-30 22:34:40 UTC.")
    assert not any("cooldown" in sentence for sentence in told[1].sentences)


def test_what_is_not_of_many_alarms_is_told_on_its_own() -> None:
    """One alarm and its end, another source's, states and what an older version wrote stay as they are, in order."""
    state = event("source_state", 0, seconds=3, state="MISSING", previous="OK", reason="gone")
    older = {**rise(7, seconds=5, source="fan"), "smoothed_score": None}
    del older["time"]
    told = calls_of([rise(1, seconds=0), state, older, over(1, seconds=8), rise(2, seconds=9, source="fan")], UTC)
    titles = ["Alarm: pump1", "Device missing: pump1", "alarm_raised: fan", "Alarm over: pump1", "Alarm: fan"]
    assert [call.title for call in told] == titles
