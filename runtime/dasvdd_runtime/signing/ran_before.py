"""What signed models a monitor has run, in `signatures.json` of its state directory."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import SignatureError
from ..files import write_atomically
from .trust import RanLast

FILE_NAME = "signatures.json"


class RanBefore(BaseModel):
    """The file."""

    model_config = ConfigDict(frozen=True)

    schema_version: Literal["1.0"] = "1.0"
    models: dict[str, RanLast] = Field(default_factory=dict)
    """By the name of the configuration's [[model]]."""


def read_ran_before(directory: Path) -> RanBefore:
    """What is noted; nothing where the file is not there yet.

    Raises SignatureError where it is damaged: what is older could then not be told.
    """
    path = directory / FILE_NAME
    try:
        return RanBefore.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return RanBefore()
    except OSError as error:
        raise SignatureError(f"{path}: cannot be read ({error.strerror}). Let the monitor's user read it.") from error
    except ValidationError as error:
        raise SignatureError(
            f"{path}: damaged ({error.errors()[0]['msg']}), so it is not known which models are older than what ran "
            "here. If you trust the model that is here now, remove that file."
        ) from error


def note_ran(directory: Path, models: dict[str, RanLast]) -> None:
    """Note `models`, by name, beside what is noted. Raises DasvddError where that cannot be written."""
    before = read_ran_before(directory)
    after = RanBefore(models=before.models | models)
    if after != before:
        write_atomically(directory / FILE_NAME, (after.model_dump_json(indent=2) + "\n").encode())
