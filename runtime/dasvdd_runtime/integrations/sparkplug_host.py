"""The primary host application of Sparkplug: the one for which an edge node gives its births, and waits."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import DataError


class HostState(BaseModel):
    """The payload of STATE. Sparkplug specification 3.0 (host-topic-phid-birth-payload)."""

    model_config = ConfigDict(strict=True)
    online: bool
    timestamp: int = Field(ge=0)
    """Milliseconds since 1970 UTC; of an offline one, of the connection that ended."""


class PrimaryHost:
    """Whether it is there, by the messages that it has the broker keep on `topic`."""

    def __init__(self, host_id: str) -> None:
        self.id = host_id
        self.topic = f"spBv1.0/STATE/{host_id}"
        self.online = False
        self._newest_milliseconds = 0

    def forget(self) -> None:
        """A new connection: what its broker keeps is heard again."""
        self.online = False

    def hear(self, payload: bytes) -> None:
        """Take a message for what it says, unless it is older than one before. Raises DataError where it says nothing.

        Specification 3.0, 5.4 (message-flow-edge-node-birth-publish-phid-wait-timestamp, -phid-offline): the will of
        a connection that the host gave up may come after the birth of the one that followed.
        """
        try:
            state = HostState.model_validate_json(payload)
        except ValidationError:
            raise DataError(f'{payload[:80]!r} is not {{"online": true, "timestamp": milliseconds}}') from None
        if state.timestamp < self._newest_milliseconds:
            raise DataError(
                f"its timestamp {state.timestamp} is before that of an earlier one, {self._newest_milliseconds}. "
                "Was the clock of the host set back? A restart of the monitor takes it"
            )
        self._newest_milliseconds = state.timestamp
        self.online = state.online
