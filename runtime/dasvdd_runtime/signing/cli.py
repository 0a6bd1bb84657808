"""`dasvdd-sign`: make keys, sign model files, verify them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from .. import __version__
from ..cli.common import InputPath, examples, reports_errors
from ..extras import require

PATH = click.Path(path_type=Path)
PUBLIC_SUFFIX = ".pub.pem"
LONGEST_DAYS = 36500

P = ParamSpec("P")
R = TypeVar("R")


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "dasvdd-sign keygen release.pem",
        "dasvdd-sign sign model.onnx --key release.pem",
        "dasvdd-sign verify model.onnx --trusted release.pub.pem",
    ),
)
@click.version_option(__version__, prog_name="dasvdd-sign")
def main() -> None:
    """Sign model files, so that monitors load only those that you made."""


def passphrase_options(command: Callable[P, R]) -> Callable[P, R]:
    """Where a passphrase is read from: never the command line, which other users of the machine see."""
    file = click.option("--passphrase-file", type=InputPath(), help="File with the passphrase of the private key.")
    env = click.option("--passphrase-env", default="", metavar="NAME", help="Environment variable with it.")
    return file(env(command))


@main.command(short_help="Make a key pair.")
@click.argument("key", type=PATH)
@passphrase_options
@reports_errors
def keygen(key: Path, passphrase_file: Path | None, passphrase_env: str) -> None:
    """Make a key pair: the private key in KEY (mode 0600), the public one beside it in NAME.pub.pem.

    The private key signs, and belongs on no device. The public key goes to the monitors: [model] trusted_keys.
    """
    _require()
    from .ed25519 import make_key_pair

    public = key.with_name(key.name.removesuffix(".pem") + PUBLIC_SUFFIX)
    made = make_key_pair(key, public, _passphrase(passphrase_file, passphrase_env))
    click.echo(f"wrote {key} (private) and {public} (for the monitors), key {made}")


@main.command(short_help="Sign a model file: MODEL.sig beside it.")
@click.argument("model", type=InputPath())
@click.option("--key", type=InputPath(), required=True, help="The private key.")
@click.option(
    "--counter",
    type=click.IntRange(min=0, max=2**53 - 1),
    help="Version of the release; must grow. Default: the seconds since 1970.",
)
@click.option(
    "--valid-days",
    type=click.FloatRange(min=0, max=LONGEST_DAYS, min_open=True),
    help="No monitor loads it after this many days. Default: it never expires.",
)
@passphrase_options
@reports_errors
def sign(
    model: Path,
    key: Path,
    counter: int | None,
    valid_days: float | None,
    passphrase_file: Path | None,
    passphrase_env: str,
) -> None:
    """Sign MODEL, once its golden windows repeat here; the signature is written beside it, in MODEL.sig."""
    _require()
    from .ed25519 import load_private_key
    from .sign import sign_model

    private = load_private_key(key, _passphrase(passphrase_file, passphrase_env))
    signed = sign_model(model, private, now=datetime.now(UTC), counter=counter, valid_days=valid_days)
    click.echo(f"signed {model} ({signed.model_name}) {signed.in_words}")


@main.command(short_help="Say whether a trusted key has signed a file.")
@click.argument("model", type=InputPath())
@click.option(
    "--trusted", type=InputPath(), multiple=True, required=True, help="A public key; may be given several times."
)
@reports_errors
def verify(model: Path, trusted: tuple[Path, ...]) -> None:
    """Say whether a trusted key has signed MODEL as it is, and has not expired. Exit code 65 if not."""
    _require()
    from .ran_before import RanBefore
    from .signed_model import read_signed_model

    _, signed = read_signed_model(model, list(trusted), name="model", before=RanBefore())
    click.echo(f"ok: {model} ({signed.model_name}) is signed {signed.in_words}")


def _require() -> None:
    require("dasvdd-sign", "sign", ("cryptography",))


def _passphrase(file: Path | None, env: str) -> str | None:
    from ..configuration.secret import Secret

    if file is not None and env:
        raise click.UsageError("the passphrase is in --passphrase-file or in --passphrase-env: give one of them")
    return Secret(label="--passphrase", file=file, env=env, joint="-").read()
