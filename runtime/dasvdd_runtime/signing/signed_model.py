"""Read a model file and believe it only with its signature."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..errors import InputMissing, SignatureError
from . import ed25519
from .ran_before import RanBefore
from .statement import SignedStatement, read_statement, signature_path
from .trust import require_no_older, require_not_expired, time_for_expiry

CLOCKS_DIFFER = timedelta(days=1)
"""A clock that is further behind a signer's than this was not set."""

log = logging.getLogger(__name__)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def read_signed_model(
    path: Path,
    trusted_keys: list[Path],
    *,
    name: str,
    before: RanBefore,
    clock: Callable[[], datetime] = _utc_now,
) -> tuple[bytes, SignedStatement]:
    """The content of the model at `path`, and what a trusted key says of it.

    `name`: of the configuration's model; `before`: what ran under it. The content is read once and is what was
    verified, whatever happens to the file meanwhile. Raises InputMissing where there is no model, ConfigError for a
    trusted key that cannot be used, and SignatureError for a model that is unsigned, altered, signed by an unknown key,
    expired, or older than what ran.
    """
    keys = ed25519.load_public_keys(trusted_keys)
    if not path.exists():
        raise InputMissing(
            f"there is no model file at {path}. Copy it with its signature, {signature_path(path).name}."
        )
    statement = read_statement(signature_path(path))
    key = keys.get(statement.key_id)
    if key is None:
        raise SignatureError(
            f"{path} is signed with the key {statement.key_id}, which is not trusted here, only {', '.join(keys)}. "
            "Sign it with one of those, or add the public key to trusted_keys if you know whose it is."
        )
    if not ed25519.is_signed_by(key, bytes.fromhex(statement.signature), statement.signed_bytes()):
        raise SignatureError(
            f"{signature_path(path)}: the signature does not fit what it says, so it was altered or damaged. "
            "Copy it again from who signed it."
        )
    content = _read_whole(path, statement)
    require_no_older(statement, before.models.get(name))
    now = clock()
    judged_at = time_for_expiry(statement, now, before.models)
    if statement.expires is not None and judged_at - now > CLOCKS_DIFFER:
        log.warning(
            "the clock says %s, which is before a signature that is here was made: it is not set. Whether the model "
            "'%s' has expired (%s) cannot be told; it is used.",
            now.isoformat(timespec="seconds"),
            statement.model_name,
            statement.expires,
        )
    require_not_expired(statement, judged_at)
    return content, statement


def _read_whole(path: Path, statement: SignedStatement) -> bytes:
    """The content, no byte more than was signed. Raises SignatureError where it is another."""
    try:
        with path.open("rb") as file:
            content = file.read(statement.size_bytes + 1)
    except OSError as error:
        raise SignatureError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) != statement.size_bytes or hashlib.sha256(content).hexdigest() != statement.sha256:
        size = path.stat().st_size
        raise SignatureError(
            f"{path} ({size} bytes) is not the file that was signed ({statement.size_bytes} bytes, SHA-256 "
            f"{statement.sha256[:16]}...): it was altered, damaged, or belongs to another signature. Copy both again."
        )
    return content
