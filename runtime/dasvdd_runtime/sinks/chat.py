"""Words for a chat, by the POST of a webhook: a message for what waits, not one for each event."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence

from ..call_words import Call, in_short
from .budgeted_calls import BATCH, BudgetedCalls, message_key
from .delivery import Publisher
from .outbox_store import Row
from .tables import WebhookTable
from .webhook import WebhookPublisher


class ChatPublisher(WebhookPublisher):
    """Posts `{"text": ...}` about what people must act on, within the budget that mails have."""

    batch = BATCH

    def __init__(self, table: WebhookTable) -> None:
        """Raises as WebhookPublisher does."""
        super().__init__(table)
        self._calls = BudgetedCalls(self._say, most_per_hour=table.most_per_hour)

    def deliver(self, rows: Sequence[Row], *, delivered: Callable[[Row], None], refused: Callable[[Row], None]) -> None:
        """One message of all in `rows` that somebody must act on, once it is due; the others are passed over."""
        self._calls.deliver(rows, delivered=delivered, refused=refused)

    def hand_over(self, successor: Publisher) -> None:
        """Go on with the limit, which a reload does not begin anew."""
        if isinstance(successor, ChatPublisher):
            self._calls.hand_over(successor._calls)

    def _say(self, calls: Sequence[Call]) -> bool:
        return self._post(json.dumps({"text": in_short(calls, machine=socket.gethostname())}), key=message_key(calls))
