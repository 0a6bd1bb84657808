"""When mails go, by a clock that the tests set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dasvdd_runtime.sinks.mail_budget import Mailed, after_answers, after_mail, is_answer, plan

MINUTE = 60.0
Event = dict[str, Any]


def rise(source: str = "pump1", times: float = 1.5) -> Event:
    return {"event": "alarm_raised", "id": "r", "source": source, "smoothed_score": times, "threshold": 1.0}


def over(source: str = "pump1", times: float = 1.5) -> Event:
    return {"event": "alarm_cleared", "id": "o", "source": source, "peak_score": times, "threshold": 1.0}


def grew(source: str = "pump1", times: float = 3.0) -> Event:
    return {**over(source, times), "event": "alarm_grew", "id": "g"}


def state(now: str, source: str = "pump1") -> Event:
    return {"event": "source_state", "id": "s", "source": source, "state": now}


ANSWER = {"event": "alarm_acknowledged", "id": "a", "source": "pump1"}
TEST = {"event": "test_alarm", "id": "t", "source": None}


def mails_of(happened: list[tuple[float, Event]], *, most: int = 10) -> list[tuple[float, int]]:
    """When mails went and how many events each told, where `happened` at its times, which differ."""
    mailed: tuple[Mailed, ...] = ()
    waiting: list[Event] = []
    sent: list[tuple[float, int]] = []
    due = never = float("inf")

    def mail(at: float) -> None:
        nonlocal mailed, waiting
        sent.append((at, sum(not is_answer(event) for event in waiting)))
        mailed, waiting = after_mail(waiting, mailed, now_seconds=at), []

    for at, event in [*sorted(happened, key=lambda each: each[0]), (never, ANSWER)]:
        if due <= at and due < never:
            mail(due)
        if is_answer(event) and not waiting:
            mailed = after_answers([event], mailed)
        else:
            waiting.append(event)
        due = plan(waiting, mailed, most_per_hour=most, now_seconds=min(at, 1e9)).due_seconds
        if due <= at < never:
            mail(at)
            due = never
    return sent


def cycling(seconds: int, source: str = "pump1") -> list[tuple[float, Event]]:
    """A pump that rises and clears every 12 s."""
    return [(at + late, make(source)) for at in range(0, seconds, 12) for late, make in ((0, rise), (7, over))]


def at_once(mails: list[tuple[float, int]], second: float) -> bool:
    return second in [at for at, _ in mails]


def test_the_alarms_of_a_pump_that_cycles_are_gathered_in_a_few_mails() -> None:
    """An hour of 300 alarms makes a mail for the first, one for its end, and then ever fewer, each with all since."""
    mails = mails_of(cycling(3600))
    assert mails[:3] == [(0.0, 1), (7.0, 1), (600.0, 98)]
    assert len(mails) <= 6


@pytest.mark.parametrize(
    "grave",
    [
        rise(times=12.0),
        grew(times=12.0),
        over(times=12.0),
        rise("fan2"),
        state("STALLED"),
        {"event": "stopped", "id": "x"},
    ],
    ids=["far worse", "grew far worse", "became far worse", "another source", "not watched", "ended with a fault"],
)
@pytest.mark.parametrize("most", [1, 3, 10])
def test_what_must_call_goes_at_once_though_nothing_is_left(grave: Event, most: int) -> None:
    """Whatever a cycling pump and test alarms have used up, it is mailed in the second in which it comes."""
    used = [*cycling(1500), *((float(at), {**TEST, "id": str(at)}) for at in range(0, 1500, 50))]
    assert at_once(mails_of([*used, (1499.0, grave)], most=most), 1499.0)


def test_good_news_and_tests_leave_half_of_the_mails() -> None:
    """Of ten an hour, five go to tests; the sixth waits until an hour after the first, or goes with another mail."""
    tests = [(60.0 * i, {**TEST, "id": str(i)}) for i in range(6)]
    assert [at for at, _ in mails_of(tests)] == [0.0, 60.0, 120.0, 180.0, 240.0, 3600.0]
    assert mails_of([*tests, (400.0, rise())])[-1] == (400.0, 2)


def test_an_answer_makes_the_next_alarm_a_first_one() -> None:
    """Also where it stands among events that wait; an alarm before it stays gathered."""
    assert [at for at, _ in mails_of([(0.0, rise()), (60.0, ANSWER), (90.0, rise())])] == [0.0, 90.0]
    held = [(0.0, rise()), (30.0, rise()), (60.0, ANSWER)]
    assert [at for at, _ in mails_of(held)] == [0.0, 600.0]
    assert [at for at, _ in mails_of([*held, (90.0, rise())])] == [0.0, 90.0]


def test_a_second_alarm_is_told_ten_minutes_after_the_first_at_the_latest() -> None:
    """As long as the hour has a mail left."""
    assert [at for at, _ in mails_of([(0.0, rise()), (60.0, rise())])] == [0.0, 600.0]
    assert [at for at, _ in mails_of([(0.0, rise()), (700.0, rise())])] == [0.0, 700.0]


def test_how_much_worse_is_told_from_what_was_mailed() -> None:
    """Twice the worst that was mailed is news, and once it was told, only twice that is."""
    happened = [(0.0, rise(times=1.5)), (10.0, rise(times=2.9)), (20.0, rise(times=3.0)), (30.0, over(times=7.0))]
    mails = mails_of([*happened, (40.0, rise(times=12.0)), (50.0, rise(times=14.0))])
    assert [at for at, _ in mails] == [0.0, 20.0, 30.0, 50.0]


@pytest.mark.parametrize("most", [1, 10])
@pytest.mark.parametrize("kinds", [(rise, over), (lambda s: state("MISSING", s), lambda s: state("OK", s))])
def test_sources_that_come_and_go_all_hour_do_not_flood(
    kinds: tuple[Callable[[str], Event], Callable[[str], Event]], most: int
) -> None:
    """Four sources that change every few seconds make at most forty mails an hour, and every event is in one."""
    happened = [(9.0 * i, kinds[i // 4 % 2](f"source {i % 4}")) for i in range(400)]
    mails = mails_of(happened, most=most)
    assert len([at for at, _ in mails if at < 3600]) <= 40
    assert sum(events for _, events in mails) == 400


def test_a_further_alarm_that_lasts_is_mailed_a_minute_after_its_rise() -> None:
    """Though nothing is left of the hour, since how far it goes shows later; one that is over meanwhile is not."""
    mailed = after_mail([rise()], (), now_seconds=0.0)
    again, end = {**rise(), "id": "b", "alarm": "b"}, {**over(), "alarm": "b"}
    at = {"b": 100.0}
    assert plan([again], mailed, most_per_hour=1, now_seconds=100.0, seen=at).due_seconds == 160.0
    assert plan([again, end], mailed, most_per_hour=1, now_seconds=107.0, seen=at).due_seconds == 3600.0


def test_an_alarm_that_grows_is_mailed_anew() -> None:
    """A small first alarm that goes to 30 times the threshold is two mails; one that grew as far as mailed, none."""
    assert mails_of([(0.0, rise(times=1.2)), (60.0, grew(times=30.0))]) == [(0.0, 1), (60.0, 1)]
    assert [at for at, _ in mails_of([(0.0, rise(times=20.0)), (30.0, rise()), (90.0, grew())])] == [0.0, 600.0]


def test_what_waits_is_mailed_within_the_hour() -> None:
    """No event is held longer than an hour, whatever was mailed before it."""
    others = [(float(at), {"event": "drift", "id": "d", "source": f"s{at}"}) for at in range(10)]
    mails = mails_of([*others, (20.0, over()), (30.0, {"event": "overload", "id": "l"})])
    assert mails[10:] == [(3600.0, 2)]
