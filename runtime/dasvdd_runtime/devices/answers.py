"""What an installer answers about one installation, and what follows from it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import get_args

from ..evidence.tables import Mode
from ..sources.tables import KINDS
from .profile import DeviceProfile

LIVE_KINDS = tuple(kind for kind in KINDS if kind not in ("file", "stdin"))
"""The kinds of source that a device watches for good: all but recordings and what somebody pipes in."""
EVIDENCE_MODES: tuple[str, ...] = get_args(Mode)

NETWORK_KINDS = ("mqtt", "modbus", "opcua", "rtsp")
EXTRAS = {"serial": "serial", "mqtt": "mqtt", "modbus": "modbus", "opcua": "opcua"}
PACKAGES = {"microphone": ["libportaudio2"], "rtsp": ["ffmpeg"], "command": ["alsa-utils"]}
UNIT = "dasvdd-monitor.service"
RULES = "80-dasvdd.rules"
SECRET_FOLDERS = {"systemd": "/run/credentials/dasvdd-monitor.service", "container": "/etc/dasvdd"}
BROKER_PASSWORD, SOURCE_PASSWORD = "mqtt-password", "source-password"
"""The files' names, and those of the credentials that systemd makes of them."""
KINDS_WITH_A_PASSWORD = ("mqtt", "rtsp")
"""Those whose example has one."""
HTTP_TOKEN = "http-token"
PAGES: tuple[str, ...] = ("local", "network", "none")
"""Who can open the page and read the metrics: this device alone, whoever in its network has the token, or nobody."""
PORT = 9464


@dataclass(frozen=True)
class Answers:
    """What only the installer knows."""

    kind: str = "microphone"
    """One of LIVE_KINDS."""
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
    page: str = "local"
    """One of PAGES."""

    @property
    def short_name(self) -> str:
        """The source's name as ALSA and udev take it: letters, digits, underscores, at most 15."""
        return re.sub(r"[^A-Za-z0-9_]", "_", self.name)[:15]


def extras(profile: DeviceProfile, answers: Answers) -> list[str]:
    """The extras of the distribution that this installation needs."""
    needed = {
        **dict.fromkeys(profile.requirement_extras, True),
        EXTRAS.get(answers.kind, ""): answers.kind in EXTRAS,
        "mqtt": bool(answers.broker) or answers.kind == "mqtt",
        "metrics": answers.page != "none" or "metrics" in profile.extras,
    }
    return [extra for extra, wanted in needed.items() if wanted]


def dropins(profile: DeviceProfile, answers: Answers) -> list[str]:
    """The drop-ins that the unit needs, by the names of their files."""
    network = bool(answers.broker) or answers.kind in NETWORK_KINDS or answers.page == "network"
    needed = {
        "network.conf": network,
        "loopback.conf": answers.page == "local" and not network,
        "serial.conf": answers.kind == "serial",
        "iio.conf": answers.kind == "iio",
        "cuda.conf": profile.provider == "cuda",
    }
    return [name for name, wanted in needed.items() if wanted]


def secrets(answers: Answers) -> list[str]:
    """The files with a password or token that monitor.toml names, by their names."""
    needed = {
        BROKER_PASSWORD: bool(answers.broker_user),
        SOURCE_PASSWORD: answers.kind in KINDS_WITH_A_PASSWORD,
        HTTP_TOKEN: answers.page == "network",
    }
    return [name for name, wanted in needed.items() if wanted]
