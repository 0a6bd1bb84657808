"""The pages of the endpoint: who may read them, and what they say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from ..events import finite
from .evidence_pages import make_evidence_pages
from .evidence_shelf import EvidenceShelf
from .guard import Guard
from .metrics import CONTENT_TYPE, Exposition
from .observed import Observed
from .probes import HUNG_SECONDS, faults, undelivered, why_undelivered
from .server import Answer, Page, Request
from .status import Status
from .web_files import API_HEADERS, make_web_pages

_STEP = re.compile("[0-9]{1,18}")


def make_probes(observed: Observed, guard: Guard, *, hung_seconds: float = HUNG_SECONDS) -> dict[str, Page]:
    """The pages that programs read, by path."""
    exposition = Exposition(observed)

    def metrics(request: Request) -> Answer:
        return guard.refusal_to_read(request.headers) or Answer(200, exposition.text(), CONTENT_TYPE)

    def health() -> tuple[bool, dict[str, Any]]:
        found = faults(observed.sources(), since_beat_seconds=observed.since_beat_seconds(), hung_seconds=hung_seconds)
        return not found, {"reasons": found}

    def readiness() -> tuple[bool, dict[str, Any]]:
        well, unwell = health()
        sources = observed.sources()
        missing = undelivered(sources)
        return well and not missing, {
            "reasons": [*unwell["reasons"], *map(why_undelivered, missing)],
            "undelivered": {source.name: source.state.value for source in missing},
            "sources": {source.name: source.state.value for source in sources},
        }

    def probe(word: str, judge: Callable[[], tuple[bool, dict[str, Any]]]) -> Page:
        def page(request: Request) -> Answer:
            good, details = judge()
            said = {word: good, **({} if guard.refusal_to_read(request.headers) else details)}
            return Answer(200 if good else 503, json.dumps(said).encode() + b"\n", "application/json")

        return page

    return {"/metrics": metrics, "/healthz": probe("healthy", health), "/readyz": probe("ready", readiness)}


def make_people_pages(status: Status, guard: Guard, shelf: EvidenceShelf | None = None) -> dict[str, Page]:
    """The page for people and what it reads, by path. `shelf`: of the alarms' evidence, if any is kept."""

    def api(answer: Callable[[Request], dict[str, Any]]) -> Page:
        def page(request: Request) -> Answer:
            refusal = guard.refusal_to_read(request.headers)
            return refusal or Answer(200, _json(answer(request)), "application/json", API_HEADERS)

        return page

    def now(request: Request) -> dict[str, Any]:
        after = parse_qs(request.query).get("after", [""])[-1]
        if _STEP.fullmatch(after) is None:
            return status.now()
        return status.now() | {"curves": status.curves(int(after))}

    pages = {"/api/status": api(now), "/api/history": api(lambda request: status.curves())}
    return {**make_web_pages(needs_token=guard.needs_token), **pages, **make_evidence_pages(shelf, guard)}


def _json(value: Any) -> bytes:
    return json.dumps(finite(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"
