"""`dasvdd-monitor devices`: what can be listened to."""

from __future__ import annotations

import click

from ..errors import Unavailable
from ..sources.microphone import list_input_devices
from .common import examples, reports_errors


@click.command(epilog=examples("dasvdd-monitor devices"))
@reports_errors
def devices() -> None:
    """List the input devices with their default rate and channels.

    Put the name, or a part of it that no other has, into monitor.toml as `device`. Names stay when card numbers
    change at a reboot. Two microphones of one name are told apart by their USB ports (`usb_port`).
    """
    found = list_input_devices()
    if not found:
        raise Unavailable(
            "there is no input device. Plug one in; on a server, `arecord -l` shows what the kernel sees."
        )
    width = max(len(device.name) for device in found)
    click.echo(f"  {'name':{width}}  channels  default rate  USB port")
    for device in found:
        mark = "*" if device.is_default else " "
        rate = f"{device.default_rate_hz:9.0f} Hz"
        click.echo(f"{mark} {device.name:{width}}  {device.channels:8d}  {rate}  {device.usb_port}".rstrip())
    if any(device.is_default for device in found):
        click.echo('* is taken where device = ""')
