"""Which sound card sits in which USB port, as Linux tells it in sysfs."""

from __future__ import annotations

import re
from pathlib import Path

SOUND_CLASS = Path("/sys/class/sound")
_INTERFACE = re.compile(r"(\d+-\d+(?:\.\d+)*):\d+\.\d+")
_CARD_OF_NAME = re.compile(r"\(hw:(\d+),")


def usb_ports(sound_class: Path = SOUND_CLASS) -> dict[int, str]:
    """Card number -> USB port, such as '1-1.2' (bus 1, port 1, port 2 of the hub there); cards elsewhere are left out.

    Card numbers change from boot to boot, ports do not. Empty where there is no sysfs.
    """
    ports = {}
    for card in sound_class.glob("card[0-9]*"):
        if not card.name[4:].isdigit():
            continue
        # .../usb1/1-1/1-1.2/1-1.2:1.0/sound/card1: the folder with the colon is the interface of the device.
        for folder in reversed((card / "device").resolve().parts):
            if interface := _INTERFACE.fullmatch(folder):
                ports[int(card.name[4:])] = interface[1]
                break
    return ports


def port_of(device_name: str, ports: dict[int, str]) -> str:
    """The USB port of PortAudio's ALSA device, such as 'USB Audio: - (hw:1,0)'; empty for one that is in none."""
    card = _CARD_OF_NAME.search(device_name)
    return "" if card is None else ports.get(int(card[1]), "")
