"""`dasvdd-monitor init`: the files with which an installer sets a device up."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..configuration.hosts import require_host
from ..devices.answers import EVIDENCE_MODES, LIVE_KINDS, PAGES, Answers
from ..devices.installation import installation
from ..devices.profile import DeviceProfile, load_profile, profile_names
from ..errors import Unavailable
from ..files import write_atomically
from .common import examples, reports_errors

SERIAL_LINKS = Path("/dev/serial/by-id")

Check = Callable[[str], str]
"""What was answered -> what is used; raises ValueError, which says what is wrong with it."""


@click.command(
    epilog=examples(
        "dasvdd-monitor init --list",
        "dasvdd-monitor init --device raspberry-pi-5 --out pump7/",
        "dasvdd-monitor init --device x86-industrial-pc --usb-port 1-2 --broker broker.example --yes --out pump7/",
    )
)
@click.option("--device", metavar="NAME", help="Which profile; --list shows them.")
@click.option("--list", "listing", is_flag=True, help="List the profiles and end.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=".", help="Folder for the files.")
@click.option("--source", "kind", type=click.Choice(LIVE_KINDS), help="What is listened to; default: microphone.")
@click.option("--name", help="What the events call the machine; default: machine.")
@click.option("--microphone", help="Part of its name; default: the system's default input.")
@click.option("--usb-port", help="Of the microphone or serial adapter, such as 1-1.2; makes a udev rule.")
@click.option("--port", help="The serial port; default: that which the udev rule names, or the first one here.")
@click.option("--model", help="The model's file; default: model.onnx.")
@click.option("--provider", type=click.Choice(["cpu", "cuda"]), help="Where the model runs; default: the profile's.")
@click.option("--evidence", type=click.Choice(EVIDENCE_MODES), help="What is kept of an alarm; default: spectrogram.")
@click.option(
    "--page", type=click.Choice(PAGES), help="Who may open page and metrics: this device (the default), its network."
)
@click.option("--broker", metavar="HOST", help="The MQTT broker for events; default: none.")
@click.option("--broker-user", metavar="NAME", help="The user there; its password goes into a file. Default: none.")
@click.option("--broker-tls/--no-broker-tls", default=None, help="Encrypt; default: yes.")
@click.option("--yes", is_flag=True, help="Ask nothing: take the default of what is not given.")
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
@reports_errors
def init(
    device: str | None, listing: bool, out: Path, provider: str | None, yes: bool, force: bool, **given: Any
) -> None:
    """Write monitor.toml, the systemd unit, a udev rule and INSTALL.md with the commands for one kind of device.

    What is not given is asked for. It may run on the device or on the machine where the installation is prepared.
    """
    if listing:
        _list_profiles()
        return
    if device is None:
        raise click.UsageError(f"say which device with --device NAME: {', '.join(profile_names())}")
    profile = _with_provider(device, load_profile(device), provider)
    try:
        answers = _answers(profile, given, ask=not yes)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise click.UsageError(
            "standard input ended before every question was answered: run it in a terminal, give the options, or take "
            "the default of what is not given with --yes"
        ) from None
    written = installation(device, profile, answers)
    there = [name for name in written if (out / name).exists()]
    if there and not force:
        raise click.UsageError(f"{out} has {', '.join(there)} already: choose another --out, or overwrite with --force")
    for name, text in written.items():
        write_atomically(out / name, text.encode())
        click.echo(out / name)
    click.echo(f"Next: read {out / 'INSTALL.md'}", err=True)


def _list_profiles() -> None:
    rows = [("name", "architecture", "provider", "run on hardware", "what it is")]
    for name in profile_names():
        profile = load_profile(name)
        tried = "yes" if profile.run_on_hardware else "no"
        rows.append((name, profile.architecture, profile.provider, tried, f"{profile.title}; {profile.system}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        click.echo("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]))


def _with_provider(device: str, profile: DeviceProfile, provider: str | None) -> DeviceProfile:
    if provider in (None, profile.provider):
        return profile
    if provider == "cuda":
        raise click.UsageError(f"--provider cuda: the profile {device} has no CUDA. See `dasvdd-monitor init --list`.")
    return profile.on_the_cpu()


def _answers(profile: DeviceProfile, given: dict[str, Any], *, ask: bool) -> Answers:
    """The options that were given, and for the others the answers of a person, or their defaults.

    An answer that cannot be is asked for again; an option that cannot be raises UsageError.
    """

    def answer(key: str, question: str, default: str = "", *, check: Check = str, choices: tuple[str, ...] = ()) -> str:
        def checked(text: str) -> str:
            try:
                return check(text.strip())
            except ValueError as error:
                raise click.UsageError(f"--{key.replace('_', '-')}: {error}") from error

        if given[key] is not None or not ask:
            return checked(str(default if given[key] is None else given[key]))
        kind, asked = (click.Choice(choices), None) if choices else (None, checked)
        shown = bool(default)
        return str(click.prompt(question, default=default, type=kind, value_proc=asked, show_default=shown, err=True))

    kind = answer("kind", "Source", "microphone", choices=LIVE_KINDS)
    _refuse_unused(kind, profile, given)
    name = answer("name", "Name of the machine", "machine", check=_named)
    microphone = usb_port = port = ""
    if kind == "microphone":
        if ask and given["microphone"] is None and given["usb_port"] is None:
            _show_microphones()
        microphone = answer("microphone", "Part of the microphone's name (empty: the default input)")
        usb_port = answer("usb_port", "USB port that it is in (empty: any)", check=_usb_port)
    elif kind == "serial":
        if given["usb_port"] is not None or given["port"] is None:
            usb_port = answer("usb_port", "USB port of the adapter (empty: any)", check=_usb_port)
        if given["port"] is not None or not usb_port:
            port = answer("port", "Serial port", _first_serial_port(), check=_device_file)
    model = answer("model", "Model file", "model.onnx", check=_model_name)
    question = "Kept of an alarm (audio holds what people say nearby, a spectrogram does not)"
    evidence = answer("evidence", question, "spectrogram", choices=EVIDENCE_MODES)
    pages = PAGES if profile.service == "systemd" else ("local", "network")
    page = answer("page", "Page open to this device or, with a token, its network", "local", choices=pages)
    broker = answer(
        "broker", "MQTT broker for events (host; empty: none)", check=lambda host: host and require_host(host)
    )
    user, tls = "", given["broker_tls"]
    if broker:
        user = answer("broker_user", "User at the broker (empty: none)")
        if tls is None:
            tls = not ask or click.confirm("Encrypt the connection to it (TLS)?", default=True, err=True)
    elif given["broker_user"] or tls is not None:
        raise click.UsageError(
            "--broker-user and --broker-tls mean nothing without --broker: name it, or leave them out"
        )
    return Answers(kind, name, microphone, usb_port, port, model, broker, user, tls is not False, evidence, page)


def _named(text: str) -> str:
    if not text:
        raise ValueError("the machine needs a name, by which events tell it from others")
    return text


def _usb_port(text: str) -> str:
    if text and not re.fullmatch(r"\d+-\d+(\.\d+)*", text):
        raise ValueError(f"'{text}' is no USB port: it looks like 1-1.2, as `dasvdd-monitor devices` prints it")
    return text


def _device_file(text: str) -> str:
    if not text.startswith("/dev/"):
        raise ValueError(f"'{text}' is no serial port: it begins with /dev/, best /dev/serial/by-id/...")
    return text


def _model_name(text: str) -> str:
    """The file's name alone: it lies beside INSTALL.md, in whose commands it stands unquoted."""
    name = Path(text).name
    if not re.fullmatch(r"\w[\w.+-]*\.(onnx|ort)", name):
        raise ValueError(
            f"'{name}' is no name of an exported model: letters, digits and . _ + - alone, then .onnx or .ort"
        )
    return name


def _refuse_unused(kind: str, profile: DeviceProfile, given: dict[str, Any]) -> None:
    """Raise UsageError for a source that the device cannot have, and an option that means nothing with it."""
    if kind == "iio" and profile.service == "container":
        raise click.UsageError(
            "--source iio: an accelerometer of Industrial I/O is set below /sys, which a container sees read-only. "
            "Install on the host itself, with the profile of its kind: dasvdd-monitor init --list"
        )
    if given["page"] == "none" and profile.service == "container":
        raise click.UsageError(
            "--page none: the container's health check asks it. Take local, which listens inside alone"
        )
    used_by = {"microphone": ("microphone",), "usb_port": ("microphone", "serial"), "port": ("serial",)}
    for key, kinds in used_by.items():
        if given[key] is not None and kind not in kinds:
            raise click.UsageError(f"--{key.replace('_', '-')} means nothing with --source {kind}: leave it out")


def _show_microphones() -> None:
    """List what is plugged in here, where PortAudio can tell."""
    try:
        from ..sources.microphone import list_input_devices

        found = list_input_devices()
    except Unavailable:
        return
    for device in found:
        click.echo(f"  {device.name}  {device.usb_port}".rstrip(), err=True)


def _first_serial_port() -> str:
    return next(map(str, sorted(SERIAL_LINKS.glob("*"))), "/dev/ttyUSB0")
