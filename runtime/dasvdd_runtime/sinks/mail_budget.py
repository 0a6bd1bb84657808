"""When a mail, or a message to a chat, goes: at once for what must call, later for what repeats or can wait.

Pure; times are given.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from ..condition.health import UNWATCHED
from ..detector import CLEARLY_WORSE
from ..events import Event, ratio

HOUR_SECONDS = 3600.0
ALARMS = ("alarm_raised", "alarm_grew", "alarm_cleared")


class Rule(NamedTuple):
    """How soon events of one kind are mailed."""

    gather_seconds: float
    """What repeats is gathered for so long after the mail before, and twice as long after each further mail."""
    first_share: float
    """Of `most_per_hour`, how much may be used up where a first event is still mailed; infinite: it always is."""
    repeat_share: float


MUST, ALL, HALF = float("inf"), 1.0, 0.5
ALARM = Rule(600.0, MUST, ALL)
NOT_WATCHED = Rule(60.0, MUST, MUST)
LASTING = NOT_WATCHED
"""A repeated alarm that has lasted for LASTING_SECONDS: when it rose, nobody knew how far it would go."""
LASTING_SECONDS = 60.0
OTHER = Rule(600.0, ALL, ALL)
ROUTINE = Rule(600.0, HALF, HALF)
"""Good news and tests never use up the rest of the hour's mails."""


class Topic(NamedTuple):
    """What an event is about; of one topic, the second event within an hour is a repeat."""

    rule: Rule
    name: str


class Mailed(NamedTuple):
    """One mail that was sent."""

    at_seconds: float
    topics: frozenset[Topic]
    worst: Mapping[str, float]
    """By source, how far the alarms went that it told of, in thresholds."""


class Plan(NamedTuple):
    """When the next mail is due; all that waits goes with it."""

    due_seconds: float
    why: Literal["repeats", "limit"]
    """What holds it until then."""


def is_answer(event: Event) -> bool:
    """Somebody has answered an alarm: the next one of its source is a first one again."""
    return bool(event["event"] == "alarm_acknowledged")


def plan(
    events: Sequence[Event],
    mailed: Sequence[Mailed],
    *,
    most_per_hour: int,
    now_seconds: float,
    seen: Mapping[str, float] = MappingProxyType({}),
) -> Plan:
    """When a mail of `events` goes: those to be mailed and answers, in order. Not later than now: at once.

    `mailed`: as `after_mail` and `after_answers` give it; `seen`: by id, when events came. Infinite
    where no event is to be mailed.
    """
    recent = _within_the_hour(mailed, now_seconds)
    over = {event.get("alarm") for event in events if event["event"] == "alarm_cleared"}
    answered: set[str] = set()
    plans = []
    for event in events:
        if is_answer(event):
            answered.add(event.get("source", ""))
        else:
            plans.append(_plan(event, recent, answered, most_per_hour, now_seconds))
            if event["event"] == "alarm_raised" and event["id"] in seen and event.get("alarm") not in over:
                lasting = _gathered_seconds(LASTING, [mail for mail in recent if _topic(event) in mail.topics])
                plans.append(Plan(max(lasting, seen[event["id"]] + LASTING_SECONDS), "repeats"))
    return min(plans, default=Plan(float("inf"), "repeats"))


def after_answers(events: Iterable[Event], mailed: Sequence[Mailed]) -> tuple[Mailed, ...]:
    """`mailed` after the answers among `events`: as if nothing of these sources' alarms had been mailed."""
    sources = {event.get("source", "") for event in events if is_answer(event)}
    topics = {_alarms_of(source) for source in sources}
    return tuple(
        mail._replace(
            topics=mail.topics - topics,
            worst={name: ratio for name, ratio in mail.worst.items() if name not in sources},
        )
        for mail in mailed
    )


def after_mail(events: Iterable[Event], mailed: Sequence[Mailed], *, now_seconds: float) -> tuple[Mailed, ...]:
    """`mailed` after a mail of `events`, those mailed and answers, in order."""
    told = (*_within_the_hour(mailed, now_seconds), Mailed(now_seconds, frozenset(), {}))
    for event in events:
        told = after_answers([event], told) if is_answer(event) else (*told[:-1], _telling(told[-1], event))
    return told


def _telling(mail: Mailed, event: Event) -> Mailed:
    """`mail` with `event` in it."""
    worst, source = dict(mail.worst), event.get("source", "")
    if event["event"] in ALARMS:
        worst[source] = max(worst.get(source, 0.0), ratio(event))
    return mail._replace(topics=mail.topics | {_topic(event)}, worst=worst)


def _plan(
    event: Event, recent: Sequence[Mailed], answered: Collection[str], most_per_hour: int, now_seconds: float
) -> Plan:
    topic, source = _topic(event), event.get("source", "")
    earlier = [mail for mail in recent if topic in mail.topics]
    if source in answered and topic == _alarms_of(source):
        earlier = []
    if _is_clearly_worse(event, recent):
        return Plan(now_seconds, "repeats")
    share = topic.rule.repeat_share if earlier else topic.rule.first_share
    room = _room_seconds(recent, max(1.0, share * most_per_hour), now_seconds)
    if not earlier:
        return Plan(room, "limit")
    gathered = _gathered_seconds(topic.rule, earlier)
    return Plan(room, "limit") if room > gathered else Plan(gathered, "repeats")


def _gathered_seconds(rule: Rule, earlier: Sequence[Mailed]) -> float:
    """Until when what repeats the topic of the mails `earlier` is gathered."""
    if not earlier:
        return 0.0
    return earlier[-1].at_seconds + min(rule.gather_seconds * 2.0 ** (len(earlier) - 1), HOUR_SECONDS)


def _room_seconds(recent: Sequence[Mailed], most: float, now_seconds: float) -> float:
    """When fewer than `most` mails were sent within the hour."""
    return now_seconds if len(recent) < most else recent[-int(most)].at_seconds + HOUR_SECONDS


def _is_clearly_worse(event: Event, recent: Sequence[Mailed]) -> bool:
    """An alarm, one that lasts or one that is over, went far beyond what was mailed of its source."""
    told = [mail.worst[event["source"]] for mail in recent if event.get("source") in mail.worst]
    return event["event"] in ALARMS and bool(told) and ratio(event) >= CLEARLY_WORSE * max(told)


def _within_the_hour(mailed: Sequence[Mailed], now_seconds: float) -> list[Mailed]:
    return [mail for mail in mailed if mail.at_seconds > now_seconds - HOUR_SECONDS]


def _alarms_of(source: str) -> Topic:
    return Topic(ALARM, f"alarms of {source}")


def _topic(event: Event) -> Topic:
    kind, source = event["event"], event.get("source", "")
    if kind in ("alarm_raised", "alarm_grew"):
        return _alarms_of(source)
    if kind == "unmuted":
        return Topic(ALARM, f"unmuted {source}")
    if kind == "stopped" or (kind == "source_state" and event.get("state") in UNWATCHED):
        return Topic(NOT_WATCHED, source)
    if kind == "test_alarm":
        return Topic(ROUTINE, event["id"])
    return Topic(ROUTINE if kind in ("alarm_cleared", "source_state") else OTHER, f"{kind} {source}")
