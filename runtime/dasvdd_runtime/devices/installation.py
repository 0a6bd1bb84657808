"""Answers about one installation -> the files for the device, as text. Pure but for the templates that it reads."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from string import Template
from typing import Literal, get_args

from ..config import MonitorConfig
from ..evidence.tables import Mode
from ..strict_config import validate
from .profile import DeviceProfile, load_profile, profiles_folder, template

Kind = Literal["microphone", "serial", "mqtt", "modbus", "opcua", "iio", "csv_tail", "command", "rtsp"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""The kinds of source that a device watches for good."""
EVIDENCE_MODES: tuple[str, ...] = get_args(Mode)

NETWORK_KINDS = ("mqtt", "modbus", "opcua", "rtsp")
EXTRAS = {"serial": "serial", "mqtt": "mqtt", "modbus": "modbus", "opcua": "opcua"}
PACKAGES = {"microphone": ["libportaudio2"], "rtsp": ["ffmpeg"], "command": ["alsa-utils"]}
UNIT = "dasvdd-monitor.service"
RULES = "80-dasvdd.rules"
PASSWORD_FILES = {
    "systemd": "/run/credentials/dasvdd-monitor.service/mqtt-password",
    "container": "/etc/dasvdd/mqtt-password",
}


@dataclass(frozen=True)
class Answers:
    """What only the installer knows."""

    kind: Kind = "microphone"
    name: str = "machine"
    """Of the source."""
    microphone: str = ""
    """Part of the device's name; empty for the default input."""
    usb_port: str = ""
    """Of the microphone or the serial adapter, such as "1-1.2"; empty where it does not matter."""
    port: str = ""
    """The serial port; empty for the link that the udev rule makes."""
    model: str = "model.onnx"
    """The file's name."""
    broker: str = ""
    """Host of the MQTT broker for events; empty for none."""
    broker_user: str = ""
    broker_tls: bool = True
    evidence: str = "spectrogram"
    """What is kept of an alarm: one of EVIDENCE_MODES."""

    @property
    def short_name(self) -> str:
        """The source's name as ALSA and udev take it: letters, digits, underscores, at most 15."""
        return re.sub(r"[^A-Za-z0-9_]", "_", self.name)[:15]


def installation(device: str, profile: DeviceProfile, answers: Answers) -> dict[str, str]:
    """The files for the device, by their names. Raises ConfigError where the answers make no valid monitor.toml."""
    written = {"monitor.toml": _monitor_toml(device, profile, answers)}
    validate(MonitorConfig, tomllib.loads(written["monitor.toml"]), origin="monitor.toml of these answers")
    if profile.service == "container":
        written["Dockerfile"] = template(device, "Dockerfile")
    else:
        systemd = profiles_folder() / "systemd"
        for name in [UNIT, *dropins(profile, answers)]:
            written[name] = (systemd / name).read_text(encoding="utf-8")
        if answers.broker_user:
            written["network.conf"] = written["network.conf"].replace("# LoadCredential=", "LoadCredential=")
    if answers.usb_port:
        rules = Template(template(device, f"{answers.kind}.rules"))
        written[RULES] = rules.substitute(usb_port=answers.usb_port, short_name=answers.short_name)
    written["INSTALL.md"] = _instructions(device, profile, answers)
    return written


def extras(profile: DeviceProfile, answers: Answers) -> list[str]:
    """The extras of the distribution that this installation needs."""
    needed = [*profile.requirement_extras, EXTRAS.get(answers.kind, ""), "mqtt" if answers.broker else ""]
    return [extra for extra in dict.fromkeys(needed) if extra]


def dropins(profile: DeviceProfile, answers: Answers) -> list[str]:
    """The drop-ins that the unit needs, by the names of their files."""
    needed = {
        "network.conf": bool(answers.broker) or answers.kind in NETWORK_KINDS,
        "serial.conf": answers.kind == "serial",
        "iio.conf": answers.kind == "iio",
        "cuda.conf": profile.provider == "cuda",
    }
    return [name for name, wanted in needed.items() if wanted]


def _monitor_toml(device: str, profile: DeviceProfile, answers: Answers) -> str:
    tables = [f"[evidence]\nmode = {_text(answers.evidence)}\n"]
    if answers.broker:
        tables.append(_broker_tables(profile, answers))
    if "metrics" in profile.extras:
        tables.append('[http]\nlisten = "127.0.0.1:9464"\n')
    text = Template(template(device, "monitor.toml")).substitute(
        title=profile.title,
        model=_text(answers.model),
        provider=profile.provider,
        source=_source_table(answers),
        tables="".join(f"\n{table}" for table in tables),
    )
    return text.rstrip() + "\n"


def _source_table(answers: Answers) -> str:
    """The table `[[source]]`; of kinds that are not asked about, the example that is shipped, to be edited."""
    lines = ["[[source]]", f"name = {_text(answers.name)}", f'kind = "{answers.kind}"']
    if answers.kind == "microphone":
        if answers.microphone or not answers.usb_port:
            lines.append(f"device = {_text(answers.microphone)}")
        if answers.usb_port:
            lines.append(f"usb_port = {_text(answers.usb_port)}")
    elif answers.kind == "serial":
        port = answers.port or f"/dev/dasvdd-{answers.short_name}"
        lines += [f"port = {_text(port)}", "baud = 115200"]
    else:
        file = "mqtt_rows" if answers.kind == "mqtt" else answers.kind
        example = (profiles_folder() / f"{file}.toml").read_text(encoding="utf-8")
        _, _, rest = example.partition('name = "machine"\nkind = ')
        lines = [*lines[:2], "kind = " + rest.partition("[events]")[0].rstrip()]
    return "\n".join(lines) + "\n"


def _broker_tables(profile: DeviceProfile, answers: Answers) -> str:
    lines = ["[outbox]", 'folder = "/var/lib/dasvdd"', "", "[mqtt]", f"host = {_text(answers.broker)}"]
    lines.append(f"tls = {'true' if answers.broker_tls else 'false'}")
    if answers.broker_user:
        password_file = PASSWORD_FILES[profile.service]
        lines += [f"username = {_text(answers.broker_user)}", f"password_file = {_text(password_file)}"]
    return "\n".join(lines) + "\n"


def _instructions(device: str, profile: DeviceProfile, answers: Answers) -> str:
    packages = list(PACKAGES.get(answers.kind, []))
    if profile.service == "systemd":
        packages.insert(0, "python3-venv")
    needed = extras(profile, answers)
    wheelhouse = ["python scripts/wheelhouse.py", f"--device {device}"]
    if profile.provider != load_profile(device).provider:
        wheelhouse.append(f"--provider {profile.provider}")
    wheelhouse += [f"--extra {extra}" for extra in needed if extra not in profile.requirement_extras]
    if profile.onnxruntime_from:
        wheelhouse.append(f"--wheel {profile.onnxruntime.replace('-', '_')}-VERSION.whl")
    text = Template(template(device, "INSTALL.md")).substitute(
        profile.model_dump(),
        packages=" ".join(packages),
        requirement=f"dasvdd[{','.join(needed)}]",
        wheelhouse=" ".join([*wheelhouse, "--out wheels"]),
        onnxruntime_from=f"{profile.onnxruntime_from}\n\n" if profile.onnxruntime_from else "",
        model=answers.model,
        edit=_edit_step(answers),
        secret=_secret_step(profile, answers),
        udev=_udev_step(answers),
        dropins="".join(
            f"sudo install -D -m 644 {name} /etc/systemd/system/{UNIT}.d/{name}\n" for name in dropins(profile, answers)
        ),
        options=_container_options(answers),
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def _edit_step(answers: Answers) -> str:
    if answers.kind in ("microphone", "serial"):
        return ""
    return "**Edit `[[source]]` in monitor.toml first**: it is an example, `docs/monitor.md` has its keys.\n\n"


def _secret_step(profile: DeviceProfile, answers: Answers) -> str:
    if not answers.broker_user:
        return ""
    if profile.service == "container":
        return (
            "The broker's password stands on one line of `mqtt-password` here: `sudo chown 10001 mqtt-password; "
            "sudo chmod 400 mqtt-password`.\n\n"
        )
    return (
        "The broker's password, on one line, and readable by root alone:\n\n"
        "```sh\nsudo install -m 600 /dev/null /etc/dasvdd/mqtt-password\nsudoedit /etc/dasvdd/mqtt-password\n```\n\n"
        "systemd hands it to the service: before that runs, `check` says FAIL for mqtt, since it cannot read it.\n\n"
    )


def _udev_step(answers: Answers) -> str:
    if not answers.usb_port:
        return ""
    return (
        "## A name that stays\n\n"
        f"```sh\nsudo install -m 644 {RULES} /etc/udev/rules.d/{RULES}\nsudo udevadm control --reload\n```\n\n"
        f"Then take what is in USB port {answers.usb_port} out and plug it in again.\n\n"
    )


def _container_options(answers: Answers) -> str:
    options = [
        *("--read-only", "--tmpfs /tmp", "--cap-drop ALL", "--security-opt no-new-privileges"),
        *('-v "$PWD:/etc/dasvdd:ro"', "-v dasvdd:/var/lib/dasvdd"),
    ]
    if answers.kind in ("microphone", "command"):
        options.append('--device /dev/snd --group-add "$(getent group audio | cut -d: -f3)"')
    if answers.kind == "serial":
        port = answers.port or f"/dev/dasvdd-{answers.short_name}"
        options.append(f'--device {port} --group-add "$(getent group dialout | cut -d: -f3)"')
    return " ".join(options)


def _text(value: str) -> str:
    """`value` as a TOML string."""
    return json.dumps(value, ensure_ascii=False)
