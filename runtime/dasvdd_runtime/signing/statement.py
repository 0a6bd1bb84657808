"""What a signature says of a model file, and the bytes that it covers. Pure; needs no cryptography.

The statement travels as JSON beside the model, in `model.onnx.sig`. The signature covers every field but itself: the
JSON of the others with sorted keys and no spaces, ASCII, behind PREFIX. What was verified is therefore what was parsed,
however the file is laid out.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ..errors import SignatureError

PREFIX = b"dasvdd model signature\n"
"""So that the bytes can be mistaken for no other document that the same key signs."""
MAX_BYTES = 16 * 1024
SUFFIX = ".sig"


def _utc_time(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time without its zone")
    return text


Time = Annotated[str, Field(max_length=40), AfterValidator(_utc_time)]
"""ISO 8601 with the zone."""


class Statement(BaseModel):
    """What is signed. Unknown fields are refused: nobody could say what they were meant to promise."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal["1.0"] = "1.0"
    algorithm: Literal["ed25519"] = "ed25519"
    key_id: str = Field(pattern="^[0-9a-f]{16}$")
    """Which key signed: the first 16 hex digits of the SHA-256 of the raw public key."""
    model_name: str = Field(max_length=1000)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Of the model file, hex."""
    size_bytes: int = Field(ge=1, le=2**40)
    """Its size, known before any of it is read."""
    counter: int = Field(ge=0, lt=2**53)
    """Grows from one release to the next; a monitor goes back to none below what it ran."""
    created: Time
    expires: Time | None = None

    @property
    def created_at(self) -> datetime:
        """When it was signed, by the signer's clock."""
        return datetime.fromisoformat(self.created)

    @property
    def expires_at(self) -> datetime | None:
        """From when on no monitor loads it; None for never."""
        return None if self.expires is None else datetime.fromisoformat(self.expires)

    @property
    def in_words(self) -> str:
        """Who signed it, and until when it holds."""
        until = f"until {self.expires}" if self.expires else "for ever"
        return f"by the key {self.key_id} at {self.created}, counter {self.counter}, {until}"

    def signed_bytes(self) -> bytes:
        """What the signature covers."""
        fields = self.model_dump(exclude={"signature"})
        return PREFIX + json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")


class SignedStatement(Statement):
    """A statement with its signature. No field may be left out: what is not there was not what was signed."""

    schema_version: Literal["1.0"]
    algorithm: Literal["ed25519"]
    expires: Time | None
    signature: str = Field(pattern="^[0-9a-f]{128}$")
    """Ed25519, hex."""


def signature_path(model: Path) -> Path:
    """Where the signature of `model` lies."""
    return model.with_name(model.name + SUFFIX)


def read_statement(path: Path) -> SignedStatement:
    """The statement in the file `path`, not yet verified.

    Raises SignatureError where there is none that can be read.
    """
    if not path.is_file():
        raise SignatureError(
            f"there is no signature {path}, so nothing shows who made the model. Copy it too, or sign the model: "
            f"dasvdd-sign sign {path.name.removesuffix(SUFFIX)} --key KEY.pem"
        )
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SignatureError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) > MAX_BYTES:
        raise SignatureError(f"{path}: larger than {MAX_BYTES} bytes, so it is no signature. Copy it again.")
    try:
        return SignedStatement.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise SignatureError(
            f"{path}: not a signature that this version reads ({place + ': ' if place else ''}{fault['msg']}). "
            "Copy it again, or sign the model again."
        ) from error
