"""The monitor under systemd: what it says on the socket, the unit, and a real systemd that restarts it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from dasvdd_runtime.running.service_manager import ServiceManager

UNIT = Path(__file__).parents[2] / "firmware_configs" / "systemd" / "dasvdd-monitor.service"


@pytest.fixture
def manager_socket(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket as systemd's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(0.2)
        yield listening


def received(listening: socket.socket) -> list[str]:
    """Every message that waits."""
    messages = []
    try:
        while True:
            messages.append(listening.recv(1000).decode())
    except TimeoutError:
        return messages


def test_ready_reaches_the_socket(manager_socket: socket.socket) -> None:
    """systemd gets READY=1, and no heartbeat where no watchdog was asked for."""
    manager = ServiceManager.from_environment({"NOTIFY_SOCKET": manager_socket.getsockname()})
    manager.ready()
    manager.heartbeat()
    assert received(manager_socket) == ["READY=1"]


def test_an_abstract_socket_is_reached() -> None:
    """'@' in front of the address stands for a null byte."""
    name = f"dasvdd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(0.2)
        ServiceManager(f"@{name}").ready()
        assert received(listening) == ["READY=1"]


def test_heartbeats_come_four_times_a_period(manager_socket: socket.socket) -> None:
    """Of heartbeats a tenth of a second apart, 8 s of a watchdog of 4 s let one a second through."""
    now = [0.0]
    manager = ServiceManager(manager_socket.getsockname(), watchdog_seconds=4.0, clock=lambda: now[0])
    for turn in range(80):
        now[0] = turn / 10
        manager.heartbeat()
    assert received(manager_socket) == ["WATCHDOG=1"] * 8


@pytest.mark.parametrize(
    "watchdog", [{"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}]
)
def test_a_watchdog_that_is_not_ours_is_not_fed(manager_socket: socket.socket, watchdog: dict[str, str]) -> None:
    """A watchdog for another process, and one without a time, get nothing."""
    ServiceManager.from_environment({"NOTIFY_SOCKET": manager_socket.getsockname(), **watchdog}).heartbeat()
    assert received(manager_socket) == []


def test_a_manager_that_is_gone_does_no_harm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A socket that is not there is logged and not raised."""
    ServiceManager(str(tmp_path / "gone")).ready()
    assert "READY=1" in caplog.text


def test_the_unit_is_hardened(require_program: Callable[[str], str]) -> None:
    """`systemd-analyze security` gives the unit an exposure of at most 2.0."""
    command = [
        require_program("systemd-analyze"),
        "security",
        "--offline=true",
        "--no-pager",
        "--threshold=20",
        str(UNIT),
    ]
    analysed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert analysed.returncode == 0, analysed.stdout[-500:] + analysed.stderr


def test_the_unit_has_no_faults(require_program: Callable[[str], str], tmp_path: Path) -> None:
    """`systemd-analyze verify` finds nothing, once the program is there."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/dasvdd/bin/dasvdd-monitor", sys.executable))
    command = [require_program("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", str(unit)]
    verified = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    about_it = [line for line in verified.stderr.splitlines() if UNIT.name in line]
    assert about_it == [], verified.stderr


# A private /run, a read-only /tmp (systemd's own units would empty it) and units from one folder alone: nothing of
# the machine's own is started, and nothing outside the test's folder is changed.
ENTER = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/w
mount --bind "$1" /run/w
for folder in /tmp /var/tmp; do
    mount --bind $folder $folder
    mount -o remount,bind,ro $folder
done
exec env container=unshare SYSTEMD_UNIT_PATH=/run/w/units SYSTEMD_GENERATOR_PATH=/run/none \
    /lib/systemd/systemd --system --unit=test.target --log-target=console --show-status=no
"""


def started_events(folder: Path) -> int:
    """How often the monitor has begun."""
    path = folder / "events.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return sum(json.loads(line)["event"] == "started" for line in lines)


def refusals(folder: Path) -> int:
    """How often the configuration was refused."""
    return (folder / "stderr").read_text().count("error: ")


def unit_lines(*keys: str) -> str:
    """The lines of the unit that is shipped which set `keys`."""
    lines = [line for line in UNIT.read_text().splitlines() if line.partition("=")[0] in keys]
    assert len(lines) == len(keys)
    return "\n".join(lines)


def wait_for(condition: Callable[[], Any], seconds: float) -> Any:
    """What `condition` returns as soon as that is true; fails after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"{condition} did not come true within {seconds} s")


def monitor_pid(marker: str) -> int | None:
    """The process id, seen from here, of the program that was started with `marker` in its command line."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (folder / "cmdline").read_bytes():
                return int(folder.name)
        except OSError:
            continue
    return None


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/lib/systemd/systemd").exists() or shutil.which("unshare") is None,
    reason="needs root, unshare and systemd",
)
def test_a_real_systemd_restarts_a_monitor_that_hangs(tiny_model: Any, tmp_path: Path) -> None:
    """systemd takes the monitor for ready, and ends and restarts it once it no longer turns.

    So it does after a kill, but not where the configuration cannot work (exit code 78). As in the unit that is shipped.
    """
    tiny_model(threshold=10.0)
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 120 * 16000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", noise, 16000)
    config = tmp_path / f"monitor-{os.getpid()}.toml"
    config.write_text(
        '[model]\npath = "model.onnx"\n[[source]]\nname = "m"\nkind = "file"\npath = "a.wav"\npace = "real-time"\n'
        '[events]\npath = "events.jsonl"\n'
    )
    marker = f"/run/w/{config.name}"
    program = tmp_path / "monitor"
    program.write_text(
        f"#!/bin/sh\nexport PYTHONPATH='{os.pathsep.join(sys.path)}'\n"
        f'exec {sys.executable} -c "from dasvdd_runtime.cli import main; main()" run {marker}\n'
    )
    program.chmod(0o755)
    (tmp_path / "units").mkdir()
    (tmp_path / "units" / "test.target").write_text("[Unit]\nDefaultDependencies=no\nWants=m.service after.service\n")
    (tmp_path / "units" / "after.service").write_text(
        "[Unit]\nDefaultDependencies=no\nAfter=m.service\n"
        "[Service]\nType=oneshot\nExecStart=/usr/bin/touch /run/w/ready\n"
    )
    (tmp_path / "units" / "m.service").write_text(
        "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/run/w/monitor\nStandardError=append:/run/w/stderr\n"
        f"WatchdogSec=2\nTimeoutAbortSec=1\nRestartSec=0.1\n{unit_lines('Type', 'Restart', 'RestartPreventExitStatus')}"
    )
    namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--cgroup", "--mount-proc"]
    with (tmp_path / "log").open("wb") as log:
        system = subprocess.Popen(
            ["unshare", "--kill-child", *namespaces, "sh", "-c", ENTER, "enter", str(tmp_path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        try:
            wait_for((tmp_path / "ready").exists, 30)
        except AssertionError:
            if not (tmp_path / "events.jsonl").exists():
                pytest.skip(f"systemd does not run in a namespace here: {(tmp_path / 'log').read_text()[-300:]}")
            raise
        time.sleep(3.5)  # longer than the watchdog's time: it must have been fed
        assert started_events(tmp_path) == 1
        os.kill(wait_for(lambda: monitor_pid(marker), 5), signal.SIGSTOP)
        wait_for(lambda: started_events(tmp_path) == 2, 30)
        os.kill(wait_for(lambda: monitor_pid(marker), 5), signal.SIGKILL)
        wait_for(lambda: started_events(tmp_path) == 3, 30)
        config.write_text("[nonsense]\n")
        os.kill(wait_for(lambda: monitor_pid(marker), 5), signal.SIGKILL)
        wait_for(lambda: refusals(tmp_path), 30)
        time.sleep(2)  # twenty times RestartSec
        assert refusals(tmp_path) == 1 and monitor_pid(marker) is None
    finally:
        system.kill()
        system.wait(10)
