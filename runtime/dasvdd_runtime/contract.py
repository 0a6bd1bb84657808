"""The contract: everything a device must know about a model beside its graph.

It travels as JSON in the ONNX file's metadata under the key `dasvdd`. The schema has a version `major.minor`: a reader
refuses another major; fields that it does not know of the same major are reported and ignored, unless the file
lists them in `requires`; a missing field is an error.

The graph itself: one input `window`, float32, audio `[batch, channels, samples]` with full scale 1.0, sensors
`[batch, samples, channels]` in their units. Outputs, each float32 `[batch]`: `score` = `reconstruction_error`
+ gamma * `center_distance` (eq. 2 of the paper, averaged over the window's feature vectors); and `residual`
`[batch, len(residual_names)]`, which sums to `reconstruction_error`.

The stream form of a model has the field `stream`. Its graph has the inputs `samples`, one window hop laid out as
`window` is, and `state` `[batch, stream.state_size]`; its outputs are those above, of the window that ends with the
samples, and `state_next`, the state for the next hop of the same stream. A stream begins with a state of zeros; its
first window is filled up with zeros in front to whole hops.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from .calibration import Calibration
from .condition.levels import Baseline
from .detector import DecisionSettings
from .errors import ModelError
from .golden import GoldenSequences as GoldenSequences
from .golden import GoldenWindows as GoldenWindows
from .model_files.curves import LearningCurve, ScoreHistogram
from .reading.recording_types import Kind, used_channels

SCHEMA_MAJOR = 1
SCHEMA_MINOR = 0
METADATA_KEY = "dasvdd"
LARGEST_NUMBER = 1e30
"""In size, of any number in the metadata."""
UNIT_NOT_STATED = "unit not stated"
"""In `units`, where the training was not told."""
OPTIONAL_FIELDS = ("variant", "recentred", "stream", "learning", "held_out_scores")
"""Left out of a file where they are None, so that readers that do not know them need not."""
MOST_STATE = 2**22
"""Numbers in the state of a stream form, one source's: 16 MiB."""
OUTPUT_NAMES = ("score", "reconstruction_error", "center_distance", "residual")


class StreamInfo(BaseModel):
    """What the stream form of a model needs beside its graph."""

    model_config = ConfigDict(frozen=True)

    state_size: int = Field(ge=1, le=MOST_STATE)
    """Numbers that are remembered of one source's stream from one hop to the next."""
    golden: GoldenSequences


class TrainingSummary(BaseModel):
    """Where the model comes from."""

    model_config = ConfigDict(frozen=True)

    recordings: int
    seconds: float
    """Seconds of training data, the held-out part not counted."""
    data_fingerprint: str
    """SHA-256 over the training samples, hex."""


class Recentring(BaseModel):
    """Recordings that standardisation, center and threshold were set from anew; the networks are `training`'s."""

    model_config = ConfigDict(frozen=True)

    recordings: int
    seconds: float
    """Seconds that standardisation and center rest on, the held-out part not counted."""
    data_fingerprint: str
    """SHA-256 over those samples, hex."""
    original_fingerprint: str
    """SHA-256 of the `model.pt` whose networks these are, hex."""


class Variant(BaseModel):
    """A graph whose networks compute in fewer bits than those that were trained, and what that cost."""

    model_config = ConfigDict(frozen=True)

    name: Literal["int8", "fp16"]
    trained_fingerprint: str
    """SHA-256 of the `model.pt`, hex; `model_fingerprint` is the variant's own."""
    windows: int
    """Held-out and labelled windows that were scored with the fp32 graph and with this one."""
    score_shift_median: float
    """Median of (score - fp32 score) / fp32 score."""
    score_shift_worst: float
    """The one furthest from 0."""
    rank_correlation: float
    """Spearman's, of the two scores."""
    flipped_share: float
    """Share of windows on the other side of this file's threshold than fp32 scores of the fp32 threshold."""
    recalibrated_on: int
    """Held-out windows scored with this graph for its threshold; the others' fp32 scores were shifted as these were."""
    auc: float | None = None
    """Of the labelled windows that the training kept; None without them."""
    partial_auc: float | None = None
    """The same up to a false-positive rate of 0.1."""
    fp32_auc: float | None = None
    fp32_partial_auc: float | None = None


class ModelMetadata(BaseModel):
    """Everything that a device needs beside the graph. See the module's text for the rules of the schema."""

    model_config = ConfigDict(frozen=True)

    schema_version: str
    requires: list[str] = Field(default_factory=list)
    """Fields outside this version of the schema that a reader must know, or refuse the file."""
    name: str
    """What the model listens to, for people: the name of its training run."""
    kind: Kind
    sample_rate_hz: float = Field(ge=1e-9)
    channels: int = Field(ge=1)
    """Channels of the graph's input; which of them count is decided inside the graph, see `used_channels`."""
    channel_names: list[str]
    units: list[str]
    """Unit per channel; 'full scale' for audio."""
    window_samples: int = Field(ge=1)
    window_hop_samples: int = Field(ge=1)
    front_end: dict[str, Any]
    """The front end's settings, for people; its arithmetic is in the graph."""
    gamma: float
    residual_names: list[str]
    """Name per entry of the `residual` output, for instance '1250 Hz' or a channel's name."""
    residual_baseline: list[float]
    """Mean of each residual over held-out normal windows: what is usual."""
    decision: DecisionSettings
    calibration: Calibration
    baseline: Baseline
    training: TrainingSummary
    golden: GoldenWindows
    versions: dict[str, str]
    """Versions of dasvdd, torch, onnx and onnxruntime that made the file."""
    model_fingerprint: str
    """SHA-256 of the `model.pt` that was exported, hex; of a variant, one that differs from it: thresholds that were
    learned with one do not hold for the other."""
    created: str
    """UTC time of the export, ISO 8601."""
    variant: Variant | None = None
    """None: fp32 throughout, as trained."""
    recentred: Recentring | None = None
    """None: standardisation, center and threshold are those of the training."""
    stream: StreamInfo | None = None
    """None: the plain form, which scores whole windows. In a stream form `golden` holds no windows."""

    @property
    def golden_of_form(self) -> GoldenWindows | GoldenSequences:
        """What a device scores again before it trusts the file."""
        return self.golden if self.stream is None else self.stream.golden

    learning: LearningCurve | None = None
    """How the networks were trained; None in files that were written before it was kept."""
    held_out_scores: ScoreHistogram | None = None
    """Scores of this graph, before smoothing, that the threshold was calibrated on; None as above."""

    @property
    def trained_fingerprint(self) -> str:
        """SHA-256 of the `model.pt`, hex."""
        return self.variant.trained_fingerprint if self.variant else self.model_fingerprint

    @property
    def used_channels(self) -> list[int]:
        """The channels, counted from 0, that the front end listens to: the one it names, or all of them."""
        return used_channels(str(self.front_end.get("channel", "all")), self.channels)

    @property
    def window_seconds(self) -> float:
        """Length of a window in seconds."""
        return self.window_samples / self.sample_rate_hz

    @property
    def window_hop_seconds(self) -> float:
        """Seconds from the start of one window to the next."""
        return self.window_hop_samples / self.sample_rate_hz


def encode(metadata: ModelMetadata) -> dict[str, str]:
    """The key and value to write into the ONNX file's metadata properties."""
    absent = {name for name in OPTIONAL_FIELDS if getattr(metadata, name) is None}
    return {METADATA_KEY: metadata.model_dump_json(exclude=absent)}


def decode(properties: Mapping[str, str]) -> tuple[ModelMetadata, list[str]]:
    """Metadata from an ONNX file's properties, and the names of fields that this version does not know.

    Raises ModelError for a file that is not an exported model, for another major version of the schema, for fields
    that are missing or out of range, and for unknown fields that the file requires.
    """
    if METADATA_KEY not in properties:
        raise ModelError(
            f"the ONNX file has no '{METADATA_KEY}' metadata, so neither its sample rate nor its threshold is known. "
            "Use a file written by dasvdd-export."
        )
    try:
        raw = from_json(properties[METADATA_KEY])
    except ValueError as error:
        raise ModelError(
            f"the model's metadata is not readable JSON ({error}). Export or copy the file again."
        ) from error
    if not isinstance(raw, dict):
        raise ModelError("the model's metadata is not a JSON object. Export or copy the file again.")
    _check_version(raw.get("schema_version"))
    try:
        metadata = ModelMetadata.model_validate(raw)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise ModelError(
            f"the model's metadata does not fit schema {SCHEMA_MAJOR}.{SCHEMA_MINOR}: {faults}. Export the model again."
        ) from error
    known = metadata.model_dump()
    _require_sane_numbers(known)
    _check_consistency(metadata)
    unknown = _unknown_fields(raw, known)
    needed = sorted(set(metadata.requires) & set(unknown))
    if needed:
        raise ModelError(
            f"the model requires {', '.join(needed)}, which this version of the toolkit does not know. "
            "Upgrade dasvdd on this machine, or export with the version that runs here."
        )
    return metadata, unknown


def _require_sane_numbers(value: Any, name: str = "") -> None:
    """Raise ModelError, naming the field, for a number that is not finite or larger than any that belongs there."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _require_sane_numbers(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            _require_sane_numbers(inner, name)
    elif isinstance(value, int | float) and not abs(value) <= LARGEST_NUMBER:
        raise ModelError(
            f"the model's metadata has in {name[:100]} a number that is not finite, or beyond {LARGEST_NUMBER:g}. "
            "Export the model again."
        )


def _check_version(version: object) -> None:
    major = version.split(".")[0] if isinstance(version, str) else ""
    if major != str(SCHEMA_MAJOR):
        raise ModelError(
            f"the model's metadata has schema version {version!r}; this program reads {SCHEMA_MAJOR}.x. "
            "Install the dasvdd version that wrote the model, or export the model again with this one."
        )


def _check_consistency(metadata: ModelMetadata) -> None:
    """The lengths that must agree before anything is scored with them."""
    lengths = {
        "channel_names": (len(metadata.channel_names), metadata.channels),
        "units": (len(metadata.units), metadata.channels),
        "residual_baseline": (len(metadata.residual_baseline), len(metadata.residual_names)),
        "baseline.channel_mean": (len(metadata.baseline.channel_mean), metadata.channels),
        "baseline.channel_std": (len(metadata.baseline.channel_std), metadata.channels),
        "golden.scores": (len(metadata.golden.scores), metadata.golden.shape[0] if metadata.golden.shape else 0),
    }
    for name, (found, expected) in lengths.items():
        if found != expected:
            raise ModelError(
                f"the model's metadata has {found} entries in {name} where {expected} belong. Export the model again."
            )


def _unknown_fields(raw: Mapping[str, Any], known: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the keys of `raw` that parsing dropped."""
    unknown = []
    for key, value in raw.items():
        if key not in known:
            unknown.append(prefix + key)
        elif isinstance(value, dict) and isinstance(known[key], dict):
            unknown += _unknown_fields(value, known[key], f"{prefix}{key}.")
    return unknown
