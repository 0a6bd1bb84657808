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
PASSWORD_FOLDERS = {"systemd": "/run/credentials/dasvdd-monitor.service", "container": "/etc/dasvdd"}
BROKER_PASSWORD, SOURCE_PASSWORD = "mqtt-password", "source-password"
"""The files' names, and those of the credentials that systemd makes of them."""
KINDS_WITH_A_PASSWORD = ("mqtt", "rtsp")
"""Those whose example has one."""


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
        for credential in _passwords(answers):
            line = f"LoadCredential={credential}:"
            written["network.conf"] = written["network.conf"].replace(f"# {line}", line)
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
        source=_source_table(profile, answers),
        tables="".join(f"\n{table}" for table in tables),
    )
    return text.rstrip() + "\n"


def _passwords(answers: Answers) -> list[str]:
    """The files with a password that monitor.toml names, by their names."""
    needed = {BROKER_PASSWORD: bool(answers.broker_user), SOURCE_PASSWORD: answers.kind in KINDS_WITH_A_PASSWORD}
    return [name for name, wanted in needed.items() if wanted]


def _source_table(profile: DeviceProfile, answers: Answers) -> str:
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
        file_line = f'password_file = "{PASSWORD_FOLDERS[profile.service]}/{SOURCE_PASSWORD}"'
        rest = re.sub(r'password_file = "[^"]*"( +# .*)?', file_line, rest.partition("[events]")[0].rstrip())
        lines = [*lines[:2], f"kind = {rest}"]
    return "\n".join(lines) + "\n"


def _broker_tables(profile: DeviceProfile, answers: Answers) -> str:
    lines = ["[outbox]", 'folder = "/var/lib/dasvdd"', "", "[mqtt]", f"host = {_text(answers.broker)}"]
    lines.append(f"tls = {'true' if answers.broker_tls else 'false'}")
    if answers.broker_user:
        password_file = f"{PASSWORD_FOLDERS[profile.service]}/{BROKER_PASSWORD}"
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
        edit=_edit_step(profile, answers),
        secret="".join(_secret_step(profile, name) for name in _passwords(answers)),
        udev=_udev_step(answers),
        dropins="".join(
            f"sudo install -D -m 644 {name} /etc/systemd/system/{UNIT}.d/{name}\n" for name in dropins(profile, answers)
        ),
        options=_container_options(answers),
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def _edit_step(profile: DeviceProfile, answers: Answers) -> str:
    if answers.kind in ("microphone", "serial"):
        return ""
    step = "**Edit `[[source]]` in monitor.toml first**: it is an example, `docs/monitor.md` has its keys."
    if answers.kind in KINDS_WITH_A_PASSWORD:
        also = "" if profile.service == "container" else f", and `LoadCredential={SOURCE_PASSWORD}` from network.conf,"
        step += f" Remove `username` and `password_file`{also} where it has no user."
    return f"{step}\n\n"


def _secret_step(profile: DeviceProfile, name: str) -> str:
    whose = {BROKER_PASSWORD: "The broker's password", SOURCE_PASSWORD: "The source's password"}[name]
    if profile.service == "container":
        return f"{whose} stands on one line of `{name}` here: `sudo chown 10001 {name}; sudo chmod 400 {name}`.\n\n"
    return (
        f"{whose}, on one line, and readable by root alone:\n\n"
        f"```sh\nsudo install -m 600 /dev/null /etc/dasvdd/{name}\nsudoedit /etc/dasvdd/{name}\n```\n\n"
        "systemd hands it to the service: before that runs, `check` says FAIL, since it cannot read it.\n\n"
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
    if answers.kind == "csv_tail":
        options.append("-v /var/log/logger:/var/log/logger:ro")  # the folder of the example
    if answers.kind == "serial":
        port = answers.port or f"/dev/dasvdd-{answers.short_name}"
        options.append(f'--device {port} --group-add "$(getent group dialout | cut -d: -f3)"')
    return " ".join(options)


def _text(value: str) -> str:
    """`value` as a TOML string."""
    return json.dumps(value, ensure_ascii=False)
