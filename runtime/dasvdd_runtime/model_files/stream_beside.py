"""The stream form that lies beside a model file: found, checked against the plain form, or left alone with a reason."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..contract import ModelMetadata
from ..errors import DasvddError
from ..golden import relative_difference
from ..scorer import Scorer
from ..stream_scorer import StreamScorer

if TYPE_CHECKING:
    from ..signing.statement import SignedStatement

log = logging.getLogger(__name__)

REMEDY = "Export both again: dasvdd-export --stream"
SAME = {
    "model_fingerprint": "the SHA-256 of its model.pt",
    "kind": "its kind",
    "sample_rate_hz": "its rate in Hz",
    "channels": "the number of its channels",
    "window_samples": "its window in samples",
    "window_hop_samples": "its window hop in samples",
    "residual_names": "the names of its residuals",
}
"""What the two forms of a model have in common, beside their scores."""


@dataclass(frozen=True)
class StreamBeside:
    """What was found beside a model file."""

    scorer: StreamScorer | None = None
    """To be used in the place of the plain form, whose scores it gives."""
    not_used: str | None = None
    """Why a file that is there is not used."""
    signed: SignedStatement | None = None
    """What a trusted key says of the file, where one must."""


def find_stream_form(
    plain: Scorer,
    path: Path,
    *,
    provider: str,
    content: bytes | None = None,
    signed: SignedStatement | None = None,
) -> StreamBeside:
    """The stream form of the model `plain` in the file at `path`, or its `content` where that was read already.

    A file that belongs to another model, or cannot be used here, is left alone: the plain form scores the same.
    """
    try:
        scorer = StreamScorer(path, provider=provider, content=content)
        reason = other_stream(plain.metadata, scorer.metadata)
        if reason is None:
            scorer.verify_golden()
            reason = _scores_otherwise(plain, scorer)
    except DasvddError as error:
        reason = str(error)
    if reason is None:
        return StreamBeside(scorer, signed=signed)
    log.warning("%s is not used, windows are scored with the plain form: %s", path, reason)
    return StreamBeside(not_used=reason, signed=signed)


def other_stream(plain: ModelMetadata, stream: ModelMetadata) -> str | None:
    """Why `stream` is not of the stream form of `plain`; None where it is."""
    for field, words in SAME.items():
        of_plain, of_stream = getattr(plain, field), getattr(stream, field)
        if of_plain != of_stream:
            return (
                f"{words} is {of_stream} (exported {stream.created}), of the plain form {of_plain} (exported "
                f"{plain.created}), so the two do not belong together. {REMEDY}"
            )
    return None


def _scores_otherwise(plain: Scorer, stream: StreamScorer) -> str | None:
    """Why the two do not score alike, from the plain form's golden windows; None where they do."""
    golden = plain.metadata.golden
    windows, expected = golden.windows(), np.array(golden.scores)
    found = stream.score_sequences(windows.swapaxes(1, 2) if plain.metadata.kind == "audio" else windows).score
    difference = relative_difference(found, expected)
    if difference <= golden.relative_tolerance:
        return None
    return (
        f"it scores the plain form's golden windows otherwise (relative difference {difference:.2g}, allowed "
        f"{golden.relative_tolerance:.2g}), so it was made by another version. {REMEDY}"
    )
