"""Events as mails, with a real mail server that is well, down, strict, or does not do what was asked for."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dasvdd_runtime import cli
from dasvdd_runtime.configuration.config import load_config
from dasvdd_runtime.errors import ConfigError
from dasvdd_runtime.sinks.delivery import DeliveredOutbox
from dasvdd_runtime.sinks.outbox import Outbox
from dasvdd_runtime.sinks.smtp import HourlyLimit, SmtpPublisher
from dasvdd_runtime.sinks.tables import EmailTable
from monitor_child import MonitorChild
from mosquitto_broker import free_port
from mqtt_monitor import write_recording
from scraping import wait_until
from smtp_server import TAKEN, MailServer, tls_context

# aiosmtpd warns of what three servers here do on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

TABLE = {"host": "127.0.0.1", "from": "pump-box@example.com", "to": ["maintenance@example.com"]}
SOURCE = '[[source]]\nname = "pump7"\nkind = "microphone"\n'
PASSWORD = "very-secret-password"
BANDS = [{"name": "3.1 kHz", "ratio": 5.1}]


@pytest.fixture
def serve() -> Iterator[Callable[..., MailServer]]:
    """Makes mail servers, not started yet, and stops them at the end of the test."""
    servers: list[MailServer] = []

    def make(**settings: Any) -> MailServer:
        servers.append(MailServer(**settings))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


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


def test_an_alarm_arrives_readable(serve: Callable[..., MailServer], tmp_path: Path) -> None:
    """Subject, sentences, page and id are there for who reads it, the envelope and headers for the servers between."""
    server = serve().start()
    sink = mailing(tmp_path, server, to=["a@example.com", "b@example.com"], page="http://pump-box:9464/")
    write(sink, "summary")
    event_id = alarm(sink, "Pumpe Süd")
    wait_until(lambda: server.mails)
    sink.close()
    [mail] = server.mails
    assert server.recipients == [["a@example.com", "b@example.com"]]
    assert mail["Subject"].startswith("Alarm: Pumpe Süd (")
    assert (mail["From"], mail["To"]) == ("pump-box@example.com", "a@example.com, b@example.com")
    assert mail["Message-ID"] == f"<{event_id}@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert abs(mail["Date"].datetime.timestamp() - time.time()) < 60
    [text] = server.texts()
    assert "Pumpe Süd differs from normal running since" in text
    assert "2.5 times the threshold, carried by 3.1 kHz" in text
    assert f"Event {event_id}" in text and "http://pump-box:9464/" in text


def test_no_name_makes_a_header(serve: Callable[..., MailServer], tmp_path: Path) -> None:
    """A source whose name holds line breaks adds neither header nor recipient, and the mail arrives."""
    server = serve().start()
    sink = mailing(tmp_path, server)
    alarm(sink, "x\r\nBcc: all@example.com\r\n\r\nhello\n.\nMAIL FROM:<y>")
    wait_until(lambda: server.mails)
    sink.close()
    [mail] = server.mails
    assert server.recipients == [["maintenance@example.com"]]
    assert mail["Bcc"] is None
    assert mail["Subject"].startswith("Alarm: x Bcc: all@example.com hello . MAIL FROM:<y> (")


def test_what_waited_for_a_server_that_was_down_is_one_mail(serve: Callable[..., MailServer], tmp_path: Path) -> None:
    """Nothing is lost while nobody listens; 500 events then come in one mail, which tells how many it does not show."""
    server = serve()
    sink = mailing(tmp_path, server)
    for _ in range(250):
        write(sink, "source_state", state="MISSING", previous="OK", reason="gone")
        write(sink, "source_state", state="OK", previous="MISSING", reason="back")
    sink.close()
    server.start()
    sink = mailing(tmp_path, server)
    wait_until(lambda: server.mails)
    wait_until(lambda: sink.standings()["email 'email'"].waiting == 0)
    sink.close()
    [text] = server.texts()
    assert "480 earlier events are only counted here" in text
    assert text.count("\nEvent ") == 20


def test_a_repeat_can_be_recognised(serve: Callable[..., MailServer], tmp_path: Path) -> None:
    """A mail that the server puts off comes again under the same Message-ID."""
    server = serve(on_mail=lambda number: TAKEN if number else "451 try again").start()
    sink = mailing(tmp_path, server)
    alarm(sink)
    wait_until(lambda: server.mails)
    sink.close()
    assert len(server.offered) == 2
    assert len({mail["Message-ID"] for mail in server.offered}) == 1


def test_what_is_refused_does_not_hold_up_the_rest(serve: Callable[..., MailServer], tmp_path: Path) -> None:
    """A mail that the server will never take is given up and counted; the next one tells so."""
    server = serve(on_mail=lambda number: TAKEN if number else "554 no").start()
    sink = mailing(tmp_path, server)
    alarm(sink)
    wait_until(lambda: server.offered)
    alarm(sink, "fan2")
    wait_until(lambda: server.mails)
    sink.close()
    sink = mailing(tmp_path, server)  # what was refused is told here at the latest
    wait_until(lambda: "email 'email' (0 dropped, 1 refused)" in "".join(server.texts()))
    sink.close()
    assert any("Alarm: fan2" in mail["Subject"] for mail in server.mails)


def test_a_refused_recipient_does_not_hold_up_the_others(
    serve: Callable[..., MailServer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who has left the company is told in the log; the others get the mail, once."""
    server = serve(on_recipient=lambda address: "550 unknown" if address.startswith("gone") else TAKEN).start()
    sink = mailing(tmp_path, server, to=["gone@example.com", "here@example.com"])
    alarm(sink)
    wait_until(lambda: server.mails)
    sink.close()
    assert server.recipients == [["here@example.com"]]
    assert "gone@example.com did not get a mail: 550 unknown" in caplog.text
    sink = mailing(tmp_path, server, to=["gone@example.com"])
    alarm(sink)
    wait_until(lambda: "a mail is given up: 550 unknown" in caplog.text)
    sink.close()


def test_muted_alarms_and_kinds_not_asked_for_are_not_mailed(serve: Callable[..., MailServer], tmp_path: Path) -> None:
    """They are passed over without a mail, and what comes behind them arrives."""
    server = serve().start()
    sink = mailing(tmp_path, server, events=["alarm_raised"])
    alarm(sink, muted=True)
    write(sink, "source_state", state="MISSING", previous="OK", reason="gone")
    alarm(sink, "fan2")
    wait_until(lambda: sink.standings()["email 'email'"].waiting == 0)
    sink.close()
    assert [mail["Subject"].split(" (")[0] for mail in server.mails] == ["Alarm: fan2"]


@pytest.mark.slow
def test_a_muted_source_that_goes_away_calls_nobody_before_the_mute_ends(
    serve: Callable[..., MailServer], tmp_path: Path, tiny_model: Any
) -> None:
    """The event and the log say that it is missing and muted; the end of its last mute mails that it still is."""

    def mute(*arguments: str) -> None:
        assert CliRunner().invoke(cli.main, ["mute", *arguments, "--config", str(config)]).exit_code == 0

    server = serve().start()
    tiny_model(kind="sensor")
    files = [tmp_path / f"{name}.csv" for name in ("pump7", "fan")]
    sources = "".join(f'[[source]]\nname = "{file.stem}"\nkind = "csv_tail"\npath = "{file}"\n' for file in files)
    email = f'[email]\nhost = "127.0.0.1"\nport = {server.port}\nsecurity = "none"\nfrom = "a@b.c"\nto = ["d@e.f"]\n'
    config = tmp_path / "monitor.toml"
    config.write_text(f'[model]\npath = "model.onnx"\n[state]\ndirectory = "state"\n{sources}{email}')
    for file in files:
        file.touch()
    child = MonitorChild(config)
    try:
        child.wait_for("started")
        mute("pump7", "--for", "1h")
        child.wait_for("muted")
        for file in files:
            file.unlink()
        child.wait_for("source_state", count=2)
        mute("--all", "--for", "1h")
        child.wait_for("muted", count=2)
        mute("pump7", "--end")
        still_muted = child.wait_for("unmuted")
        mute("--all", "--end")
        over = child.wait_for("unmuted", count=2)
        wait_until(lambda: len(server.mails) == 2)
        child.stop()
    finally:
        child.kill()
    assert {event["source"]: event["muted"] for event in child.of_kind("source_state")} == {"pump7": True, "fan": False}
    assert (still_muted["unwatched"], over["unwatched"]) == ({}, {"pump7": "MISSING", "fan": "MISSING"})
    assert b"source 'pump7' (muted): STARTING -> MISSING" in b"".join(child.errors)
    assert [mail["Subject"].split(" (")[0] for mail in server.mails] == [
        "Device missing: fan",
        "Not watched, muted no longer",
    ]


def test_a_flood_is_held_and_another_alarm_brings_it(
    serve: Callable[..., MailServer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond the limit events wait; an alarm of a source that had none brings them, as does the end of a mute."""
    server = serve().start()
    sink = mailing(tmp_path, server, most_per_hour=2)
    for number in (1, 2):
        alarm(sink)
        wait_until(lambda number=number: len(server.mails) == number)  # type: ignore[misc]
    for _ in range(30):
        alarm(sink)
    wait_until(lambda: "2 mails within an hour, the limit" in caplog.text)
    assert len(server.mails) == 2
    alarm(sink, "fan2")
    wait_until(lambda: len(server.mails) == 3)
    assert "11 x Alarm: pump7" in server.texts()[2]
    assert "Alarm: fan2\n" in server.texts()[2]
    write(sink, "unmuted", reason="it ran out", alarms=["3f2a8c1e"], unwatched={}, drifting=[])
    wait_until(lambda: len(server.mails) == 4)
    sink.close()


def test_a_reload_does_not_begin_the_hour_anew(
    serve: Callable[..., MailServer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What takes over from a publisher knows what that has mailed; a test alarm does not wait for the hour."""
    server = serve().start()
    sink = mailing(tmp_path, server, most_per_hour=1)
    alarm(sink)
    wait_until(lambda: server.mails)
    table = TABLE | {"port": server.port, "security": "none", "most_per_hour": 1}
    sink.deliver_by([SmtpPublisher(EmailTable.model_validate(table))])
    alarm(sink)
    wait_until(lambda: "1 mail within an hour" in caplog.text)
    write(sink, "test_alarm")
    wait_until(lambda: len(server.mails) == 2)
    sink.close()
    assert server.mails[1]["Subject"].startswith("Alarm: pump7 and 1 more (")


def test_the_limit_is_of_an_hour() -> None:
    """An hour after a mail there is room for one more; what was called about within the hour must wait for that."""
    limit = HourlyLimit(1)
    assert limit.allows([], 0.0)
    limit.note(["pump7"], 0.0)
    assert not limit.allows(["pump7"], 10.0)
    assert limit.allows(["pump7", "fan2"], 10.0)
    limit.note(["fan2"], 10.0)
    assert not limit.allows([], 3605.0)
    assert limit.allows([], 3610.0)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_the_password_goes_only_through_a_trusted_connection(
    serve: Callable[..., MailServer],
    tmp_path: Path,
    require_program: Any,
    caplog: pytest.LogCaptureFixture,
    security: str,
) -> None:
    """A server that another authority vouches for gets none; with the right one the mail arrives."""
    context = tls_context(tmp_path, require_program("openssl"))
    tls = {"ssl_context": context, "auth_require_tls": False} if security == "tls" else {"tls_context": context}
    server = serve(password=PASSWORD, **tls).start()
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    keys = {"security": security, "username": "pump-box", "password_file": tmp_path / "password"}
    sink = mailing(tmp_path, server, **keys, ca_file=tmp_path / "other.crt")
    alarm(sink)
    wait_until(lambda: "certificate verify failed" in caplog.text)
    sink.close()
    assert server.logins == []
    sink = mailing(tmp_path, server, **keys, ca_file=tmp_path / "ca.crt")
    wait_until(lambda: server.mails)
    sink.close()
    assert server.logins == [PASSWORD]


def test_a_server_without_starttls_gets_no_password(
    serve: Callable[..., MailServer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody on the way may have taken the offer out: nothing is said in the clear, and the event waits."""
    server = serve(password=PASSWORD, auth_require_tls=False).start()
    (tmp_path / "password").write_text(PASSWORD)
    sink = mailing(tmp_path, server, security="starttls", username="pump-box", password_file=tmp_path / "password")
    alarm(sink)
    wait_until(lambda: "nothing was sent in the clear" in caplog.text)
    assert sink.standings()["email 'email'"].waiting == 1
    sink.close()
    assert server.logins == [] and server.offered == []


def test_a_wrong_password_loses_nothing_and_is_not_logged(
    serve: Callable[..., MailServer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The event waits until the file is right, without a restart."""
    server = serve(password=PASSWORD, auth_require_tls=False).start()
    (tmp_path / "password").write_text("wrong-one")
    sink = mailing(tmp_path, server, username="pump-box", password_file=tmp_path / "password")
    alarm(sink)
    wait_until(lambda: "does not accept username and password (535)" in caplog.text)
    (tmp_path / "password").write_text(PASSWORD)
    wait_until(lambda: server.mails)
    sink.close()
    assert "wrong-one" not in caplog.text and PASSWORD not in caplog.text


def configure(folder: Path, text: str) -> Path:
    """A monitor.toml with one microphone and `text`."""
    path = folder / "monitor.toml"
    path.write_text(f'[model]\npath = "model.onnx"\n{SOURCE}{text}\n')
    return path


MAIL = '[email]\nhost = "mail.example.com"\nfrom = "a@b.c"\nto = ["d@e.f"]\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f'{MAIL}security = "none"\nusername = "u"\npassword_env = "P"', "could read the password"),
        (f'{MAIL}username = "u"', "go together"),
        (f'{MAIL}password_file = "p"', "go together"),
        (f'{MAIL}password = "hush"', "Did you mean 'password_"),
        (f'{MAIL}form = "x"', "Did you mean 'from'"),
        (f'{MAIL}page = "pump-box"', "like http://"),
        (f'{MAIL}events = ["alarm"]', "alarm_raised"),
        (MAIL.replace("d@e.f", "d@e.f\\r\\nDATA"), "no mail address"),
        (MAIL.replace('["d@e.f"]', "[]"), "must not be empty"),
        (MAIL.replace("from", "sender"), "unknown key"),
        (MAIL.replace("[email]", "[[email]]") * 2, "are called email 'email'"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, text: str, says: str) -> None:
    """A table with a fault is an error that names the key, and not a secret."""
    with pytest.raises(ConfigError) as caught:
        load_config(configure(tmp_path, text))
    assert says in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_user_without_encryption_is_let_through_to_this_machine(tmp_path: Path) -> None:
    """A relay on the same box hears the password from nobody but its clients."""
    text = MAIL.replace("mail.example.com", "localhost") + 'security = "none"\nusername = "u"\npassword_env = "P"'
    [table] = load_config(configure(tmp_path, text)).email
    assert table.address == "localhost:25"


def test_check_connects_and_sends_nothing(serve: Callable[..., MailServer], tmp_path: Path) -> None:
    """A server that takes the login is ok, one that is down a FAIL; neither gets a mail. Without any, check warns."""
    server = serve().start()
    table = '[[email]]\nname = "{}"\nhost = "127.0.0.1"\nport = {}\nsecurity = "none"\nfrom = "a@b.c"\nto = ["d@e.f"]\n'
    path = configure(tmp_path, table.format("up", server.port) + table.format("down", free_port()))
    told = CliRunner().invoke(cli.main, ["check", str(path), "--seconds", "2"]).stdout
    assert f"ok       email 'up': 127.0.0.1:{server.port} answers, without a user; nothing was sent" in told
    assert "FAIL     email 'down': no answer from 127.0.0.1" in told
    assert server.offered == []
    assert "nobody is called" not in told
    told = CliRunner().invoke(cli.main, ["check", str(configure(tmp_path, "")), "--seconds", "2"]).stdout
    assert "warning  receivers: nobody is called: alarms go to standard output and no further" in told


def test_nothing_of_it_is_loaded_where_it_is_not_configured() -> None:
    """A monitor with other receivers carries neither the client nor the sentences."""
    code = (
        "import sys, dasvdd_runtime.running.service, dasvdd_runtime.sinks.receivers\n"
        "print(sorted({'smtplib', 'dasvdd_runtime.call_words', 'dasvdd_runtime.sinks.smtp'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.slow
def test_an_alarm_survives_a_kill_and_the_test_alarm_arrives(
    serve: Callable[..., MailServer], tiny_model: Any, tmp_path: Path
) -> None:
    """An alarm of a monitor that is killed while its mail server is down is mailed by the next one."""
    tiny_model(threshold=0.02)
    write_recording(tmp_path)
    server = serve()
    path = tmp_path / "monitor.toml"
    source = '[[source]]\nname = "pump7"\nkind = "file"\npath = "a.wav"\npace = "real-time"\n'
    table = f'[email]\nhost = "127.0.0.1"\nport = {server.port}\nsecurity = "none"\nfrom = "a@b.c"\nto = ["d@e.f"]\n'
    path.write_text(f'[model]\npath = "model.onnx"\n{source}{table}[state]\ndirectory = "state"\n')
    monitor = MonitorChild(path)
    event_id = monitor.wait_for("alarm_raised")["id"]
    monitor.kill()
    server.start()
    monitor = MonitorChild(path)
    wait_until(lambda: any(event_id in text for text in server.texts()), seconds=20)
    monitor.wait_for("started")
    result = CliRunner().invoke(cli.main, ["test-alarm", "--config", str(path)])
    assert "Has it arrived" in result.output, result.output
    wait_until(lambda: any(mail["Subject"].startswith("Test alarm (") for mail in server.mails), seconds=20)
    monitor.stop()


def test_a_test_alarm_without_receivers_says_that_nobody_is_called(tiny_model: Any, tmp_path: Path) -> None:
    """It does not ask where it has arrived, but names the tables that would call somebody."""
    tiny_model(threshold=0.02)
    write_recording(tmp_path)
    path = tmp_path / "monitor.toml"
    source = '[[source]]\nname = "pump7"\nkind = "file"\npath = "a.wav"\npace = "real-time"\n'
    events = '[events]\npath = "events.jsonl"\n'
    path.write_text(f'[model]\npath = "model.onnx"\n{source}[state]\ndirectory = "state"\n{events}')
    monitor = MonitorChild(path)
    monitor.wait_for("started")
    told = CliRunner().invoke(cli.main, ["test-alarm", "--config", str(path)]).output
    monitor.stop()
    assert "nobody is called: alarms go to standard output" in told and "events.jsonl and no further" in told
    assert all(table in told for table in ("[[email]]", "[mqtt]", "[[webhook]]"))
    assert "Has it arrived" not in told
