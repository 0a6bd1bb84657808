"""What people are told of events, in mails and chats."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone
from pathlib import Path
from typing import Any, get_args

import pytest
from dasvdd_runtime import call_gathering, call_words
from dasvdd_runtime.call_words import Call, body, call_for, in_short, subject
from dasvdd_runtime.sinks.tables import Told

WEB = Path(call_words.__file__).parent / "endpoint" / "web"
ALARM = "3f2a8c1e-0000-4000-8000-000000000000"
BANDS = [{"name": "3.1 kHz", "ratio": 5.13}, {"name": "6.2 kHz", "ratio": 2.0}]


def event(kind: str, **fields: Any) -> dict[str, Any]:
    """An event of pump7 at 14:03:12 UTC."""
    return {"event": kind, "id": ALARM, "time": "2026-11-30T14:03:12.345Z", "source": "pump7", **fields}


def raised(**fields: Any) -> dict[str, Any]:
    """An alarm at 2.5 times the threshold."""
    values = {"alarm": ALARM, "muted": False, "smoothed_score": 0.05, "threshold": 0.02, "bands": BANDS}
    return event("alarm_raised", **(values | fields))


def state(now: str, before: str) -> dict[str, Any]:
    """A source goes from one state to another."""
    return event("source_state", state=now, previous=before, reason="no such device", muted=False)


def unmuted(**lasting: Any) -> dict[str, Any]:
    """The end of a mute, and what lasts."""
    return event("unmuted", reason="it ran out", **{"alarms": [], "unwatched": {}, "drifting": [], **lasting})


def call(told: dict[str, Any]) -> Call:
    """What is told of an event of which something is."""
    found = call_for(told, UTC)
    assert found is not None
    return found


def test_an_alarm_says_what_since_when_how_far_where_and_what_to_do() -> None:
    """Everything that a person with a phone needs stands in it, and the first sentence says it alone."""
    told = call(raised())
    assert in_short([told], machine="pump-box") == (
        "Alarm: pump7 (pump-box)\n"
        "pump7 differs from normal running since 2026-11-30 14:03:12 UTC: 2.5 times the threshold, "
        "carried by 3.1 kHz (5.1 times the usual), 6.2 kHz (2.0 times the usual)."
    )
    assert told.sentences[1] == "Look at the machine, then answer the alarm."
    assert "dasvdd-monitor ack 3f2a8c1e --config monitor.toml --verdict real" in told.sentences[2]


def test_a_chat_message_of_many_events_is_one_that_chats_take() -> None:
    """Hundreds of events with long reasons stay below the 4000 letters that chats take; the newest have a line each."""
    away = [call(state("MISSING", "OK") | {"source": f"pump{i}", "reason": "no such device " * 40}) for i in range(300)]
    lines = in_short(away, machine="pump-box").split("\n")
    assert sum(map(len, lines)) < 4000
    assert lines[:2] == [
        "Device missing: pump0 and 299 more (pump-box)",
        "290 earlier events are only counted here; the event file has them.",
    ]
    assert [line.split(" since ")[0] for line in lines[2:]] == [f"pump{i}" for i in range(290, 300)]


def test_a_line_of_a_chat_has_its_time() -> None:
    """A message may come an hour later, so what does not tell its time itself has it behind."""
    over = event("alarm_cleared", alarm=ALARM, muted=False, latched=False, start_seconds=1.0, stream_seconds=9.0)
    assert in_short([call(over)], machine="pump-box").endswith("lasted 8 s. (2026-11-30 14:03:12 UTC)")


def test_the_page_says_the_same() -> None:
    """What to do about an alarm, and about many, reads alike on the page and in a mail."""
    assert f'"{call_words.ALARM_ADVICE}"' in (WEB / "cards.js").read_text()
    assert f'"{call_gathering.AGAIN_AND_AGAIN}"' in (WEB / "alarms.js").read_text()


def test_times_are_those_of_the_place() -> None:
    """An alarm at 14:03 UTC rose at 15:03 in a zone an hour ahead."""
    told = call_for(raised(), timezone(timedelta(hours=1), "CET"))
    assert told is not None and "15:03:12 CET" in told.sentences[0]


@pytest.mark.parametrize(
    "told",
    [
        raised(muted=True),
        event("alarm_cleared", alarm=ALARM, muted=True, latched=False, start_seconds=1.0, stream_seconds=9.0),
        event("alarm_grew", alarm=ALARM, muted=True, peak_score=0.6, threshold=0.02, bands=BANDS),
        state("MISSING", "OK") | {"muted": True},
        event("drift", drifting=True, reasons=["louder"], muted=True),
        event("alarm_latched", alarm=ALARM, raised_at="x", muted=True),
        unmuted(),
        state("OK", "STARTING"),
        state("IDLE", "OK"),
        state("CLIPPED", "OK"),
        event("stopped", reason="SIGTERM", failed={}),
        event("summary"),
        event("score"),
    ],
    ids=lambda told: f"{told['event']} {told.get('state', '')}",
)
def test_nobody_is_called_where_nobody_need_act(told: dict[str, Any]) -> None:
    """Muted sources, states in which the machine is watched, a planned stop, and figures call nobody."""
    assert call_for(told) is None


@pytest.mark.parametrize(
    ("told", "title", "says"),
    [
        (state("MISSING", "OK"), "Device missing: pump7", "no such device. It cannot be opened"),
        (state("STALLED", "OK"), "No samples: pump7", "The machine is not watched."),
        (state("SILENT", "STARTING"), "Silent: pump7", "check the microphone"),
        (state("FAULT", "OK"), "Faulty samples: pump7", "values that are no numbers"),
        (state("OK", "MISSING"), "Listening again: pump7", "UTC: samples arrive and are judged"),
        (state("IDLE", "SILENT"), "Machine stands still: pump7", "too quiet"),
        (
            event("alarm_grew", alarm=ALARM, muted=False, peak_score=0.6, threshold=0.02, bands=BANDS),
            "Alarm grew: pump7",
            "has grown to 30 times the threshold, carried by 3.1 kHz (5.1 times the usual)",
        ),
        (
            event("alarm_cleared", alarm=ALARM, muted=False, latched=False, start_seconds=1.0, stream_seconds=9.0),
            "Alarm over: pump7",
            "which lasted 8 s",
        ),
        (
            event("alarm_cleared", alarm=ALARM, muted=False, latched=True, start_seconds=1.0, stream_seconds=9.0),
            "Alarm waits for an answer: pump7",
            "ack 3f2a8c1e",
        ),
        (event("alarm_latched", alarm=ALARM, raised_at="x"), "Alarm waits for an answer: pump7", "of an earlier run"),
        (unmuted(alarms=[ALARM]), "Alarm lasts, muted no longer: pump7", "ack 3f2a8c1e"),
        (unmuted(unwatched={"pump7": "MISSING"}), "Not watched, muted no longer: pump7", "plug it in again"),
        (unmuted(drifting=["pump7"]), "Drifts, muted no longer: pump7", "drifting: pump7"),
        (event("drift", drifting=True, reasons=["louder"]), "Drifts: pump7", "louder"),
        (event("drift", drifting=False, reasons=[]), "Drifts no longer: pump7", "drifts no longer"),
        (
            event("overload", dropped_seconds={"a": 2.0}, bursts=[]),
            "Overloaded: pump7",
            "slower than the sources: dropped 2",
        ),
        (event("overload", dropped_seconds={"a": 2.0}, bursts=["a"]), "Samples dropped: pump7", "more came at once"),
        (event("evidence_lost", alarm=ALARM, reason="disk full"), "Evidence lost: pump7", "disk full"),
        (event("evidence_lost", alarm=None, reason="disk full"), "Evidence lost: pump7", "any alarm before"),
        (
            event("events_dropped", receivers={"mqtt": {"events": 3, "scores": 0, "refused": 1}}),
            "Events lost: pump7",
            "mqtt (3 dropped, 1 refused)",
        ),
        (event("stopped", reason="end", failed={"pump7": "gone"}), "Ended with a fault: pump7", "gone"),
        (event("test_alarm", test=True), "Test alarm: pump7", "nothing is wrong"),
        (event("alarm_raised"), "alarm_raised: pump7", "the event file has it"),
    ],
)
def test_each_kind_is_told(told: dict[str, Any], title: str, says: str) -> None:
    """What asks for a person has a title and sentences; one with missing fields holds up nothing."""
    found = call(told)
    assert found.title == title
    assert says.lower() in " ".join(found.sentences).lower()


def test_the_kinds_that_can_be_chosen_are_those_with_words() -> None:
    """`events` of [[email]] and the sentences know the same kinds."""
    assert set(get_args(Told)) == {*call_words._TELLERS}


def test_no_name_and_no_reason_begins_a_line() -> None:
    """Line breaks and control characters of what others wrote are gone from title and sentences."""
    told = call({**state("MISSING", "OK"), "source": "a\r\nBcc: all@example.com", "reason": "x\x1b[2J\ny"})
    assert told.title == "Device missing: a Bcc: all@example.com"
    assert all(text.isprintable() for text in (told.title, *told.sentences))


def test_of_many_the_newest_are_told_and_the_others_counted() -> None:
    """The subject names an alarm first; the body counts by title what it does not tell."""
    calls = [call(state("MISSING", "OK")), call(raised()), *[call(state("OK", "MISSING"))] * 40]
    assert subject(calls, machine="pump-box") == "Alarm: pump7 and 41 more (pump-box)"
    text = body(calls, page="http://pump-box:9464/")
    assert "22 earlier events are only counted here" in text
    assert "20 x Listening again: pump7\n1 x Device missing: pump7\n1 x Alarm: pump7" in text
    assert text.count("Event 3f2a8c1e-") == text.count(" of 2026-11-30 14:03:12 UTC\n") == 20
    assert text.endswith("The page: http://pump-box:9464/\n")
