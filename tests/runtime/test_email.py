"""Events as mails: what arrives, and what a server that is down, strict or flooded does to it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dasvdd_runtime.sinks.smtp import HourlyLimit, SmtpPublisher
from dasvdd_runtime.sinks.tables import EmailTable
from mailing import TABLE, alarm, mailing, write
from scraping import wait_until
from smtp_server import TAKEN, MailServer


def test_an_alarm_arrives_readable(serve_mail: Callable[..., MailServer], tmp_path: Path) -> None:
    """Subject, sentences, page and id are there for who reads it, the envelope and headers for the servers between."""
    server = serve_mail().start()
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


def test_no_name_makes_a_header(serve_mail: Callable[..., MailServer], tmp_path: Path) -> None:
    """A source whose name holds line breaks adds neither header nor recipient, and the mail arrives."""
    server = serve_mail().start()
    sink = mailing(tmp_path, server)
    alarm(sink, "x\r\nBcc: all@example.com\r\n\r\nhello\n.\nMAIL FROM:<y>")
    wait_until(lambda: server.mails)
    sink.close()
    [mail] = server.mails
    assert server.recipients == [["maintenance@example.com"]]
    assert mail["Bcc"] is None
    assert mail["Subject"].startswith("Alarm: x Bcc: all@example.com hello . MAIL FROM:<y> (")


def test_what_waited_for_a_server_that_was_down_is_one_mail(
    serve_mail: Callable[..., MailServer], tmp_path: Path
) -> None:
    """Nothing is lost while nobody listens; 500 events then come in one mail, which tells how many it does not show."""
    server = serve_mail()
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


def test_a_repeat_can_be_recognised(serve_mail: Callable[..., MailServer], tmp_path: Path) -> None:
    """A mail that the server puts off comes again under the same Message-ID."""
    server = serve_mail(on_mail=lambda number: TAKEN if number else "451 try again").start()
    sink = mailing(tmp_path, server)
    alarm(sink)
    wait_until(lambda: server.mails)
    sink.close()
    assert len(server.offered) == 2
    assert len({mail["Message-ID"] for mail in server.offered}) == 1


def test_what_is_refused_does_not_hold_up_the_rest(serve_mail: Callable[..., MailServer], tmp_path: Path) -> None:
    """A mail that the server will never take is given up and counted; the next one tells so."""
    server = serve_mail(on_mail=lambda number: TAKEN if number else "554 no").start()
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
    serve_mail: Callable[..., MailServer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who has left the company is told in the log; the others get the mail, once."""
    server = serve_mail(on_recipient=lambda address: "550 unknown" if address.startswith("gone") else TAKEN).start()
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


def test_muted_alarms_and_kinds_not_asked_for_are_not_mailed(
    serve_mail: Callable[..., MailServer], tmp_path: Path
) -> None:
    """They are passed over without a mail, and what comes behind them arrives."""
    server = serve_mail().start()
    sink = mailing(tmp_path, server, events=["alarm_raised"])
    alarm(sink, muted=True)
    write(sink, "source_state", state="MISSING", previous="OK", reason="gone")
    alarm(sink, "fan2")
    wait_until(lambda: sink.standings()["email 'email'"].waiting == 0)
    sink.close()
    assert [mail["Subject"].split(" (")[0] for mail in server.mails] == ["Alarm: fan2"]


def test_a_flood_is_held_and_another_alarm_brings_it(
    serve_mail: Callable[..., MailServer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond the limit events wait; an alarm of a source that had none brings them, as does the end of a mute."""
    server = serve_mail().start()
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
    serve_mail: Callable[..., MailServer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What takes over from a publisher knows what that has mailed; a test alarm does not wait for the hour."""
    server = serve_mail().start()
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


def test_nothing_of_it_is_loaded_where_it_is_not_configured() -> None:
    """A monitor with other receivers carries neither the client nor the sentences."""
    code = (
        "import sys, dasvdd_runtime.running.service, dasvdd_runtime.sinks.receivers\n"
        "print(sorted({'smtplib', 'dasvdd_runtime.call_words', 'dasvdd_runtime.sinks.smtp'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
