"""Mails of the real monitor, over a kill and a mute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from dasvdd_runtime import cli
from monitor_child import MonitorChild
from mqtt_monitor import write_recording
from scraping import wait_until
from smtp_server import MailServer
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
    assert "Has it arrived" in result.output, result.output
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
