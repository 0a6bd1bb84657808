"""The configurations that are shipped."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from dasvdd_runtime.configuration.config import load_config
from dasvdd_runtime.sources.tables import KINDS
from mosquitto_broker import Broker, make_certificates

FOLDER = Path(__file__).parents[2] / "firmware_configs"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.name)
def test_shipped_configurations_load_and_are_listed(path: Path) -> None:
    """Every shipped configuration is valid, looks for its model beside itself, and is named in the folder's README."""
    config = load_config(path)
    assert config.models[0].path == FOLDER / "model.onnx"
    assert f"`{path.name}`" in (FOLDER / "README.md").read_text()


def test_there_is_one_for_each_kind_of_source() -> None:
    """Every kind of source has a configuration to start from, and a place in the table of keys."""
    assert {load_config(path).sources[0].kind for path in FOLDER.glob("*.toml")} == {*KINDS}
    keys = (FOLDER.parent / "docs" / "monitor.md").read_text()
    assert all(f'`"{kind}"`' in keys for kind in KINDS)


def test_the_example_of_a_broker_lets_users_do_what_they_are_for(
    tmp_path: Path, make_broker: Callable[..., Broker], require_program: Callable[[str], str]
) -> None:
    """A real mosquitto by the shipped files: strangers stay out, a viewer sees, only maintenance answers and mutes."""
    make_certificates(tmp_path, require_program("openssl"))
    passwords = tmp_path / "dasvdd.passwd"
    for flags, user in ((["-c"], "monitor"), ([], "viewer"), ([], "maintenance")):
        subprocess.run([require_program("mosquitto_passwd"), *flags, "-b", passwords, user, f"pass-{user}"], check=True)
    shutil.copy(FOLDER / "mosquitto" / "mosquitto.acl", tmp_path / "dasvdd.acl")
    example = re.sub(r"(?m)^#.*\n|^listener .*\n", "", (FOLDER / "mosquitto" / "mosquitto.conf").read_text())
    for path in ("/etc/mosquitto/certs/", "/etc/mosquitto/"):
        example = example.replace(path, f"{tmp_path}/")
    broker = make_broker(more=example)
    broker.start()
    server = ["-h", "127.0.0.1", "-p", str(broker.port), "--cafile", str(tmp_path / "ca.crt")]

    def run(program: str, user: str, *words: str, password: str = "") -> str:
        login = ["-u", user, "-P", password or f"pass-{user}"]
        command = [require_program(program), *server, *login, *words]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=30, check=False).stdout

    for user in ("viewer", "maintenance", "monitor"):
        for kind in ("mute", "now"):
            run("mosquitto_pub", user, "-q", "1", "-r", "-t", f"dasvdd/box/{user}/{kind}", "-m", kind)
    seen = ["dasvdd/box/maintenance/mute mute", "dasvdd/box/monitor/mute mute", "dasvdd/box/monitor/now now"]
    listen = ("-v", "-t", "dasvdd/#", "-C", "4", "-W", "1")
    for user in ("viewer", "maintenance", "monitor"):
        assert sorted(run("mosquitto_sub", user, *listen).splitlines()) == seen
    assert run("mosquitto_sub", "viewer", *listen, password="a guess") == ""
