"""Ed25519 keys, through the cryptography package: the extra `dasvdd[sign]`, which this module alone imports."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..errors import ConfigError, DasvddError, DataError, InputMissing

MAX_KEY_BYTES = 64 * 1024


def make_key_pair(private_path: Path, public_path: Path, passphrase: str | None) -> str:
    """Write a new pair: the private key with mode 0600, encrypted if there is a passphrase. Returns its key id.

    Raises DasvddError where one of the files is there already, or cannot be written.
    """
    for path in (private_path, public_path):
        if path.exists():
            raise DasvddError(f"{path} is there already, and a key that is overwritten is lost. Choose another name.")
    key = Ed25519PrivateKey.generate()
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    _write_new(private_path, private, mode=0o600)
    _write_new(public_path, public, mode=0o644)
    return key_id(key.public_key())


def load_private_key(path: Path, passphrase: str | None) -> Ed25519PrivateKey:
    """The private key in `path`.

    Raises InputMissing where there is none, and DataError where others may read it, where the passphrase does not fit,
    or where it is no Ed25519 key.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        content = _read(path)
    except FileNotFoundError:
        raise InputMissing(f"there is no key at {path}. Make one: dasvdd-sign keygen {path}") from None
    except OSError as error:
        raise DataError(f"{path}: the key cannot be read ({error.strerror})") from error
    if b"PUBLIC KEY" in content:
        raise DataError(f"{path} is a public key, which monitors check with. Signing takes the private key beside it.")
    if mode & 0o077:
        raise DataError(
            f"{path} has mode {mode:04o}: others on this machine may read the private key. First: chmod 600 {path}; "
            "if somebody could have copied it, make a new one."
        )
    try:
        key = serialization.load_pem_private_key(content, None if passphrase is None else passphrase.encode())
    except TypeError as error:  # cryptography's word for a passphrase too many, or one too few
        problem = (
            "has a passphrase: give --passphrase-file" if passphrase is None else "has no passphrase, so give none"
        )
        raise DataError(f"{path}: the key {problem}") from error
    except Exception:  # its text may hold parts of the key
        raise DataError(f"{path}: no private key in PEM, or another passphrase") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise DataError(f"{path}: a private key, but not of Ed25519. Make one: dasvdd-sign keygen KEY.pem")
    return key


def load_public_keys(paths: list[Path]) -> dict[str, Ed25519PublicKey]:
    """The public keys in `paths` by their key id. Raises ConfigError, naming the file, where one cannot be used."""
    keys = {}
    for path in paths:
        try:
            content = _read(path)
        except OSError as error:
            raise ConfigError(f"the trusted key {path} cannot be read: {error.strerror}") from error
        if b"PRIVATE KEY" in content:
            raise ConfigError(
                f"{path} is a private key, which signs and belongs on no device. A monitor needs only the public one "
                "(.pub.pem)."
            )
        try:
            key = serialization.load_pem_public_key(content)
        except Exception as error:  # a dozen kinds, by what is wrong in it
            raise ConfigError(f"{path}: no public key in PEM. dasvdd-sign keygen writes one.") from error
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigError(f"{path}: a public key, but not of Ed25519")
        keys[key_id(key)] = key
    return keys


def key_id(key: Ed25519PublicKey) -> str:
    """The first 16 hex digits of the SHA-256 of the raw public key."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def is_signed_by(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    """True if `key` made `signature` over `message`."""
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_KEY_BYTES)


def _write_new(path: Path, content: bytes, *, mode: int) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DasvddError(f"{path}: cannot be written ({error.strerror})") from error
