"""Events as mails: what arrives, and what a server that is down, strict or flooded does to it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dasvdd_runtime.sinks.smtp import SmtpPublisher
from dasvdd_runtime.sinks.tables import EmailTable
from mailing import TABLE, alarm, alarm_over, away, mailing, write
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


def test_a_pump_that_rises_and_clears_leaves_room_for_what_must_call(
    serve_mail: Callable[..., MailServer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of thirty small alarms the first is mailed at once, and later a far worse one, an absent device, another source.

    What holds the rest is said, with the time.
    """
    server = serve_mail().start()
    sink = mailing(tmp_path, server, most_per_hour=2)

    def mails(number: int) -> None:
        wait_until(lambda: len(server.mails) == number)
        wait_until(lambda: sink.standings()["email 'email'"].waiting == 0)

    write(sink, "test_alarm")
    mails(1)
    alarm(sink)
    mails(2)
    alarm_over(sink)
    for _ in range(29):
        alarm(sink)
        alarm_over(sink)
    wait_until(lambda: "held until" in caplog.text)
    assert len(server.mails) == 2
    assert "ERROR" not in {record.levelname for record in caplog.records}
    alarm(sink, times=12.0)
    mails(3)
    assert server.mails[2]["Subject"].startswith("Alarm: pump7 and ")
    assert "12 times the threshold" in server.texts()[2] and "29 more alarms of pump7 since" in server.texts()[2]
    away(sink)
    mails(4)
    away(sink, again=True)
    wait_until(lambda: sink.standings()["email 'email'"].held is not None)
    held = sink.standings()["email 'email'"].held
    assert held is not None and held.events == 1 and 0 < held.until - time.time() < 3600
    assert "held until" in caplog.text and "most_per_hour = 2" in caplog.text
    alarm(sink, "fan2")
    mails(5)
    assert "Listening again: pump7\n" in server.texts()[4]
    assert sink.standings()["email 'email'"].held is None
    sink.close()


def test_an_answer_makes_the_next_alarm_a_first_one(
    serve_mail: Callable[..., MailServer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A second alarm is gathered, over a reload too; once somebody has answered, the next one is mailed at once."""
    server = serve_mail().start()
    sink = mailing(tmp_path, server, most_per_hour=1)
    alarm(sink)
    wait_until(lambda: server.mails)
    table = TABLE | {"port": server.port, "security": "none", "most_per_hour": 1}
    sink.deliver_by([SmtpPublisher(EmailTable.model_validate(table))])
    alarm(sink)
    wait_until(lambda: "held until" in caplog.text)
    write(sink, "alarm_acknowledged", alarm="x", verdict="real", note="", released=False)
    time.sleep(0.3)
    assert len(server.mails) == 1
    alarm(sink)
    wait_until(lambda: len(server.mails) == 2)
    sink.close()


def test_what_is_held_comes_after_a_kill(serve_mail: Callable[..., MailServer], tmp_path: Path) -> None:
    """Events that the limit holds are in the outbox: the next monitor mails them."""
    server = serve_mail().start()
    sink = mailing(tmp_path, server)
    alarm(sink)
    wait_until(lambda: server.mails)
    held = alarm(sink)
    wait_until(lambda: sink.standings()["email 'email'"].held is not None)
    sink.close()
    sink = mailing(tmp_path, server)
    wait_until(lambda: len(server.mails) == 2)
    sink.close()
    assert held in server.texts()[1]


def test_nothing_of_it_is_loaded_where_it_is_not_configured() -> None:
    """A monitor with other receivers carries neither the client nor the sentences."""
    code = (
        "import sys, dasvdd_runtime.running.service, dasvdd_runtime.sinks.receivers\n"
        "print(sorted({'smtplib', 'dasvdd_runtime.call_words', 'dasvdd_runtime.sinks.smtp'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
