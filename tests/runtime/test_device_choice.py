"""Choosing a microphone by its name and by its USB port."""

from __future__ import annotations

from pathlib import Path

import pytest
from dasvdd_runtime.sources.base import SourceLost
from dasvdd_runtime.sources.microphone import InputDevice, choose_device
from dasvdd_runtime.sources.usb_ports import port_of, usb_ports

DEVICES = [
    InputDevice(0, "USB Audio: Device A (hw:1,0)", 44100.0, 1, False),
    InputDevice(1, "USB Audio: Device B (hw:2,0)", 48000.0, 2, False),
    InputDevice(2, "default", 44100.0, 32, True),
]


@pytest.mark.parametrize(("wanted", "index"), [("Device A", 0), ("device b", 1), ("hw:2", 1), ("", 2), ("default", 2)])
def test_a_microphone_is_chosen_by_part_of_its_name(wanted: str, index: int) -> None:
    """Any part of the name in any case will do if only one device has it; nothing means the default."""
    assert choose_device(DEVICES, wanted).index == index


@pytest.mark.parametrize(("wanted", "says"), [("USB", "2 input devices.*Device A.*Device B"), ("pump", "'default'")])
def test_ambiguous_and_missing_names_list_what_there_is(wanted: str, says: str) -> None:
    """The error names the candidates."""
    with pytest.raises(SourceLost, match=says):
        choose_device(DEVICES, wanted)


def test_an_equal_name_beats_a_longer_one() -> None:
    """'mic' is not ambiguous beside 'mic 2'."""
    devices = [InputDevice(0, "mic 2", 1.0, 1, False), InputDevice(1, "mic", 1.0, 1, False)]
    assert choose_device(devices, "mic").index == 1


PORTS = [
    InputDevice(0, "USB PnP (hw:1,0)", 44100.0, 1, True, "1-1.2"),
    InputDevice(1, "USB PnP (hw:2,0)", 44100.0, 1, False, "1-1.3"),
    InputDevice(2, "Card (hw:3,0)", 44100.0, 1, False, "2-1"),
    InputDevice(3, "Card (hw:3,1)", 44100.0, 1, False, "2-1"),
]


@pytest.mark.parametrize(("wanted", "port", "index"), [("", "1-1.3", 1), ("usb", "1-1.2", 0), ("3,1", "2-1", 3)])
def test_microphones_of_one_name_are_told_apart_by_their_ports(wanted: str, port: str, index: int) -> None:
    """The port decides; a part of a name, where one port has several inputs."""
    assert choose_device(PORTS, wanted, port).index == index


@pytest.mark.parametrize(("port", "says"), [("1-9", "USB port 1-9.*1-1.2, 1-1.3, 2-1"), ("2-1", "2 input devices")])
def test_an_empty_or_ambiguous_port_lists_what_there_is(port: str, says: str) -> None:
    """The error names the ports with a microphone, or the inputs in the port."""
    with pytest.raises(SourceLost, match=says):
        choose_device(PORTS, "", port)


def test_ports_are_read_as_linux_shows_them(tmp_path: Path) -> None:
    """A card on a hub, one on a root port, and one that is not on USB."""
    pci = tmp_path / "devices/pci0000:00/0000:00:14.0"
    places = {1: pci / "usb1/1-1/1-1.2/1-1.2:1.0", 2: pci / "usb2/2-4/2-4:1.1", 0: pci}
    (tmp_path / "class/card7x").mkdir(parents=True)
    for card, place in places.items():
        place.mkdir(parents=True, exist_ok=True)
        (place / f"sound/card{card}").mkdir(parents=True)
        (place / f"sound/card{card}/device").symlink_to(place)
        (tmp_path / f"class/card{card}").symlink_to(place / f"sound/card{card}")
    ports = usb_ports(tmp_path / "class")
    assert ports == {1: "1-1.2", 2: "2-4"}
    assert [port_of(name, ports) for name in ("X: - (hw:2,0)", "Y (hw:0,0)", "pulse")] == ["2-4", "", ""]
