"""Open an exported model and score arrays with it.

scorer = Scorer("model.onnx")
scores = scorer.score_signal(samples)      # [samples, channels] at scorer.metadata.sample_rate_hz
scores.score > scorer.metadata.calibration.threshold
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contract import OUTPUT_NAMES, ModelMetadata, decode
from .errors import DasvddError, ModelError
from .model_files.execution_providers import ExecutionProvider
from .model_files.onnxruntime_session import release_free_memory
from .model_files.opening import open_session
from .windows import cut_windows

BATCH_WINDOWS = 64
"""Most windows that one run of the graph takes."""
BATCH_BYTES = 2 * 2**20
"""Most bytes of samples that one run of the graph takes, unless a single window is larger: activations take several
times as much, and what does not fit a CPU's cache is scored slower (twice as much by 7 %)."""


@dataclass(frozen=True)
class Scores:
    """What the graph says of each window; float64, one row a window, NaN where the window holds a non-finite sample."""

    score: NDArray[np.float64]
    """Shape [windows]: reconstruction_error + gamma * center_distance (eq. 2)."""
    reconstruction_error: NDArray[np.float64]
    """Shape [windows]: squared distance of the reconstruction, averaged over the window's feature vectors."""
    center_distance: NDArray[np.float64]
    """Shape [windows]: squared distance of the latent code from the center, averaged likewise."""
    residual: NDArray[np.float64]
    """Shape [windows, len(metadata.residual_names)]: the reconstruction error by band or channel."""


class Scorer:
    """A model file, opened for scoring. May be used from several threads at once.

    metadata: what the file says of itself. unknown_fields: metadata that this version ignores. provider: the
    onnxruntime execution provider really obtained, for instance 'CPUExecutionProvider'.
    """

    metadata: ModelMetadata
    unknown_fields: list[str]
    provider: str

    def __init__(
        self, path: str | Path, *, provider: str = "auto", threads: int = 1, content: bytes | None = None
    ) -> None:
        """Open the model at `path`, or its `content` where that was read already.

        `provider` is a name of model_files.execution_providers and strict; 'auto' takes CUDA if it can be had, else the
        CPU. Raises InputMissing if there is no file, ModelError if it is damaged or breaks the contract, Unavailable if
        onnxruntime or the provider cannot be had, ConfigError for an unknown provider.
        """
        opened = open_session(Path(path), provider=provider, threads=threads, content=content)
        self._use(opened.session, path, opened.provider)

    @classmethod
    def over(cls, session: Any, path: str | Path, provider: ExecutionProvider) -> Scorer:
        """A scorer over an open session of the file at `path` on `provider`. Raises ModelError as the constructor."""
        scorer = cls.__new__(cls)
        scorer._use(session, path, provider)
        return scorer

    def _use(self, session: Any, path: str | Path, provider: ExecutionProvider) -> None:
        self._session = session
        self._provider_tolerance = provider.relative_tolerance
        self.provider = self._session.get_providers()[0]
        try:
            self.metadata, self.unknown_fields = decode(self._session.get_modelmeta().custom_metadata_map)
            _check_graph(self._session, self.metadata)
        except UnicodeDecodeError as error:
            raise ModelError(f"the text in {path} is damaged ({error}). Copy the file again.") from error

    def tensors(self) -> tuple[dict[str, str], dict[str, str]]:
        """Type and shape of the graph's inputs and of its outputs, by name, for people."""
        inputs, outputs = (
            {node.name: f"{node.type} {node.shape}" for node in nodes}
            for nodes in (self._session.get_inputs(), self._session.get_outputs())
        )
        return inputs, outputs

    def score_windows(self, windows: NDArray[np.float32]) -> Scores:
        """Score `windows`, float of shape [windows, window_samples, channels], for audio full scale 1.0.

        A window with a NaN or infinite sample scores NaN, never normal. Raises ValueError on another shape or on
        integers, which have no known full scale.
        """
        expected = (self.metadata.window_samples, self.metadata.channels)
        if windows.ndim != 3 or windows.shape[1:] != expected:
            raise ValueError(
                f"windows of shape {windows.shape}: this model takes [windows, {expected[0]} samples, "
                f"{expected[1]} channels]"
            )
        if not np.issubdtype(windows.dtype, np.floating):
            raise ValueError(f"windows of {windows.dtype}: convert to float32, for audio with full scale 1.0")
        batch = max(1, min(BATCH_WINDOWS, BATCH_BYTES // (4 * expected[0] * expected[1])))
        rows = [self._score_batch(windows[start : start + batch]) for start in range(0, len(windows), batch)]
        return self._join(rows)

    def score_signal(self, samples: NDArray[np.float32]) -> Scores:
        """Score every whole window of `samples` [samples, channels] at metadata.sample_rate_hz.

        Row i is the window that starts at sample i * metadata.window_hop_samples; a tail shorter than a window
        gives no row. Raises ValueError on another number of channels.
        """
        if samples.ndim != 2 or samples.shape[1] != self.metadata.channels:
            raise ValueError(
                f"samples of shape {samples.shape}: this model takes [samples, {self.metadata.channels} channels]"
            )
        return self.score_windows(
            cut_windows(
                samples, window_samples=self.metadata.window_samples, hop_samples=self.metadata.window_hop_samples
            )
        )

    @property
    def golden_tolerance(self) -> float:
        """Largest relative difference of a golden score: the provider's where it has one, else the file's.

        An int8 or fp16 file is allowed its own where that is the larger.
        """
        of_file, of_provider = self.metadata.golden.relative_tolerance, self._provider_tolerance
        if of_provider is None:
            return of_file
        return max(of_provider, of_file) if self.metadata.variant else of_provider

    def verify_golden(self) -> float:
        """Score the file's golden windows and return the largest relative difference from their stored scores.

        Raises ModelError if there are none, if they do not fit the graph, or if the difference is beyond the
        `golden_tolerance`: then this machine does not compute what was calibrated.
        """
        golden = self.metadata.golden
        allowed = self.golden_tolerance
        windows = golden.windows()
        if not len(windows) or list(windows.shape[1:]) != _input_shape(self.metadata):
            raise ModelError(
                f"the model's golden windows have shape {list(windows.shape)} where [1 or more, "
                f"{', '.join(map(str, _input_shape(self.metadata)))}] belongs. Export the model again."
            )
        # One at a time, as a device scores: a batch of them would be this process's largest use of memory.
        found = np.concatenate([self._run(windows[i : i + 1])["score"] for i in range(len(windows))])
        release_free_memory()
        expected = np.array(golden.scores)
        difference = float(np.max(np.abs(found - expected) / np.maximum(np.abs(expected), np.finfo(np.float32).tiny)))
        if not difference <= allowed:
            worst = int(np.argmax(np.nan_to_num(np.abs(found - expected), nan=np.inf)))
            raise ModelError(
                f"golden window {worst + 1} of {len(expected)} scores {found[worst]:.7g} on {self.provider}; the "
                f"exporter computed {expected[worst]:.7g} (relative difference {difference:.2g}, allowed "
                f"{allowed:.2g}). The file is damaged or this machine computes differently, so the "
                "threshold does not hold here: copy the file again, or try the provider cpu."
            )
        return difference

    def _score_batch(self, windows: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        batch = windows.swapaxes(1, 2) if self.metadata.kind == "audio" else windows
        outputs = self._run(np.ascontiguousarray(batch, np.float32))
        finite = np.isfinite(windows).all(axis=(1, 2))
        if not finite.all():
            for values in outputs.values():
                values[~finite] = np.nan
        return outputs

    def _run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        """The graph's outputs by name for `batch`, laid out as the graph's input."""
        try:
            outputs = self._session.run(list(OUTPUT_NAMES), {"window": batch})
        except Exception as error:  # onnxruntime's exceptions have no public base class
            raise DasvddError(
                f"scoring {len(batch)} windows failed on {self.provider}: {error}. Run dasvdd-monitor check; if it "
                "fails there too, export the model again."
            ) from error
        by_name = {name: np.asarray(value, np.float64) for name, value in zip(OUTPUT_NAMES, outputs, strict=True)}
        for name, values in by_name.items():
            expected = (len(batch), len(self.metadata.residual_names)) if name == "residual" else (len(batch),)
            if values.shape != expected:
                raise ModelError(
                    f"the model's output '{name}' has shape {values.shape} where {expected} belongs. "
                    "Export the model again."
                )
        return by_name

    def _join(self, rows: list[dict[str, NDArray[np.float64]]]) -> Scores:
        if not rows:
            none = np.empty(0)
            return Scores(none, none, none, np.empty((0, len(self.metadata.residual_names))))
        return Scores(**{name: np.concatenate([row[name] for row in rows]) for name in OUTPUT_NAMES})


def _input_shape(metadata: ModelMetadata) -> list[int]:
    """Shape of one window as the graph takes it."""
    if metadata.kind == "audio":
        return [metadata.channels, metadata.window_samples]
    return [metadata.window_samples, metadata.channels]


def _check_graph(session: Any, metadata: ModelMetadata) -> None:
    """Raise ModelError unless the graph's input and outputs are those that the contract and the metadata state."""
    inputs = [(node.name, node.type, _fixed(node.shape)) for node in session.get_inputs()]
    expected_input = ("window", "tensor(float)", [None, *_input_shape(metadata)])
    if inputs != [expected_input]:
        raise ModelError(
            f"the model's graph takes {inputs} where its metadata calls for [{expected_input}]. Export the model again."
        )
    outputs = {node.name: (node.type, _fixed(node.shape)) for node in session.get_outputs()}
    for name in OUTPUT_NAMES:
        dims: list[int | None] = [None, len(metadata.residual_names)] if name == "residual" else [None]
        if name not in outputs:
            raise ModelError(f"the model's graph has no output '{name}', only {sorted(outputs)}. Export it again.")
        kind, shape = outputs[name]
        # The exporter may leave the number of bands dynamic; it is checked again at every run.
        if kind != "tensor(float)" or shape not in (dims, [None] * len(dims)):
            raise ModelError(
                f"the model's output '{name}' is {kind} {shape} where tensor(float) {dims} belongs. Export it again."
            )


def _fixed(shape: list[Any]) -> list[int | None]:
    """`shape` with None for each named, that is dynamic, dimension."""
    return [dim if isinstance(dim, int) else None for dim in shape]
