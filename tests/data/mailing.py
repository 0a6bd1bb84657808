"""An outbox whose events are mailed, and what tests write into it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from dasvdd_runtime.sinks.delivery import DeliveredOutbox
from dasvdd_runtime.sinks.outbox import Outbox
from dasvdd_runtime.sinks.smtp import SmtpPublisher
from dasvdd_runtime.sinks.tables import EmailTable
from smtp_server import MailServer

TABLE = {"host": "127.0.0.1", "from": "pump-box@example.com", "to": ["maintenance@example.com"]}
BANDS = [{"name": "3.1 kHz", "ratio": 5.1}]


def mailing(folder: Path, server: MailServer, **keys: Any) -> DeliveredOutbox:
    """An outbox in `folder` that mails through `server`."""
    table = EmailTable.model_validate(TABLE | {"port": server.port, "security": "none"} | keys)
    outbox = Outbox(folder, {table.receiver: False}, max_events=1000, max_bytes=1_000_000)
    return DeliveredOutbox(outbox, [SmtpPublisher(table)])


def write(sink: DeliveredOutbox, kind: str, source: str = "pump7", **fields: Any) -> str:
    """Write an event; its id."""
    event_id = str(uuid.uuid4())
    event = {"event": kind, "id": event_id, "time": "2026-11-30T14:03:12.345Z", "source": source, **fields}
    sink.write(json.dumps(event), durable=True)
    return event_id


def alarm(sink: DeliveredOutbox, source: str = "pump7", *, muted: bool = False, times: float = 2.5) -> str:
    """Write an alarm of so many times the threshold; its id."""
    id = str(uuid.uuid4())
    fields = {"alarm": id, "muted": muted, "smoothed_score": 0.02 * times, "threshold": 0.02, "bands": BANDS}
    return write(sink, "alarm_raised", source, **fields)


def alarm_over(sink: DeliveredOutbox, source: str = "pump7", *, times: float = 2.5) -> str:
    """Write the end of an alarm that went so far; its id."""
    fields = {"alarm": str(uuid.uuid4()), "muted": False, "latched": False, "start_seconds": 1.0, "stream_seconds": 9.0}
    return write(sink, "alarm_cleared", source, **fields, peak_score=0.02 * times, threshold=0.02)


def away(sink: DeliveredOutbox, source: str = "pump7", *, again: bool = False) -> str:
    """Write that a source is missing, or is there again; the event's id."""
    now, before = ("OK", "MISSING") if again else ("MISSING", "OK")
    return write(sink, "source_state", source, state=now, previous=before, reason="gone", muted=False)
