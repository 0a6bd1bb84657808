"""The profiles of devices, and `dasvdd-monitor init`, which makes an installation of them."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from dasvdd_runtime.cli import main
from dasvdd_runtime.configuration.config import load_config
from dasvdd_runtime.devices.answers import EVIDENCE_MODES, LIVE_KINDS, PAGES, UNIT
from dasvdd_runtime.devices.profile import load_profile, profile_names, profiles_folder
from dasvdd_runtime.errors import EXIT_CONFIG, EXIT_OK, EXIT_USAGE

ROOT = Path(__file__).parents[2]
DEVICES = ["container", "jetson-orin", "raspberry-pi-4", "raspberry-pi-5", "x86-industrial-pc"]
RULE = re.compile(r'[A-Z]+(\{[\w/]+\})?(==|!=|\+=|=)"[^"]*"(, [A-Z]+(\{[\w/]+\})?(==|!=|\+=|=)"[^"]*")*')


def init(*words: str | Path, typed: str = "") -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["init", *map(str, words)], input=typed)


def written(out: Path, *words: str | Path) -> set[str]:
    """The names of the files that the command, asking nothing, writes into `out`."""
    result = init(*words, "--yes", "--out", out)
    assert result.exit_code == EXIT_OK, result.output
    return {path.name for path in out.iterdir()}


def verified(unit: Path, systemd_analyze: str) -> list[str]:
    """What `systemd-analyze verify` says of `unit` and its drop-ins, once the program is there."""
    unit.write_text(unit.read_text().replace("/opt/dasvdd/bin/dasvdd-monitor", sys.executable))
    command = [systemd_analyze, "verify", "--man=no", "--recursive-errors=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return [line for line in done.stderr.splitlines() if unit.name in line or ".conf" in line]


def test_every_device_has_a_profile_that_is_listed() -> None:
    """The folder, `--list`, the README of the configurations and docs/install.md name the same devices."""
    assert profile_names() == DEVICES
    listed = init("--list").output.splitlines()[1:]
    assert [line.split()[0] for line in listed] == DEVICES
    for text in ((profiles_folder() / "README.md").read_text(), (ROOT / "docs" / "install.md").read_text()):
        assert all(f"{name}`" in text for name in DEVICES)


@pytest.mark.parametrize(
    ("device", "kind"), [pair for pair in product(DEVICES, LIVE_KINDS) if pair != ("container", "iio")]
)
def test_what_is_written_loads(device: str, kind: str, tmp_path: Path, tiny_model: Any) -> None:
    """For each device and source: a configuration that loads with its model, on the provider of the profile."""
    names = written(tmp_path, "--device", device, "--source", kind, "--broker", "broker.example", "--broker-user", "m")
    assert {"monitor.toml", "INSTALL.md"} <= names
    config = load_config(tmp_path / "monitor.toml")
    tiny_model()
    assert config.models[0].path == tmp_path / "model.onnx"
    assert config.models[0].path.exists()
    assert config.models[0].provider == load_profile(device).provider
    assert (config.sources[0].kind, config.sources[0].name) == (kind, "machine")
    assert config.mqtt is not None
    assert config.mqtt.uses_tls


@pytest.mark.parametrize("device", DEVICES)
def test_instructions_name_every_file_and_leave_nothing_open(device: str, tmp_path: Path) -> None:
    """INSTALL.md installs each file that was written, and no placeholder is left but those of a shell."""
    names = written(tmp_path, "--device", device, "--source", "serial", "--usb-port", "1-1.2", "--broker", "b")
    text = (tmp_path / "INSTALL.md").read_text()
    assert all(name in text for name in names - {"INSTALL.md", "Dockerfile"})
    assert set(re.findall(r"\$[\w{]+", text)) <= {"$PWD"}


@pytest.mark.parametrize("device", [name for name in DEVICES if name != "container"])
def test_the_unit_with_its_drop_ins_has_no_faults(
    device: str, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    """`systemd-analyze verify` finds nothing, for each drop-in that a source or device needs; and it can find."""
    for kind in ("microphone", "serial", "iio", "mqtt"):
        out = tmp_path / kind
        names = written(out, "--device", device, "--source", kind)
        (out / f"{UNIT}.d").mkdir()
        for name in names:
            if name.endswith(".conf"):
                (out / name).rename(out / f"{UNIT}.d" / name)
        assert verified(out / UNIT, require_program("systemd-analyze")) == []
    (out / f"{UNIT}.d" / "broken.conf").write_text("[Service]\nRestrictAddressFamilies=AF_NONSENSE\n")
    assert verified(out / UNIT, require_program("systemd-analyze")) != []


@pytest.mark.parametrize("kind", ["microphone", "serial"])
def test_the_udev_rule_is_about_the_port(kind: str, tmp_path: Path) -> None:
    """Its lines have the form of rules (`udevadm verify` agrees, where it is there) and match the port."""
    out = tmp_path / "out"
    names = written(out, "--device", "raspberry-pi-5", "--source", kind, "--usb-port", "1-1.2", "--name", "Pump 7/b")
    assert "80-dasvdd.rules" in names
    rules = out / "80-dasvdd.rules"
    lines = [line for line in rules.read_text().splitlines() if not line.startswith("#")]
    assert lines
    for line in lines:
        assert RULE.fullmatch(line)
        assert '"1-1.2"' in line
    assert "Pump_7_b" in lines[-1]
    udevadm = shutil.which("udevadm")
    if udevadm is None:
        return
    knows = subprocess.run([udevadm, "verify", "--help"], capture_output=True, check=False)  # from systemd 254 on
    if knows.returncode == 0:
        subprocess.run([udevadm, "verify", str(rules)], check=True, timeout=60)


def test_a_serial_adapter_is_opened_by_the_name_that_its_rule_gives(tmp_path: Path) -> None:
    """The port of monitor.toml is the link of the udev rule."""
    written(tmp_path, "--device", "raspberry-pi-4", "--source", "serial", "--usb-port", "1-1.2")
    (source,) = tomllib.loads((tmp_path / "monitor.toml").read_text())["source"]
    assert source["port"] == "/dev/dasvdd-machine"
    assert 'SYMLINK+="dasvdd-machine"' in (tmp_path / "80-dasvdd.rules").read_text()


@pytest.mark.parametrize("mode", EVIDENCE_MODES)
def test_what_is_kept_of_an_alarm_is_chosen(mode: str, tmp_path: Path) -> None:
    """Each mode of `[evidence]`; without the option a spectrogram, which holds no speech."""
    written(tmp_path / "chosen", "--device", "raspberry-pi-5", "--evidence", mode)
    assert load_config(tmp_path / "chosen" / "monitor.toml").evidence.mode == mode
    written(tmp_path / "default", "--device", "raspberry-pi-5")
    assert load_config(tmp_path / "default" / "monitor.toml").evidence.mode == "spectrogram"


@pytest.mark.parametrize("device", ["raspberry-pi-5", "container"])
@pytest.mark.parametrize("page", PAGES)
def test_who_opens_the_page_is_chosen(
    page: str, device: str, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    """Loopback by default; the network with a token alone, which is made before it is needed; a Prometheus for both."""
    if (page, device) == ("none", "container"):
        return  # refused: its health check asks the endpoint
    names = written(tmp_path, "--device", device, *(["--page", page] if page != "local" else []))
    config, text = load_config(tmp_path / "monitor.toml"), (tmp_path / "INSTALL.md").read_text()
    assert (config.http is None) == (page == "none")
    assert ("metrics" in text) == ("dasvdd.rules.yml" in names) == (page != "none")
    if device == "raspberry-pi-5":
        dropin = {"local": {"loopback.conf"}, "network": {"network.conf"}, "none": set()}[page]
        assert {name for name in names if name in ("loopback.conf", "network.conf")} == dropin
    if config.http is None:
        return
    assert config.http.listen == {"local": "127.0.0.1:9464", "network": "0.0.0.0:9464"}[page]
    if page == "network":
        assert config.http.token_file is not None and config.http.token_file.name == "http-token"
        assert text.index("> http-token\n" if device == "container" else "tee /etc/dasvdd/http-token") < text.index(
            "r check /etc"
        )
        assert device == "container" or "\nLoadCredential=http-token:" in (tmp_path / "network.conf").read_text()
        assert ("-p 9464:9464" in text) == (device == "container")
        (tmp_path / "http-token").write_text("secret")
    promtool = require_program("promtool")
    subprocess.run([promtool, "check", "config", "prometheus.yml"], cwd=tmp_path, check=True, timeout=60)
    assert ("\n  authorization:" in (tmp_path / "prometheus.yml").read_text()) == (page == "network")


def test_the_example_of_a_broker_is_beside_its_table(tmp_path: Path) -> None:
    """With --broker alone."""
    assert {"mosquitto.conf", "mosquitto.acl"} <= written(
        tmp_path / "with", "--device", "raspberry-pi-5", "--broker", "b"
    )
    assert not any(name.startswith("mosquitto") for name in written(tmp_path / "without", "--device", "raspberry-pi-5"))


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    """Where one of the files is there, none is written."""
    (tmp_path / "monitor.toml").write_text("mine")
    refused = init("--device", "raspberry-pi-5", "--yes", "--out", tmp_path)
    assert refused.exit_code == EXIT_USAGE
    assert "monitor.toml" in refused.output
    assert [path.name for path in tmp_path.iterdir()] == ["monitor.toml"]
    assert (tmp_path / "monitor.toml").read_text() == "mine"
    written(tmp_path, "--device", "raspberry-pi-5", "--force")
    assert load_config(tmp_path / "monitor.toml").sources


def test_what_a_person_answers_in_a_terminal_is_written(tmp_path: Path) -> None:
    """In a real terminal: each question once, an empty line takes the default."""
    program = "from dasvdd_runtime.cli import main; main()"
    command = [sys.executable, "-c", program, "init", "--device", "x86-industrial-pc", "--out", str(tmp_path)]
    keyboard, terminal = pty.openpty()
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    answers = [
        "serial",
        "press 3",
        "",
        "/dev/ttyS0",
        "runs/press/model.onnx",
        "audio",
        "network",
        "",
    ]
    os.write(keyboard, "".join(f"{answer}\n" for answer in answers).encode())
    assert process.wait(30) == EXIT_OK
    os.close(keyboard)
    config = load_config(tmp_path / "monitor.toml")
    source: Any = config.sources[0]
    assert (source.kind, source.name, source.port) == ("serial", "press 3", "/dev/ttyS0")
    assert config.models[0].path == tmp_path / "model.onnx"
    assert config.evidence.mode == "audio"
    assert config.http is not None and config.http.listen == "0.0.0.0:9464"
    assert config.mqtt is None


@pytest.mark.parametrize(
    ("words", "exit_code", "message"),
    [
        (["--device", "rasberry-pi-5"], EXIT_CONFIG, "Did you mean 'raspberry-pi-5'"),
        (["--yes"], EXIT_USAGE, "jetson-orin"),
        (["--device", "container", "--usb-port", "left one", "--yes"], EXIT_USAGE, "--usb-port"),
        (["--device", "container", "--source", "mqtt", "--usb-port", "1-1"], EXIT_USAGE, "--usb-port means nothing"),
        (["--device", "raspberry-pi-4", "--provider", "cuda", "--yes"], EXIT_USAGE, "has no CUDA"),
        (["--device", "container", "--source", "iio", "--yes"], EXIT_USAGE, "read-only"),
        (["--device", "raspberry-pi-4", "--source", "serial", "--usb-port", "left", "--yes"], EXIT_USAGE, "1-1.2"),
        (["--device", "raspberry-pi-4", "--source", "serial", "--port", "ttyUSB0", "--yes"], EXIT_USAGE, "/dev/"),
        (["--device", "raspberry-pi-4", "--name", " ", "--yes"], EXIT_USAGE, "needs a name"),
        (["--device", "raspberry-pi-4", "--model", "model.pt", "--yes"], EXIT_USAGE, ".onnx"),
        (["--device", "raspberry-pi-4", "--model", "a $(b).onnx", "--yes"], EXIT_USAGE, "letters"),
        (["--device", "container", "--page", "none", "--yes"], EXIT_USAGE, "health check"),
        (["--device", "raspberry-pi-4", "--broker", "mqtt://b", "--yes"], EXIT_USAGE, "without mqtt://"),
        (["--device", "raspberry-pi-4", "--broker", "b:1883", "--yes"], EXIT_USAGE, "port"),
        (["--device", "raspberry-pi-4", "--broker-user", "m", "--yes"], EXIT_USAGE, "without --broker"),
        (["--device", "raspberry-pi-4", "--no-broker-tls", "--yes"], EXIT_USAGE, "without --broker"),
        (["--device", "raspberry-pi-4"], EXIT_USAGE, "--yes"),
    ],
    ids=[
        "unknown device", "no device", "no port", "unused option", "no CUDA", "iio in a container", "no port of USB",
        "no serial port", "no name", "no exported model", "a name for the shell", "no probe",
        "a broker's URL", "a broker's port",
        "a user of no broker", "TLS with no broker", "nobody answers",
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(words: list[str], exit_code: int, message: str, tmp_path: Path) -> None:
    """With the key or option in the message, and nothing written."""
    refused = init(*words, "--out", tmp_path / "out")
    assert refused.exit_code == exit_code, refused.output
    assert message in refused.output
    assert not (tmp_path / "out").exists()


def test_a_wrong_answer_is_asked_for_again(tmp_path: Path) -> None:
    """With what was wrong; the right one counts, and TLS is asked for where there is a broker."""
    answers = [
        "microphne",
        "microphone",
        "press",
        "",
        "left",
        "1-1.2",
        "model.pt",
        "press.ort",
        "none",
        "everybody",
        "none",
        "mqtt://b",
        "b",
    ]
    done = init("--device", "raspberry-pi-5", "--out", tmp_path, typed="\n".join([*answers, "", "maybe", "n"]) + "\n")
    assert done.exit_code == EXIT_OK, done.output
    for said in (
        "'microphne' is not one of",
        "'left' is no USB port",
        "'model.pt' is no name",
        "audio holds what people say",
        "'everybody' is not one of",
        "'mqtt://b' is no host",
    ):
        assert said in done.output
    config = load_config(tmp_path / "monitor.toml")
    assert (config.sources[0].name, config.models[0].path.name) == ("press", "press.ort")
    assert config.mqtt is not None
    assert (config.mqtt.host, config.mqtt.tls, config.mqtt.username) == ("b", False, "")


def test_a_port_beside_a_usb_port_makes_the_rule_too(tmp_path: Path) -> None:
    """With both, the rule is written, and the port is the one that was given."""
    words = ("--source", "serial", "--port", "/dev/ttyUSB3", "--usb-port", "1-1")
    assert "80-dasvdd.rules" in written(tmp_path, "--device", "raspberry-pi-4", *words)
    (source,) = tomllib.loads((tmp_path / "monitor.toml").read_text())["source"]
    assert source["port"] == "/dev/ttyUSB3"


@pytest.mark.parametrize("kind", ["mqtt", "rtsp"])
def test_the_password_of_a_source_is_handed_over_by_systemd(kind: str, tmp_path: Path) -> None:
    """monitor.toml reads what the drop-in loads, from the file that INSTALL.md makes."""
    written(tmp_path, "--device", "raspberry-pi-5", "--source", kind, "--broker", "b", "--broker-user", "m")
    config = load_config(tmp_path / "monitor.toml")
    source: Any = config.sources[0]
    assert config.mqtt is not None
    dropin, text = (tmp_path / "network.conf").read_text(), (tmp_path / "INSTALL.md").read_text()
    loaded = dict(re.findall(r"(?m)^LoadCredential=([\w-]+):(.*)$", dropin))
    assert [Path(f"{table.password_file}").name for table in (config.mqtt, source)] == list(loaded)
    assert all(f"sudoedit {file}\n" in text for file in loaded.values())


def test_a_jetson_can_do_without_its_gpu(tmp_path: Path) -> None:
    """`--provider cpu`: another package, no drop-in for CUDA, and a wheelhouse that says so."""
    names = written(tmp_path, "--device", "jetson-orin", "--provider", "cpu")
    assert "cuda.conf" not in names
    assert load_config(tmp_path / "monitor.toml").models[0].provider == "cpu"
    text = (tmp_path / "INSTALL.md").read_text()
    assert "'dasvdd[cpu,metrics]'" in text
    assert "--provider cpu" in text


def test_the_image_runs_as_nobody_special() -> None:
    """The Dockerfile's last user is not root, and nothing is fetched but the base image and its packages."""
    lines = (profiles_folder() / "devices" / "container" / "Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users[-1].split(":")[0] not in ("root", "0")
    assert any("--no-index" in line for line in lines)
    assert not any(word in line for line in lines for word in ("curl", "wget", "http://deb", "ADD "))


@pytest.mark.parametrize(("device", "offered"), [("raspberry-pi-5", True), ("jetson-orin", False)])
def test_a_device_with_a_network_needs_no_wheelhouse(tmp_path: Path, device: str, offered: bool) -> None:
    """The project's wheel is installed by its file, never by a name of the index; not where PyPI lacks onnxruntime."""
    written(tmp_path, "--device", device)
    text = (tmp_path / "INSTALL.md").read_text()
    assert ('pip install "$(ls wheels/dasvdd-*.whl)[' in text) is offered
