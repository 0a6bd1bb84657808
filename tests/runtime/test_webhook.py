"""Events by POST to real servers that answer well, badly, slowly or never; and what `check` says of receivers."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from click.testing import CliRunner
from dasvdd_runtime import cli
from dasvdd_runtime.configuration.config import load_config
from dasvdd_runtime.errors import ConfigError
from dasvdd_runtime.sinks.delivery import DeliveredOutbox
from dasvdd_runtime.sinks.outbox import Outbox
from dasvdd_runtime.sinks.tables import WebhookTable
from dasvdd_runtime.sinks.webhook import WebhookPublisher
from mosquitto_broker import free_port
from webhook_server import Server

TOKEN = "very-secret-token"


def posting(folder: Path, *tables: dict[str, Any]) -> DeliveredOutbox:
    """An outbox in `folder` that posts to the webhooks of `tables`."""
    publishers = [WebhookPublisher(WebhookTable.model_validate(table)) for table in tables]
    outbox = Outbox(folder, {p.name: False for p in publishers}, max_events=1000, max_bytes=1_000_000)
    return DeliveredOutbox(outbox, publishers)


def write(sink: DeliveredOutbox, count: int) -> list[str]:
    """Write `count` events, numbered from 0; their lines."""
    lines = [json.dumps({"event": "summary", "id": str(uuid.uuid4()), "number": number}) for number in range(count)]
    for line in lines:
        sink.write(line, durable=True)
    return lines


def wait_until(true: Callable[[], object], *, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def test_each_event_is_posted_with_its_id_and_the_token(serve: Callable[..., Server], tmp_path: Path) -> None:
    """The body is the event's line, Idempotency-Key its id, and the token is the file's; scores stay at home."""
    server = serve()
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    sink = posting(tmp_path, {"url": server.url, "token_file": tmp_path / "token"})
    lines = write(sink, 3)
    sink.write(json.dumps({"event": "score", "id": "x"}), durable=False)
    wait_until(lambda: len(server.requests) == 3)
    sink.close()
    assert [body for _, _, body in server.requests] == lines
    for _, headers, body in server.requests:
        assert headers["Idempotency-Key"] == json.loads(body)["id"]
        assert headers["Authorization"] == f"Bearer {TOKEN}"
        assert headers["Content-Type"] == "application/json"


def test_a_server_in_trouble_gets_the_event_again(serve: Callable[..., Server], tmp_path: Path) -> None:
    """503 and 429 are tried again with the same id, and the order holds."""
    server = serve(lambda number, body: {1: 503, 2: 429}.get(number, 204))
    sink = posting(tmp_path, {"url": server.url})
    write(sink, 3)
    wait_until(lambda: len(server.requests) == 5)
    sink.close()
    assert [event["number"] for event in server.events()] == [0, 1, 1, 1, 2]
    assert len({event["id"] for event in server.events()}) == 3


def test_an_event_that_is_refused_does_not_hold_up_the_rest(serve: Callable[..., Server], tmp_path: Path) -> None:
    """422 gives one event up; the others arrive, and one more event tells how many were refused."""
    server = serve(lambda number, body: 422 if json.loads(body).get("number") == 1 else 200)
    sink = posting(tmp_path, {"url": server.url})
    write(sink, 4)
    wait_until(lambda: len(server.requests) >= 4)
    sink.close()
    sink = posting(tmp_path, {"url": server.url})
    wait_until(lambda: len(server.requests) >= 5)
    sink.close()
    [report] = [event for event in server.events() if event["event"] == "events_dropped"]  # once 1 is refused
    assert [event["number"] for event in server.events() if event != report] == [0, 1, 2, 3]
    assert report["receivers"] == {"webhook 'webhook'": {"events": 0, "scores": 0, "refused": 1}}


def test_a_server_that_refuses_everything_is_not_told_for_ever(serve: Callable[..., Server], tmp_path: Path) -> None:
    """A report of refusals that is refused makes no further report."""
    server = serve(lambda number, body: 400)
    for _ in range(3):
        sink = posting(tmp_path, {"url": server.url})
        if not server.requests:
            write(sink, 2)
        time.sleep(0.3)
        sink.close()
    assert [event["event"] for event in server.events()] == ["summary", "summary", "events_dropped"]


def test_a_wrong_token_loses_nothing_and_is_not_logged(
    serve: Callable[..., Server], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """401 says nothing about the event: it waits until the token is right."""
    server = serve(lambda number, body: 200 if number > 0 else 401)
    monkeypatch.setenv("HOOK_TOKEN", TOKEN)
    sink = posting(tmp_path, {"url": server.url, "token_env": "HOOK_TOKEN"})
    write(sink, 1)
    wait_until(lambda: len(server.requests) == 2)
    sink.close()
    assert "the token is not accepted" in caplog.text
    assert TOKEN not in caplog.text


def test_a_redirection_is_not_followed(
    serve: Callable[..., Server], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The token goes to no other address; the event waits, and the log says what to do."""
    server = serve(lambda number, body: 302)
    sink = posting(tmp_path, {"url": server.url})
    write(sink, 1)
    wait_until(lambda: "give the final address" in caplog.text)
    sink.close()
    assert {command for command, _, _ in server.requests} == {"POST"}


def test_a_server_that_never_answers_holds_up_nobody_else(serve: Callable[..., Server], tmp_path: Path) -> None:
    """Beside it another webhook gets everything at once, a stop is short, and its events wait for the next start."""
    deaf, quick = serve(lambda number, body: 0), serve()
    tables = [{"url": deaf.url, "name": "deaf"}, {"url": quick.url, "name": "quick"}]
    sink = posting(tmp_path, *tables)
    begin = time.monotonic()
    write(sink, 20)
    wait_until(lambda: len(quick.requests) == 20, seconds=3.0)
    assert time.monotonic() - begin < 3.0
    begin = time.monotonic()
    sink.close()
    assert time.monotonic() - begin < 3.0
    sink = posting(tmp_path, *tables)
    wait_until(lambda: len(deaf.requests) == 2)
    sink.close()
    assert [event["number"] for event in deaf.events()] == [0, 0]
    assert len(quick.requests) == 20


def configure(folder: Path, text: str) -> Path:
    """A monitor.toml with one source and `text`."""
    path = folder / "monitor.toml"
    source = '[[source]]\nname = "pump7"\nkind = "file"\npath = "a.wav"\n'
    path.write_text(f'[model]\npath = "model.onnx"\nprovider = "cpu"\n{source}{text}\n')
    return path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[webhook]\nurl = "http://example.com/x"', "use https, or set allow_http"),
        ('[webhook]\nurl = "https://me:hush@example.com/x"', "token_file"),
        ('[webhook]\nurl = "ftp://example.com"', "https://"),
        ('[webhook]\nurl = "https://example.com"\nmost_per_hour = 3', 'with body = "text"'),
        ('[webhook]\nurl = "https://example.com"\ntoken = "hush"', "Did you mean 'token_"),
        ('[[webhook]]\nurl = "https://a.com"\n[[webhook]]\nurl = "https://b.com"', "are called webhook 'webhook'"),
        ('[mqtt]\nhost = "broker"\npassword = "hush"', "Did you mean 'password_"),
        ('[mqtt]\nhost = "broker"\npassword_env = "A"', "needs a username"),
        ('[mqtt]\nhost = "broker"\nprefix = "a/#"', "without + and #"),
        ('[mqtt]\nhost = "broker"\nkey_file = "k"', "cert_file"),
        ('[mqtt]\nhost = "broker"\ntelemetry = true', "scores = true"),
        ('[outbox]\nfolder = "box"', "and there is none"),
    ],
)
def test_what_cannot_work_is_refused_without_the_secret(tmp_path: Path, text: str, says: str) -> None:
    """A configuration with a fault, or with a secret in it, is an error that names the key and not the value."""
    with pytest.raises(ConfigError) as caught:
        load_config(configure(tmp_path, text))
    assert says in str(caught.value)
    assert "hush" not in str(caught.value)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """Folder, secrets and certificates; and http to this machine needs no leave."""
    webhook = '[webhook]\nurl = "http://localhost:8080/x"\ntoken_file = "token"\n'
    mqtt = '[mqtt]\nhost = "broker"\nca_file = "/etc/ca.crt"\nusername = "me"\npassword_file = "password"\n'
    config = load_config(configure(tmp_path, f'{webhook}{mqtt}[outbox]\nfolder = "box"'))
    assert config.outbox.folder == tmp_path / "box"
    assert config.webhook[0].token_file == tmp_path / "token"
    assert config.mqtt is not None
    assert config.mqtt.password_file == tmp_path / "password"
    assert config.mqtt.ca_file == Path("/etc/ca.crt")
    assert config.mqtt.port_in_force == 8883


def test_check_tries_broker_and_webhook(serve: Callable[..., Server], tiny_model: Any, tmp_path: Path) -> None:
    """A server that answers is ok and got no POST; a broker that is down is a FAIL with the code for what is absent."""
    import numpy as np

    tiny_model()
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(80_000), 16000)
    server = serve()
    mqtt = f'[mqtt]\nhost = "127.0.0.1"\nport = {free_port()}\n'
    path = configure(tmp_path, f'{mqtt}[webhook]\nurl = "{server.url}"\n')
    result = CliRunner().invoke(cli.main, ["check", str(path), "--seconds", "2"])
    assert result.exit_code == 69, result.output
    assert "ok       webhook 'webhook': 127.0.0.1 answers a HEAD request with 200" in result.stdout
    assert "FAIL     mqtt: no connection to 127.0.0.1" in result.stdout
    assert "ok       outbox" in result.stdout
    assert [command for command, _, _ in server.requests] == ["HEAD"]
    assert not (tmp_path / "outbox.db").exists()


def test_no_answer_is_no_crash(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A server that closes the connection without a word is in trouble, as one that is down."""
    with socket.socket() as rude:
        rude.bind(("127.0.0.1", 0))
        rude.listen()

        def hang_up() -> None:
            rude.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        sink = posting(tmp_path, {"url": f"http://127.0.0.1:{rude.getsockname()[1]}/"})
        write(sink, 1)
        wait_until(lambda: "no answer from 127.0.0.1" in caplog.text)
        sink.close()
