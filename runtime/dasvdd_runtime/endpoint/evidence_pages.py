"""The evidence of an alarm over HTTP: its sidecar, its samples, and a picture of them."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from ..errors import DasvddError
from .evidence_shelf import EvidenceShelf
from .file_body import open_file
from .guard import Guard
from .server import Answer, Page, Request
from .web_files import API_HEADERS

SIDECAR_BYTES = 8 * 2**20
"""A larger sidecar is not sent."""
SAMPLES = {"audio": (".flac", "audio/flac"), "samples": (".npz", "application/octet-stream")}
"""By the word behind the alarm's id: files with samples."""
PATIENCE_SECONDS = 5.0
"""How long a picture waits for another one."""
NOT_KEPT = (
    "there is no evidence of this alarm (any more): it is listed once the clip is whole, and removed to keep within "
    "max_bytes, max_days and min_free_bytes of [evidence]"
)


def make_evidence_pages(shelf: EvidenceShelf | None, guard: Guard) -> dict[str, Page]:
    """Everything below `/evidence/`. `shelf`: None where no evidence is kept."""
    one_at_a_time = threading.Lock()

    def page(request: Request) -> Answer:
        if refusal := guard.refusal_to_read(request.headers):
            return refusal
        if shelf is None:
            return _said(404, "no evidence is kept: add [state] directory to monitor.toml and restart the monitor")
        alarm, _, part = request.below.partition("/")
        sidecar = shelf.sidecar(alarm)
        if sidecar is None:
            return _said(404, NOT_KEPT)
        if part in SAMPLES:
            return _samples(sidecar, part)
        if part == "picture":
            return _picture(sidecar, one_at_a_time)
        return _sidecar(sidecar) if request.below == alarm else _said(404, "there are: audio, samples, picture")

    return {"/evidence/": page}


def _sidecar(path: Path) -> Answer:
    body = open_file(path)
    if body is None:
        return _said(404, NOT_KEPT)
    if body.size > SIDECAR_BYTES:
        body.file.close()
        return _said(413, f"{path.name} has {body.size} bytes, and at most {SIDECAR_BYTES} are sent: look at the file")
    return Answer(200, body, "application/json", API_HEADERS)


def _samples(sidecar: Path, part: str) -> Answer:
    suffix, content_type = SAMPLES[part]
    body = open_file(sidecar.with_suffix(suffix))
    if body is None:
        return _said(404, f"the evidence of this alarm has no {part}")
    name = ("Content-Disposition", f'attachment; filename="{sidecar.with_suffix(suffix).name}"')
    return Answer(200, body, content_type, (*API_HEADERS, name) if sidecar.name.isascii() else API_HEADERS)


def _picture(sidecar: Path, one_at_a_time: threading.Lock) -> Answer:
    from .evidence_picture import picture

    if not one_at_a_time.acquire(timeout=PATIENCE_SECONDS):
        return _said(503, "another clip is being looked at: try again")
    try:
        found = picture(sidecar)
    except DasvddError as error:
        return _said(404, str(error))
    finally:
        one_at_a_time.release()
    return Answer(200, json.dumps(found, allow_nan=False).encode(), "application/json", API_HEADERS)


def _said(status: int, words: str) -> Answer:
    return Answer(status, f"{words}\n".encode(), headers=API_HEADERS)
