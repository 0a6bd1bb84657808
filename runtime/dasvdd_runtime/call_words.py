"""What a person with a phone is told of an event that asks for one: mails and chats say the same. Pure, words only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo
from typing import NamedTuple

from .condition.health import UNWATCHED, State
from .endpoint.state_words import words_of
from .event_log import bands_in_words, line_for
from .events import Event, ratio
from .words import harmless

ALARM_ADVICE = "Look at the machine, then answer the alarm."
SHOWN = 20
"""Events of one mail that are told in full; of more, the newest."""
SHOWN_IN_CHAT, CHAT_LETTERS = 10, 3500
"""As `SHOWN`, and for how many letters there is room: chats refuse messages of some 4000."""


class Call(NamedTuple):
    """One event, told."""

    title: str
    """What happened, and to which source."""
    sentences: tuple[str, ...]
    """The first alone says what matters; the others, what to do."""
    event_id: str
    when: str
    """When the event was; a mail may come later."""


def call_for(event: Event, zone: tzinfo | None = None) -> Call | None:
    """What to tell of `event`, times in `zone` (None: that of this machine); None where nobody need act or is muted."""
    tell = _TELLERS.get(event["event"])
    if tell is None or event.get("muted"):
        return None
    at = ""
    try:
        at = when(event, zone)
        told = tell(event, zone)
    except (KeyError, TypeError, ValueError):  # of another version, in an outbox that outlived it
        told = event["event"], ("An event that this version cannot put into words. The event file has it.",)
    if told is None:
        return None
    title, sentences = told
    where = f": {event['source']}" if "source" in event else ""
    return Call(one_line(f"{title}{where}"), tuple(one_line(words) for words in sentences), event["id"], at)


def subject(calls: Sequence[Call], *, machine: str) -> str:
    """One line for all of `calls`, which are in the order of the events: an alarm rather than anything else."""
    first = next((call for call in calls if call.title.startswith(("Alarm: ", "Alarm grew: "))), calls[0])
    more = f" and {len(calls) - 1} more" if len(calls) > 1 else ""
    return f"{first.title}{more} ({one_line(machine)})"


def in_short(calls: Sequence[Call], *, machine: str) -> str:
    """The subject, and a line with what matters of each of the newest `calls`, for a chat."""
    shown = calls[-SHOWN_IN_CHAT:]
    letters = CHAT_LETTERS // len(shown)
    lines = [subject(calls, machine=machine)]
    if len(calls) > len(shown):
        lines.append(f"{len(calls) - len(shown)} earlier events are only counted here; the event file has them.")
    return "\n".join(lines + [_dated(call)[:letters] for call in shown])


def _dated(call: Call) -> str:
    """What matters of `call`, with its time: a message may come later."""
    first = call.sentences[0]
    return first if call.when in first else f"{first} ({call.when})"


def body(calls: Sequence[Call], *, page: str) -> str:
    """The newest of `calls` in full, the others counted, and the address of the `page`, if there is one."""
    shown = calls[-SHOWN:] if len(calls) > SHOWN else calls
    counts = Counter(call.title for call in calls[: len(calls) - len(shown)])
    parts = []
    if counts:
        parts.append(
            f"{counts.total()} earlier events are only counted here; the event file has them.\n"
            + "\n".join(f"{number} x {title}" for title, number in counts.most_common(SHOWN))
        )
    for call in shown:
        lines = ([call.title] if len(calls) > 1 else []) + [*call.sentences, f"Event {call.event_id} of {call.when}"]
        parts.append("\n".join(lines))
    if page:
        parts.append(f"The page: {page}")
    return "\n\n".join(parts) + "\n"


Told = tuple[str, tuple[str, ...]]
"""A title without the source, and sentences."""


def _alarm_raised(event: Event, zone: tzinfo | None) -> Told:
    return "Alarm", (
        f"{event['source']} differs from normal running since {when(event, zone)}: {ratio(event):.3g} times the "
        f"threshold, carried by {bands_in_words(event['bands'])}.",
        ALARM_ADVICE,
        _answer(event["alarm"]),
    )


def _alarm_grew(event: Event, zone: tzinfo | None) -> Told:
    return "Alarm grew", (f"{_logged(event)}.", ALARM_ADVICE, _answer(event["alarm"]))


def _alarm_cleared(event: Event, zone: tzinfo | None) -> Told:
    far = f" It went up to {ratio(event):.3g} times the threshold." if ratio(event) else ""
    if event["latched"]:
        return "Alarm waits for an answer", (f"{_logged(event)}.{far}", _answer(event["alarm"]))
    return "Alarm over", (f"{_logged(event)}.{far}",)


def _alarm_latched(event: Event, zone: tzinfo | None) -> Told:
    return "Alarm waits for an answer", (_logged(event), _answer(event["alarm"]))


def _unmuted(event: Event, zone: tzinfo | None) -> Told | None:
    if event["alarms"]:
        return "Alarm lasts, muted no longer", (_logged(event), ALARM_ADVICE, *map(_answer, event["alarms"]))
    if event["unwatched"]:
        words = [words_of(State(state)) for state in dict.fromkeys(event["unwatched"].values())]
        return "Not watched, muted no longer", (_logged(event), *(each.advice for each in words))
    if event["drifting"]:
        return "Drifts, muted no longer", (_logged(event),)
    return None


def _source_state(event: Event, zone: tzinfo | None) -> Told | None:
    state, previous = State(event["state"]), State(event["previous"])
    if state not in UNWATCHED and previous not in UNWATCHED:
        return None
    words = words_of(state)
    title = words.title if state in UNWATCHED else f"{words.title} again" if state is State.OK else words.title
    reason = f"{event['reason']}. " if state in UNWATCHED else ""
    since = f"{event['source']} since {when(event, zone)}: {reason}{words.meaning}"
    return title, (since, words.advice) if words.advice else (since,)


def _drift(event: Event, zone: tzinfo | None) -> Told:
    return "Drifts" if event["drifting"] else "Drifts no longer", (_logged(event),)


def _overload(event: Event, zone: tzinfo | None) -> Told:
    only_bursts = set(event["dropped_seconds"]) <= set(event["bursts"])
    return "Samples dropped" if only_bursts else "Overloaded", (_logged(event),)


def _evidence_lost(event: Event, zone: tzinfo | None) -> Told:
    of = "any alarm before there is room" if event["alarm"] is None else f"the alarm {event['alarm']}"
    advice = (
        "Look at space and rights of [evidence] directory: dasvdd-monitor check tells both. Alarms come all the same."
    )
    return "Evidence lost", (f"There is no evidence of {of}: {event['reason']}.", advice)


def _events_dropped(event: Event, zone: tzinfo | None) -> Told:
    losses = [
        f"{name} ({losses['events']} dropped, {losses['refused']} refused)"
        for name, losses in event["receivers"].items()
    ]
    return "Events lost", (
        f"Some events never came to {', '.join(losses)}.",
        "The event file has them, and the log says what the receiver answered.",
    )


def _stopped(event: Event, zone: tzinfo | None) -> Told | None:
    if not event["failed"]:
        return None
    faults = "; ".join(f"{source}: {fault}" for source, fault in event["failed"].items())
    return "Ended with a fault", (f"The monitor watches no more since {when(event, zone)}. {faults}",)


def _test_alarm(event: Event, zone: tzinfo | None) -> Told:
    return "Test alarm", (_logged(event) + ". Alarms arrive here.",)


_TELLERS: dict[str, Callable[[Event, tzinfo | None], Told | None]] = {
    "alarm_raised": _alarm_raised,
    "alarm_grew": _alarm_grew,
    "alarm_cleared": _alarm_cleared,
    "alarm_latched": _alarm_latched,
    "unmuted": _unmuted,
    "source_state": _source_state,
    "drift": _drift,
    "overload": _overload,
    "evidence_lost": _evidence_lost,
    "events_dropped": _events_dropped,
    "stopped": _stopped,
    "test_alarm": _test_alarm,
}


def _answer(alarm: str) -> str:
    return answer_by(alarm[:8])


def answer_by(which: str) -> str:
    """How to answer the alarms that the arguments `which` of the command name."""
    command = f"dasvdd-monitor ack {which} --config monitor.toml --verdict real"
    return f"To answer, on its box: {command} (or false, unknown)"


def _logged(event: Event) -> str:
    """What the log says of `event`."""
    line = line_for(event)
    assert line is not None
    return line[1][:1].upper() + line[1][1:]


def when(event: Event, zone: tzinfo | None) -> str:
    """The time of `event`, for people, in `zone`."""
    return f"{datetime.fromisoformat(event['time']).astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def one_line(text: str) -> str:
    """`text` without line breaks and control characters: nothing of a name or a reason begins a header or a line."""
    return harmless(" ".join(text.split()))
