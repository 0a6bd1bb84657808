"""Sign a model file: the signature lies beside it, in `model.onnx.sig`."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ..errors import InputMissing, ModelError
from ..files import write_atomically
from ..model_files.graph_summary import summarise_graph
from ..stream_scorer import open_scorer
from .ed25519 import key_id
from .statement import SignedStatement, Statement, signature_path


def sign_model(
    path: Path, key: Ed25519PrivateKey, *, now: datetime, counter: int | None, valid_days: float | None
) -> SignedStatement:
    """Write the signature of the model at `path`, once its golden windows repeat here; what it says.

    `counter`: by default the seconds since 1970 at `now`, which grow from one release to the next. `valid_days`: after
    which no monitor loads it; None for ever. Raises InputMissing and ModelError as Scorer does, and ModelError for a
    model with weights in another file, which no signature of this one would cover.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputMissing(f"there is no model file at {path}. Write one with dasvdd-export.") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    scorer = open_scorer(path, content=content)
    scorer.verify_golden()
    if summarise_graph(content).external_data:
        raise ModelError(
            f"{path}: some weights lie in another file, which a signature would not cover. Export it again."
        )
    statement = Statement(
        key_id=key_id(key.public_key()),
        model_name=scorer.metadata.name,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        counter=int(now.timestamp()) if counter is None else counter,
        created=now.isoformat(timespec="seconds"),
        expires=None if valid_days is None else (now + timedelta(days=valid_days)).isoformat(timespec="seconds"),
    )
    signature = key.sign(statement.signed_bytes()).hex()
    signed = SignedStatement(**statement.model_dump(), signature=signature)
    write_atomically(signature_path(path), (signed.model_dump_json(indent=2) + "\n").encode())
    return signed
