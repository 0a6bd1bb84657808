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


def alarm(sink: DeliveredOutbox, source: str = "pump7", *, muted: bool = False) -> str:
    """Write an alarm; its id."""
    id = str(uuid.uuid4())
    fields = {"alarm": id, "muted": muted, "smoothed_score": 0.05, "threshold": 0.02, "bands": BANDS}
    return write(sink, "alarm_raised", source, **fields)
