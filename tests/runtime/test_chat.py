"""Words for a chat, posted to a real server: what comes at once, what is gathered, what becomes of a refusal."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dasvdd_runtime.sinks.delivery import DeliveredOutbox
from dasvdd_runtime.sinks.outbox import Outbox
from dasvdd_runtime.sinks.receivers import make_publisher
from dasvdd_runtime.sinks.tables import WebhookTable
from mailing import alarm, alarm_over, away, write
from scraping import wait_until
from webhook_server import Server

CHAT = "webhook 'chat'"


def publisher(server: Server, **keys: Any) -> Any:
    return make_publisher(WebhookTable.model_validate({"url": server.url, "name": "chat", "body": "text"} | keys))


def chatting(folder: Path, server: Server, **keys: Any) -> DeliveredOutbox:
    """An outbox in `folder` that tells the chat at `server`."""
    outbox = Outbox(folder, {CHAT: False}, max_events=1000, max_bytes=1_000_000)
    return DeliveredOutbox(outbox, [publisher(server, **keys)])


def texts(server: Server) -> list[str]:
    """What the chat was told, message by message."""
    return [json.loads(body)["text"] for _, _, body in list(server.requests)]


def test_a_chat_is_told_in_words(serve: Callable[..., Server], tmp_path: Path) -> None:
    """It gets `text` alone, the mail's title and first sentence, of what people must act on."""
    server = serve()
    sink = chatting(tmp_path, server)
    write(sink, "summary")
    id = away(sink)
    wait_until(lambda: sink.standings()[CHAT].waiting == 0)
    sink.close()
    [(_, headers, body)] = server.requests
    assert list(json.loads(body)) == ["text"]
    title, sentence = json.loads(body)["text"].split("\n")
    assert title == f"Device missing: pump7 ({socket.gethostname()})"
    assert sentence.startswith("pump7 since 2026-11-30") and "gone. It cannot be opened" in sentence
    assert headers["Idempotency-Key"] == id


def test_a_noisy_pump_does_not_flood_a_chat(serve: Callable[..., Server], tmp_path: Path) -> None:
    """Of thirty small alarms the first and its end are told at once, the rest with the far worse one that follows."""
    server = serve()
    sink = chatting(tmp_path, server)
    for first in (alarm, alarm_over):
        first(sink)
        wait_until(lambda: sink.standings()[CHAT].waiting == 0)
    for _ in range(29):
        alarm(sink)
        alarm_over(sink)
    wait_until(lambda: (held := sink.standings()[CHAT].held) is not None and held.events == 58)
    assert len(server.requests) == 2
    sink.deliver_by([publisher(server, most_per_hour=5)])  # a reload begins nothing anew
    alarm(sink, times=12.0)
    wait_until(lambda: sink.standings()[CHAT].waiting == 0)
    sink.close()
    title, worst, others = texts(server)[2].split("\n")
    assert title.startswith("Alarm: pump7 and 1 more (")
    assert "12 times the threshold" in worst
    assert others.startswith("29 more alarms of pump7 since") and "worst 2.5 times the threshold" in others


def test_a_message_that_a_chat_will_never_take_is_counted(serve: Callable[..., Server], tmp_path: Path) -> None:
    """400 gives up the events in it, which `events_dropped` then tells; 429 has it come again as the same."""
    server = serve(lambda number, body: {0: 429, 1: 400}.get(number, 200))
    sink = chatting(tmp_path, server)
    alarm(sink)
    wait_until(lambda: len(server.requests) == 2)
    sink.close()
    assert len({headers["Idempotency-Key"] for _, headers, _ in server.requests}) == 1
    sink = chatting(tmp_path, server)
    wait_until(lambda: len(server.requests) == 3)
    sink.close()
    assert "webhook 'chat' (0 dropped, 1 refused)" in texts(server)[2]


def test_what_the_chat_is_told_is_on_the_disk_until_then(serve: Callable[..., Server], tmp_path: Path) -> None:
    """A message that is held comes after the next start, in which the budget begins anew."""
    server = serve()
    sink = chatting(tmp_path, server)
    alarm(sink)
    wait_until(lambda: server.requests)
    alarm(sink, times=3.0)
    wait_until(lambda: sink.standings()[CHAT].held is not None)
    sink.close()
    sink = chatting(tmp_path, server)
    wait_until(lambda: len(server.requests) == 2)
    sink.close()
    assert "3 times the threshold" in texts(server)[1]
