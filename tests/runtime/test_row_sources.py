"""All kinds of sources of rows in one monitor."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from monitor_child import MonitorChild


@pytest.mark.parametrize("deaf", [False, True], ids=["not there", "answers nothing"])
def test_devices_that_are_away_hold_up_neither_each_other_nor_the_end(
    tiny_model: Any, tmp_path: Path, deaf: bool
) -> None:
    """Every one is MISSING with a reason, a file among them is judged, and a stop ends the real program in time."""
    tiny_model(kind="sensor", channel_names=["x"], sample_rate_hz=10.0, window_samples=10, window_hop_samples=10)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if deaf:
            listener.listen()
        port = listener.getsockname()[1]
        sources = {
            "file": 'kind = "csv_tail"\npath = "log.csv"\ntime_column = "time"',
            "away": 'kind = "csv_tail"\npath = "none.csv"',
            "broker": f'kind = "mqtt"\nhost = "127.0.0.1"\nport = {port}\ntopics = ["a"]',
            "line": f'kind = "serial"\nport = "{tmp_path}/none"',
            "drive": f'kind = "modbus"\nhost = "127.0.0.1"\nport = {port}\nregisters = [{{name = "x", address = 1}}]',
            "plant": f'kind = "opcua"\nurl = "opc.tcp://127.0.0.1:{port}"\nnodes = {{x = "i=1"}}',
            "imu": 'kind = "iio"\ndevice = "none"\nchannels = ["accel_x"]',
        }
        text = "".join(f'[[source]]\nname = "{name}"\n{keys}\n' for name, keys in sources.items())
        (tmp_path / "monitor.toml").write_text(f'[model]\npath = "model.onnx"\n{text}[events]\nscores = true\n')
        child = MonitorChild(tmp_path / "monitor.toml")
        try:
            child.wait_for("source_state", count=len(sources))
            (tmp_path / "log.csv").write_text("time,x\n" + "".join(f"{i / 10},{i % 2}\n" for i in range(100)))
            assert child.wait_for("score", count=5)["source"] == "file"
            assert child.stop_seconds() < 5
        finally:
            child.kill()
    missing = {
        event["source"]: event["reason"] for event in child.of_kind("source_state") if event["state"] == "MISSING"
    }
    assert set(missing) == set(sources)
    assert all(str(tmp_path) in reason or str(port) in reason or "'none'" in reason for reason in missing.values())
    assert not any(b"Traceback" in line for line in child.errors)
