"""The threshold of a source as it was calibrated on site: one JSON file a source, in the state directory.

`calibration/NAME.json` there holds the calibration in force and the former one, so that a single atomic write swaps
them. The schema has a version `major.minor`; another major is not read.
"""

from __future__ import annotations

import math
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..calibration import Calibration
from ..detector import DecisionSettings
from ..errors import DasvddError, DataError
from ..files import write_atomically

SCHEMA_MAJOR = 1
SCHEMA_VERSION = f"{SCHEMA_MAJOR}.0"


class SiteThreshold(BaseModel):
    """A calibration on site, and what it holds for."""

    model_config = ConfigDict(frozen=True)

    source: str
    model_fingerprint: str
    """Of the model whose scores these were; with another the threshold means nothing."""
    calibrated_at: str
    """UTC, ISO 8601."""
    seconds: float = Field(gt=0, allow_inf_nan=False)
    """Running time in which an alarm could have risen."""
    decision: DecisionSettings
    """The decision chain that the rate holds for."""
    calibration: Calibration
    """The threshold, the usual score, the target and what both rest on; its `hours` are `seconds` of above."""
    score_quantiles: dict[str, float]
    """Of the single scores, for people: '0.05', '0.5', '0.95', '0.99' and '1'."""
    level_dbfs: tuple[float, float, float] | None = None
    """5th, 50th and 95th percentile of the level meanwhile, against which a drift is seen."""
    spectrum: dict[str, tuple[float, float, float]] | None = None
    """The same of the spectrum, see `spectrum.UsualSpectrum`; None in files of versions that did not note it."""

    @model_validator(mode="after")
    def _can_judge(self) -> SiteThreshold:
        threshold, usual = self.calibration.threshold, self.calibration.usual_score
        if not (0 < threshold < math.inf and 0 <= usual < math.inf):
            raise ValueError(f"threshold {threshold} and usual score {usual}: both must be finite, the first above 0")
        if self.level_dbfs is not None and not all(map(math.isfinite, self.level_dbfs)):
            raise ValueError(f"level_dbfs {self.level_dbfs}: must be finite")
        for name, values in (self.spectrum or {}).items():
            if not all(map(math.isfinite, values)):
                raise ValueError(f"spectrum, {name}: {values}: must be finite")
        return self


class SiteFile(BaseModel):
    """What the file of a source holds."""

    model_config = ConfigDict(frozen=True)

    schema_version: str = SCHEMA_VERSION
    current: SiteThreshold | None = None
    """None: the model's own threshold holds, as before the first calibration."""
    former: SiteThreshold | None = None
    """What `current` replaced."""


def file_of(directory: Path, source: str) -> Path:
    """Where the state directory keeps the calibration of `source`."""
    return directory / "calibration" / f"{quote(source, safe=' ')}.json"


def read_site_file(directory: Path, source: str) -> SiteFile | None:
    """What is noted of `source`; None where it was never calibrated.

    Raises DataError for a file that cannot be read, is damaged, or belongs to another source.
    """
    path = file_of(directory, source)
    again = "Calibrate again; the damaged file is then kept beside it."
    try:
        noted = SiteFile.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Let the monitor's user read it.") from error
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise DataError(f"{path}: damaged ({place + ': ' if place else ''}{fault['msg']}). {again}") from error
    if noted.schema_version.split(".")[0] != str(SCHEMA_MAJOR):
        raise DataError(
            f"{path}: it has schema version {noted.schema_version}, this program reads {SCHEMA_MAJOR}.x. Calibrate "
            "again, or use the version that wrote it."
        )
    for entry in (noted.current, noted.former):
        if entry is not None and entry.source != source:
            raise DataError(f"{path}: it is a calibration of the source '{entry.source}', not of '{source}'. {again}")
    return noted


def write_site_threshold(directory: Path, new: SiteThreshold, *, in_force: bool = True) -> SiteThreshold | None:
    """Put `new` in force and keep what it replaces, which is returned. A damaged file is renamed, `.damaged` added.

    With `in_force` false it is kept in the place of the former one, and `restore` puts it in force. Raises DasvddError
    where nothing can be written.
    """
    path = file_of(directory, new.source)
    try:
        before = read_site_file(directory, new.source)
    except DataError:
        before = None
        _put_aside(path)
    replaced = None if before is None else before.current
    _write(path, SiteFile(current=new, former=replaced) if in_force else SiteFile(current=replaced, former=new))
    return replaced


def restore(directory: Path, source: str) -> SiteFile:
    """Swap the calibration of `source` and the former one; the file as it is then.

    Raises DataError where there is nothing to swap, as read_site_file, and DasvddError where it cannot be written.
    """
    noted = _calibrated(directory, source)
    swapped = SiteFile(current=noted.former, former=noted.current)
    _write(file_of(directory, source), swapped)
    return swapped


def use_own(directory: Path, source: str) -> SiteFile:
    """Put the model's own threshold in force for `source`, and keep what was; the file as it is then.

    Raises as `restore` does.
    """
    noted = _calibrated(directory, source)
    own = SiteFile(current=None, former=noted.current or noted.former)
    _write(file_of(directory, source), own)
    return own


def _calibrated(directory: Path, source: str) -> SiteFile:
    noted = read_site_file(directory, source)
    if noted is None:
        raise DataError(
            f"{file_of(directory, source)}: there is no such file, so source '{source}' was never calibrated here and "
            "nothing can be brought back. `dasvdd-monitor calibrate` does that."
        )
    return noted


def _write(path: Path, content: SiteFile) -> None:
    write_atomically(path, (content.model_dump_json(indent=2) + "\n").encode())


def _put_aside(path: Path) -> None:
    try:
        path.replace(path.with_name(f"{path.name}.damaged"))
    except OSError as error:
        raise DasvddError(f"{path}: cannot be renamed ({error.strerror}); nothing was changed.") from error
