"""The settings of a training run: defaults, a TOML file over them, and `--set key=value` over both."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from dasvdd_runtime.configuration.strict_config import StrictModel, read_toml, validate
from dasvdd_runtime.detector import DecisionSettings
from dasvdd_runtime.errors import ConfigError
from dasvdd_runtime.reading.recording_types import Kind
from pydantic import Field

FrontEndType = Literal["log_mel", "log_spectrum", "envelope", "raw", "rows"]
"""The front ends. `front_ends.FRONT_ENDS` has the class of each, `architecture.py` builds it for a corpus."""


class DataSettings(StrictModel):
    """Which part of which recordings is used."""

    sample_rate_hz: float | None = Field(None, gt=0)
    """Rate of the model; None: the rate that most recordings have. A table without times needs it."""
    channel: str = ""
    """A channel's number from 0, 'mean' or 'all'; empty: 0 for audio, all for sensors."""
    columns: tuple[str, ...] = ()
    """Columns of a CSV, by header name or by position from 1; empty: every numeric one."""
    time_column: str = "auto"
    """Column of a table with the times of its rows, by name or position from 1; 'auto': a leading one whose name or
    cells say that it is one, 'none': rows are evenly spaced."""
    units: tuple[str, ...] = ()
    """Unit per column of a CSV, for instance 'g' or 'degC'; empty: what stands in brackets in its name."""
    silent_seconds: float = Field(10.0, gt=0)
    """Silence of this length makes a source SILENT: as that key of the monitor's [[source]], for what is left out."""
    holdout: Literal["tail", "recordings", "none"] = "tail"
    """Held-out data: the tail of every recording, whole recordings, or nothing (the paper's protocol)."""
    holdout_share: float = Field(0.2, gt=0, lt=1)
    """Share of the data that is held out."""
    strict: bool = False
    """A recording that cannot be used is fatal instead of left out."""

    def channel_for(self, kind: Kind) -> str:
        """`channel`, or what it is by default for `kind`."""
        return self.channel or ("0" if kind == "audio" else "all")


class WindowSettings(StrictModel):
    """What is scored at once. Both are rounded to whole frame hops."""

    window_seconds: float = Field(1.0, gt=0)
    window_hop_seconds: float = Field(0.5, gt=0)


class FrontEndSettings(StrictModel):
    """Window -> frames -> feature vectors. None, or 'auto': chosen from the data, see `architecture.py`."""

    type: Literal["auto", FrontEndType] = "auto"
    """'auto': log_mel for audio; log_spectrum for sensors from 100 Hz on, rows for slower ones."""
    n_fft: int | None = Field(None, ge=16)
    """Samples per FFT frame (log_mel, log_spectrum)."""
    frame_samples: int | None = Field(None, ge=1)
    """Samples per frame (envelope, raw)."""
    frame_hop_samples: int | None = Field(None, ge=1)
    """Samples from one frame to the next (all but rows); must divide the frame's length."""
    mel_bands: int = Field(128, ge=1)
    spectrum_bands: int = Field(0, ge=0)
    """Bands of equal width per channel (log_spectrum); 0: every bin of the FFT."""
    envelope_low_hz: float | None = Field(None, gt=0)
    envelope_high_hz: float | None = Field(None, gt=0)
    """The band whose envelope is looked at (envelope); None: from 1/8 to 3/8 of the sample rate."""
    envelope_max_hz: float | None = Field(None, gt=0)
    """Highest frequency of the envelope's spectrum; None: 500 Hz, or half the band's width where that is less."""
    remove_frame_mean: bool = False
    """Subtract the mean of every frame and channel (raw)."""
    stacked_frames: int | None = Field(None, ge=1)
    """Frames in one feature vector; None: 5 for log_mel, 1 for the others."""


class NetworkSettings(StrictModel):
    """The autoencoder. None: the paper's for tables where the front end is rows, else the paper's for images."""

    widths: tuple[int, ...] | None = None
    """Widths of the encoder's hidden layers; None: 10, 10 for rows, 1024, 256 for the others."""
    latent: int | None = Field(None, ge=1)
    """Latent size; None: 4 for rows, 256 for the others."""


class TrainingSettings(StrictModel):
    """Algorithm 1 with the paper's values (section 4.3)."""

    epochs: int = Field(300, ge=1)
    batch_rows: int = Field(200, ge=2)
    """Feature vectors in a batch."""
    kappa: float = Field(0.9, gt=0, lt=1)
    """Share of a batch that trains the networks; the rest trains the center."""
    gamma: float | None = Field(None, gt=0)
    """Weight of the center distance; None: automatic by eq. 6."""
    gamma_initialisations: int = Field(10, ge=1)
    """T of eq. 6."""
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-7, ge=0)
    seed: int = Field(0, ge=0)
    early_stopping_epochs: int | None = Field(None, ge=1)
    """End when the held-out score has not fallen for so many epochs, with the networks of its lowest point; None: off,
    as in the paper."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"


class AlarmSettings(StrictModel):
    """What the threshold is calibrated for."""

    false_alarms_per_day: float = Field(1.0, gt=0)
    """Episodes per day of running time, after the whole decision chain."""


class ReportSettings(StrictModel):
    """What report.html contains."""

    audio: bool = True
    """Players for the most unusual pieces of training and held-out recordings. Off: pictures of them alone, since a
    recording may hold people's voices and a report is passed on."""


class TrainConfig(StrictModel):
    """All settings of a run."""

    data: DataSettings = DataSettings()
    window: WindowSettings = WindowSettings()
    front_end: FrontEndSettings = FrontEndSettings()
    network: NetworkSettings = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    alarm: AlarmSettings = AlarmSettings()
    decision: DecisionSettings = DecisionSettings()
    report: ReportSettings = ReportSettings()

    def flat(self) -> dict[str, Any]:
        """Every setting under its dotted name."""
        return {
            f"{section}.{key}": value
            for section, table in self.model_dump(mode="json").items()
            for key, value in table.items()
        }


def load_config(path: Path | None, assignments: dict[str, Any]) -> TrainConfig:
    """Defaults, then the TOML file at `path`, then `assignments` (dotted key -> value).

    Raises ConfigError for an unknown key, naming the nearest known one, and for a value out of range.
    """
    raw = read_toml(path) if path else {}
    origin = str(path) if path else "settings"
    if "source" in raw or "model" in raw:
        raise ConfigError(
            f"{path}: this configures dasvdd-monitor ([model], [[source]]), not a training. --config takes settings of "
            f"a training, in the tables {', '.join(TrainConfig.model_fields)}: config.toml of an earlier run is one."
        )
    for key, value in assignments.items():
        section, _, name = key.partition(".")
        table = raw.setdefault(section, {})
        if not name or not isinstance(table, dict):
            known = ", ".join(TrainConfig.model_fields)
            raise ConfigError(f"'{key}' is not of the form section.key; the sections are {known}")
        table[name] = value
    return validate(TrainConfig, raw, origin=origin)


def parse_assignment(text: str) -> tuple[str, Any]:
    """`key=value` -> (key, value), the value as TOML, or as text where it is no TOML value."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text}: expected key=value, for instance --set training.epochs=100")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()
