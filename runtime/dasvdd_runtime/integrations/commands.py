"""Commands that arrive as messages: acknowledge and mute, as the command line does it."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from ..alarms.book import Verdict
from ..alarms.commands import end_mute, judge, mute
from ..alarms.mutes import LONGEST_SECONDS
from ..errors import DasvddError, DataError

if TYPE_CHECKING:
    from ..state.state_store import StateStore

log = logging.getLogger(__name__)

Verb = Literal["acknowledge", "mute"]
VERBS: tuple[Verb, ...] = get_args(Verb)
LONGEST_MINUTES = LONGEST_SECONDS / 60
MOST_BYTES = 2000
"""More is no command."""


class Acknowledge(BaseModel):
    """Judge one alarm of a source, or all that nobody judged."""

    model_config = ConfigDict(extra="forbid", strict=True)
    verdict: Verdict
    alarm: str = ""
    """The beginning of its id; empty: all that nobody judged."""
    note: str = ""


class MuteFor(BaseModel):
    """Nobody is called for a source for so long; 0 ends a mute."""

    model_config = ConfigDict(extra="forbid", strict=True)
    minutes: float
    note: str = ""


def parse(verb: Verb, payload: bytes) -> Acknowledge | MuteFor:
    """The command in `payload`: JSON, or the verdict or the minutes alone. Raises DataError that says what is wrong."""
    if len(payload) > MOST_BYTES:
        raise DataError(f"{len(payload)} bytes are no command; {MOST_BYTES} are the most")
    try:
        text = payload.decode().strip()
        fields = _fields(verb, text)
        json.dumps(fields, ensure_ascii=False).encode()  # half a surrogate pair could be stored nowhere
        command = Acknowledge.model_validate(fields) if verb == "acknowledge" else MuteFor.model_validate(fields)
    except (UnicodeError, RecursionError, json.JSONDecodeError):
        raise DataError(f"{payload[:80]!r} is neither JSON nor one word") from None
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}" for fault in error.errors())
        raise DataError(f"{payload[:80]!r}: {faults}") from None
    if isinstance(command, MuteFor) and not 0 <= command.minutes <= LONGEST_MINUTES:  # nan is refused too
        raise DataError(f"{command.minutes:g} minutes: a mute lasts at most {LONGEST_MINUTES:g}, and 0 ends one")
    return command


def _fields(verb: Verb, text: str) -> Any:
    if text.startswith("{"):
        return json.loads(text)
    if verb == "acknowledge":
        return {"verdict": text}
    try:
        return {"minutes": float(text)}
    except ValueError:
        return {"minutes": text}


class Commands:
    """Obeys commands through state.db, at which the running monitor looks; refuses all without a state directory."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self.counts: Counter[str] = Counter(taken=0, refused=0)
        """Commands `taken` and `refused`. To be read, from any thread."""

    @property
    def possible(self) -> bool:
        """There is a state directory."""
        return self._directory is not None

    def obey(self, verb: Verb, source: str, payload: bytes, *, known: Sequence[str], retained: bool) -> str:
        """Do what `payload` asks of `source`; what came of it, in words. What is refused is counted and logged.

        Does not raise.
        """
        try:
            if retained:
                raise DataError("the broker kept it, so it may be of any age: send it without retain")
            if source not in known:
                raise DataError("there is no such source")
            done = self._do(parse(verb, payload), source)
        except (DasvddError, OSError) as error:
            return self.refuse(f"{verb} of {source[:80]!r}", str(error))
        self.counts["taken"] += 1
        log.info("command: source '%s': %s", source, done)
        return done

    def refuse(self, what: str, why: str) -> str:
        """Count and log a command that is not obeyed; in words."""
        self.counts["refused"] += 1
        log.warning("command refused: %s: %s", what, why)
        return f"refused: {why}"

    def _do(self, command: Acknowledge | MuteFor, source: str) -> str:
        """Do it; what was done, in words. Raises DasvddError."""
        if self._directory is None:
            raise DataError("there is no state directory, through which it would reach the monitor: add [state]")
        import sqlite3

        from ..state.state_store import StateStore

        store = StateStore.open_existing(self._directory)
        try:
            return _judge(store, command, source) if isinstance(command, Acknowledge) else _mute(store, command, source)
        except sqlite3.Error as error:
            raise DasvddError(f"state.db: {error}. Nothing was changed; try it again") from error
        finally:
            store.close()


def _judge(store: StateStore, command: Acknowledge, source: str) -> str:
    if command.alarm:
        alarms = [alarm for alarm in store.find(command.alarm) if alarm.source == source]
        if len(alarms) != 1:
            raise DataError(f"{len(alarms)} alarms of it have an id that begins with '{command.alarm}'")
    else:
        alarms = store.alarms(source=source, only_open=True)
        if not alarms:
            raise DataError("it has no alarm that nobody has judged")
    judge(store, alarms, command.verdict, command.note)
    return f"{len(alarms)} alarms judged as {command.verdict}"


def _mute(store: StateStore, command: MuteFor, source: str) -> str:
    if command.minutes == 0:
        end_mute(store, source)
        return "muted no longer"
    mute(store, source, 60 * command.minutes, command.note)
    return f"muted for {command.minutes:g} min"
