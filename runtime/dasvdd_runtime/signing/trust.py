"""Whether a monitor may load what was signed: by time and by what it ran before. Pure; knows no clock and no file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from ..errors import SignatureError
from .statement import Statement


class RanLast(BaseModel):
    """The newest signed model that was loaded under one name of the configuration."""

    model_config = ConfigDict(frozen=True)

    counter: int
    sha256: str
    created: AwareDatetime


def require_no_older(statement: Statement, last: RanLast | None) -> None:
    """Raise SignatureError if `statement` is older than what ran last, or as old and of another file."""
    if last is None:
        return
    if statement.counter < last.counter:
        raise SignatureError(
            f"the model '{statement.model_name}' is signed with the counter {statement.counter}, and this monitor has "
            f"run {last.counter}: it is older, and an old model could be put back to hide a fault. To go back to it, "
            "sign it again."
        )
    if statement.counter == last.counter and statement.sha256 != last.sha256:
        raise SignatureError(
            f"the model '{statement.model_name}' is signed with the counter {statement.counter}, which another file "
            "that this monitor has run bears too, so neither is newer. Sign it again with a higher counter."
        )


def time_for_expiry(statement: Statement, clock: datetime, ran: Mapping[str, RanLast]) -> datetime:
    """The time by which expiry is judged: the clock, but never before any signature that this monitor trusts was made.

    A device without a battery starts with a clock of years ago. Nothing is "not yet valid" for it, and what it has
    seen signed it does not take for the future.
    """
    return max([clock, statement.created_at, *(entry.created for entry in ran.values())])


def require_not_expired(statement: Statement, now: datetime) -> None:
    """Raise SignatureError if `statement` has expired at `now`."""
    expires = statement.expires_at
    if expires is not None and now >= expires:
        raise SignatureError(
            f"the signature of the model '{statement.model_name}' expired at {statement.expires}, and it is "
            f"{now.isoformat(timespec='seconds')} here. Sign the model again; if that time is wrong, set the clock."
        )
