"""What the page may do: acknowledge and mute. Each is a POST of a small JSON object."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, ValidationError

from ..alarms.book import Verdict
from ..alarms.mutes import ALL
from ..configuration.strict_config import StrictModel
from ..errors import DasvddError, DataError, InputMissing
from .guard import Guard
from .server import Answer, Page, Request

if TYPE_CHECKING:
    from .alarm_board import AlarmBoard

Note = Annotated[str, Field(max_length=500)]


class AcknowledgeRequest(StrictModel):
    """Somebody has looked at an alarm."""

    alarm: str
    """Its whole id."""
    with_earlier: bool = False
    """All before it of its source, too, that nobody has judged."""
    verdict: Verdict
    note: Note = ""


class MuteRequest(StrictModel):
    """Nobody is to be called for a time."""

    source: str
    """The name of a source, or ALL."""
    seconds: float
    note: Note = ""


class UnmuteRequest(StrictModel):
    """People are to be called again."""

    source: str


def make_actions(board: AlarmBoard | None, guard: Guard, names: Callable[[], list[str]]) -> dict[str, Page]:
    """The actions by path. `names`: of the sources that there are; `board`: None where alarms are not kept."""

    def action(do: Callable[[AlarmBoard, bytes], None]) -> Page:
        def page(request: Request) -> Answer:
            if refusal := guard.refusal_to_act(request.headers):
                return refusal
            if board is None:
                return _said(409, "alarms are not kept: add [state] directory to monitor.toml and restart the monitor")
            try:
                do(board, request.body)
            except ValidationError as error:
                return _said(400, "; ".join(_place(fault["loc"]) + fault["msg"] for fault in error.errors()))
            except (DataError, InputMissing) as error:
                return _said(409, str(error))
            except DasvddError as error:
                return _said(503, str(error))
            return _said(200, "done")

        return page

    def acknowledge(board: AlarmBoard, body: bytes) -> None:
        wanted = AcknowledgeRequest.model_validate_json(body)
        board.judge(wanted.alarm, wanted.verdict, wanted.note, with_earlier=wanted.with_earlier)

    def mute(board: AlarmBoard, body: bytes) -> None:
        wanted = MuteRequest.model_validate_json(body)
        if wanted.source != ALL and wanted.source not in names():
            raise DataError(f"there is no source '{wanted.source}'. There are: {', '.join(names())}")
        board.mute(wanted.source, wanted.seconds, wanted.note)

    def unmute(board: AlarmBoard, body: bytes) -> None:
        board.end_mute(UnmuteRequest.model_validate_json(body).source)

    return {"/api/acknowledge": action(acknowledge), "/api/mute": action(mute), "/api/unmute": action(unmute)}


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) + ": " if location else ""


def _said(status: int, words: str) -> Answer:
    return Answer(status, json.dumps({"said": words}).encode() + b"\n", "application/json")
