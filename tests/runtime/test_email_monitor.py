"""Mails of the real monitor, over a kill and a mute."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from dasvdd_runtime import cli
from monitor_child import MonitorChild
from mosquitto_broker import free_port
from mqtt_monitor import write_recording
from scraping import wait_until
from smtp_server import MailServer
from webhook_server import Server
from white_noise import RATE_HZ, noise


@pytest.mark.slow
def test_a_muted_source_that_goes_away_calls_nobody_before_the_mute_ends(
    serve_mail: Callable[..., MailServer], tmp_path: Path, tiny_model: Any
) -> None:
    """The event and the log say that it is missing and muted; the end of its last mute mails that it still is."""

    def mute(*arguments: str) -> None:
        assert CliRunner().invoke(cli.main, ["mute", *arguments, "--config", str(config)]).exit_code == 0

    server = serve_mail().start()
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


@pytest.mark.slow
def test_an_alarm_survives_a_kill_and_the_test_alarm_arrives(
    serve_mail: Callable[..., MailServer], tiny_model: Any, tmp_path: Path
) -> None:
    """An alarm of a monitor that is killed while its mail server is down is mailed by the next one."""
    tiny_model(threshold=0.02)
    write_recording(tmp_path)
    server = serve_mail()
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
    assert "  email 'email': delivered\nHas it arrived" in result.output, result.output
    wait_until(lambda: any(mail["Subject"].startswith("Test alarm (") for mail in server.mails), seconds=20)
    monitor.stop()


def test_an_alarm_that_grows_is_mailed_as_far_as_it_went(
    serve_mail: Callable[..., MailServer], tiny_model: Any, tmp_path: Path
) -> None:
    """A sound that raises a small alarm and becomes far louder: the log, a mail and the list of alarms say how far."""
    tiny_model(threshold=0.02)
    sound = [noise(3), noise(40, amplitude=0.27), noise(40, amplitude=0.9)]
    soundfile.write(tmp_path / "a.wav", np.concatenate(sound), RATE_HZ)
    server = serve_mail().start()
    path = tmp_path / "monitor.toml"
    source = '[[source]]\nname = "pump7"\nkind = "file"\npath = "a.wav"\npace = "fast"\n'
    table = f'[email]\nhost = "127.0.0.1"\nport = {server.port}\nsecurity = "none"\nfrom = "a@b.c"\nto = ["d@e.f"]\n'
    path.write_text(f'[model]\npath = "model.onnx"\n{source}{table}[state]\ndirectory = "state"\n')
    monitor = MonitorChild(path)
    grew = monitor.wait_for("alarm_grew")
    wait_until(lambda: any("the alarm has grown to" in text for text in server.texts()))
    monitor.process.wait(20)
    [raised] = monitor.of_kind("alarm_raised")
    assert grew["alarm"] == raised["id"]
    assert grew["stream_seconds"] == pytest.approx(raised["stream_seconds"] + 60, abs=1)
    assert raised["smoothed_score"] < 1.5 * raised["threshold"] and grew["peak_score"] > 10 * raised["threshold"]
    listed = CliRunner().invoke(cli.main, ["alarms", "--config", str(path)]).output
    assert f" {monitor.of_kind('alarm_open')[0]['peak_score'] / 0.02:.2f} " in listed


def test_a_test_alarm_says_what_became_of_it_at_each_receiver(
    serve_mail: Callable[..., MailServer], serve: Callable[..., Server], tiny_model: Any, tmp_path: Path
) -> None:
    """Delivered, held until when, not delivered and why, refused, left out; exit code 1 where one does not have it."""
    tiny_model(threshold=0.02)
    write_recording(tmp_path)
    mail, good, strict = serve_mail().start(), serve(), serve(lambda number, body: 400)
    email = f'host = "127.0.0.1"\nport = {mail.port}\nsecurity = "none"\nfrom = "a@b.c"\nto = ["d@e.f"]\n'
    told = f'[[email]]\n{email}most_per_hour = 1\n[[webhook]]\nname = "good"\nurl = "{good.url}"\n'
    not_told = (
        f'[[webhook]]\nname = "strict"\nbody = "text"\nurl = "{strict.url}"\n'
        f'[[webhook]]\nname = "absent"\nurl = "http://127.0.0.1:{free_port()}/"\n'
        f'[[email]]\nname = "alarms"\nevents = ["alarm_raised"]\n{email}'
    )
    path = tmp_path / "monitor.toml"
    source = '[[source]]\nname = "pump7"\nkind = "stdin"\nformat = "s16le"\n'
    head = f'[model]\npath = "model.onnx"\n{source}[state]\ndirectory = "state"\n'
    path.write_text(head + told)
    monitor = MonitorChild(path)

    def test(*arguments: str) -> tuple[int, list[str]]:
        result = CliRunner().invoke(cli.main, ["test-alarm", "--config", str(path), *arguments])
        return result.exit_code, [line for line in result.output.splitlines() if line.startswith("  ")]

    try:
        monitor.wait_for("started")
        assert test() == (0, ["  webhook 'good': delivered", "  email 'email': delivered"])
        code, (delivered, held) = test()
        assert (code, delivered) == (0, "  webhook 'good': delivered")
        assert re.fullmatch(r"  email 'email': held until \d\d:\d\d:\d\d by its most_per_hour; .*", held)
        path.write_text(head + not_told)
        monitor.reload()
        monitor.wait_for("reloaded")
        code, (refused, absent, left_out) = test("--wait", "3")
        assert code == 1
        assert refused == "  webhook 'strict': refused; the log says what it answered"
        assert absent.startswith("  webhook 'absent': not delivered: no answer from 127.0.0.1: [Errno 111]")
        assert left_out == "  email 'alarms': its events leave test_alarm out"
        monitor.stop()
    finally:
        monitor.kill()


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
