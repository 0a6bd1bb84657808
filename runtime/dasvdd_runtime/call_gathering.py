"""Several events of one mail as people read them: of a source's many alarms the worst in full, the others together."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime, tzinfo

from .call_words import Call, answer_by, call_for, one_line, when
from .events import Event, ratio
from .words import count

OFTEN, OFTEN_SECONDS = 3, 600.0
"""So many alarms within such a time are told with what keeps them apart."""
AGAIN_AND_AGAIN = (
    "It rises again and again. If the machine starts and stops so often, [source.running] in monitor.toml leaves its "
    "stops out, and [alarm] cooldown_seconds makes one alarm of many."
)


def calls_of(events: Sequence[Event], zone: tzinfo | None = None) -> list[Call]:
    """What to tell of `events`, in their order; those of which nothing is to be told are left out."""
    calls = [(event, call) for event in events if (call := call_for(event, zone)) is not None]
    gathered: set[int] = set()
    together: dict[int, Call] = {}
    whole = [i for i, (event, call) in enumerate(calls) if _is_alarm(event) and call.when]
    for source in dict.fromkeys(calls[i][0]["source"] for i in whole):
        alarms = [i for i in whole if calls[i][0]["source"] == source]
        raised = [i for i in alarms if calls[i][0]["event"] == "alarm_raised"]
        if len(raised) > 1:
            furthest = _furthest([calls[i][0] for i in alarms])
            worst = max(raised, key=lambda i: furthest[calls[i][0]["alarm"]])
            gathered.update(set(alarms) - {worst})
            together[worst] = _together([calls[i][0] for i in alarms], calls[worst][0], zone)
            event = calls[worst][0]
            retold = call_for({**event, "peak_score": furthest[event["alarm"]] * event["threshold"]}, zone)
            assert retold is not None
            calls[worst] = event, retold
    told = []
    for i, (_, call) in enumerate(calls):
        if i not in gathered:
            told += [call, together[i]] if i in together else [call]
    return told


def _is_alarm(event: Event) -> bool:
    """An event of an alarm with everything that is told of many; a version before this one may have written less."""
    kinds = ("alarm_raised", "alarm_grew", "alarm_cleared")
    is_one = event["event"] in kinds and not event.get("latched")
    return is_one and ratio(event) > 0 and {"source", "alarm"} <= event.keys()


def _furthest(alarms: Sequence[Event]) -> dict[str, float]:
    """By alarm, how far it went in thresholds, as far as its events among `alarms` tell."""
    return {id: max(ratio(event) for event in alarms if event["alarm"] == id) for id in {e["alarm"] for e in alarms}}


def _together(alarms: Sequence[Event], worst: Event, zone: tzinfo | None) -> Call:
    """The alarms of one source, rises and ends in order, beside the `worst`."""
    raised = [event for event in alarms if event["event"] == "alarm_raised"]
    others = [event for event in raised if event is not worst]
    over = {event["alarm"] for event in alarms if event["event"] == "alarm_cleared"}
    source, newest = worst["source"], raised[-1]
    how_far = max((ratio(event) for event in alarms if event["alarm"] != worst["alarm"]), default=0.0)
    last = "All are over." if newest["alarm"] in over else f"The last goes on, since {when(newest, zone)}."
    sentences = [
        f"{count(len(others), 'more alarm')} of {source} since {when(others[0], zone)}, worst {how_far:.3g} times the "
        f"threshold. {last}",
        answer_by(f"--source {shlex.quote(source)}"),
    ]
    if _are_often(raised):
        sentences.insert(1, AGAIN_AND_AGAIN)
    title = one_line(f"{count(len(others), 'more alarm')}: {source}")
    return Call(title, tuple(map(one_line, sentences)), newest["id"], when(newest, zone))


def _are_often(raised: Sequence[Event]) -> bool:
    times = [datetime.fromisoformat(event["time"]).timestamp() for event in raised]
    return any(b - a <= OFTEN_SECONDS for a, b in zip(times, times[OFTEN - 1 :], strict=False))
