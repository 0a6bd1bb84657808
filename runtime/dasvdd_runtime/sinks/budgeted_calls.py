"""Events told to people within a budget: what mails and chats have in common. Imported where either is used."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence

from ..call_gathering import calls_of
from ..call_words import Call, call_for
from ..events import Event
from . import mail_budget
from .delivery import Held
from .outbox_store import Row

BATCH = 1000
"""Rows read from the outbox at once: what waits becomes one message up to here."""


class BudgetedCalls:
    """Tells what people must act on, in one message of all that waits, once `mail_budget` says that it is due."""

    def __init__(
        self,
        tell: Callable[[Sequence[Call]], bool],
        *,
        most_per_hour: int,
        calls_for: Callable[[Event], bool] = lambda event: True,
    ) -> None:
        """`tell` sends one message: True where somebody has it, False where it will never be taken.

        It raises DeliveryFailed where it is not taken now. `calls_for`: whether these people want that event.
        """
        self._tell = tell
        self._most_per_hour = most_per_hour
        self._calls_for = calls_for
        self._mailed: tuple[mail_budget.Mailed, ...] = ()
        self._seen: dict[str, float] = {}

    def deliver(self, rows: Sequence[Row], *, delivered: Callable[[Row], None], refused: Callable[[Row], None]) -> None:
        """As `Publisher.deliver`: one message of all in `rows` that calls for somebody; the others are passed over."""
        events: list[Event] = [json.loads(row.line) for row in rows]
        calls = [self._calls_for(event) and call_for(event) is not None for event in events]
        first = calls.index(True) if True in calls else len(rows)
        self._mailed = mail_budget.after_answers(events[:first], self._mailed)
        for row in rows[:first]:
            delivered(row)
        if first == len(rows):
            return
        planned = [
            event for event, is_call in zip(events, calls, strict=True) if is_call or mail_budget.is_answer(event)
        ]
        if len(rows) < BATCH:  # else what must call may lie behind them
            self._hold(planned, waiting=sum(calls))
        taken = self._tell(calls_of([event for event, is_call in zip(events, calls, strict=True) if is_call]))
        self._mailed = mail_budget.after_mail(planned, self._mailed, now_seconds=time.monotonic())
        for row, event, is_call in zip(rows[first:], events[first:], calls[first:], strict=True):
            # One that tells of refusals, refused: to count it would make another.
            lost = not taken and is_call and event["event"] != "events_dropped"
            (refused if lost else delivered)(row)

    def hand_over(self, successor: BudgetedCalls) -> None:
        """Go on with the limit, which a reload does not begin anew."""
        successor._mailed, successor._seen = self._mailed, self._seen

    def _hold(self, planned: Sequence[Event], *, waiting: int) -> None:
        """Raise Held unless a message of `planned` is due."""
        now_seconds, most = time.monotonic(), self._most_per_hour
        self._seen = {event["id"]: self._seen.get(event["id"], now_seconds) for event in planned}
        due, why = mail_budget.plan(planned, self._mailed, most_per_hour=most, now_seconds=now_seconds, seen=self._seen)
        if due > now_seconds:
            limit = f"most_per_hour = {most}" if why == "limit" else "what repeats is gathered"
            raise Held(waiting, due - now_seconds, limit)


def message_key(calls: Sequence[Call]) -> str:
    """By which a message is known again: the same events make the same, whenever they are told; others another."""
    return ".".join(dict.fromkeys(re.sub(r"[^0-9A-Za-z-]", "", call.event_id) for call in (calls[0], calls[-1])))
