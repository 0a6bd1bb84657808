"""Open an exported model and score arrays with it.

scorer = Scorer("model.onnx")
scores = scorer.score_signal(samples)      # [samples, channels] at scorer.metadata.sample_rate_hz
scores.score > scorer.metadata.calibration.threshold
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .contract import OUTPUT_NAMES
from .errors import ModelError
from .model_files.onnxruntime_session import release_free_memory
from .model_files.opened_model import OpenedModel, Outputs
from .windows import Waiting, cut_windows

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


class WindowScorer(Protocol):
    """What a pipeline needs of a Scorer or a StreamScorer."""

    @property
    def batch_windows(self) -> int:
        """Most windows that are scored at once."""

    def score(self, waiting: Sequence[Waiting]) -> Scores:
        """Scores of the windows that wait, those of a stream in their order."""


class Scorer(OpenedModel):
    """The plain form of a model, which scores whole windows. May be used from several threads at once."""

    @property
    def batch_windows(self) -> int:
        """Most windows that one run of the graph takes."""
        metadata = self.metadata
        return rows_that_fit(4 * metadata.window_samples * metadata.channels)

    def score(self, waiting: Sequence[Waiting]) -> Scores:
        """Scores of the windows that wait, each from its samples alone."""
        return self.score_windows(np.stack([entry.window.samples for entry in waiting]))

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
        batch = self.batch_windows
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

    def verify_golden(self) -> float:
        """Score the file's golden windows and return the largest relative difference from their stored scores.

        Raises ModelError if there are none, if they do not fit the graph, or if the difference is beyond
        `golden_tolerance`: then this machine does not compute what was calibrated.
        """
        golden = self.metadata.golden
        windows = golden.windows()
        shape = self._samples_shape(self.metadata.window_samples)
        if not len(windows) or list(windows.shape[1:]) != shape:
            raise ModelError(
                f"the model's golden windows have shape {list(windows.shape)} where [1 or more, "
                f"{', '.join(map(str, shape))}] belongs. Export the model again."
            )
        # One at a time, as a device scores: a batch of them would be this process's largest use of memory.
        found = np.concatenate([self._outputs(windows[i : i + 1])["score"] for i in range(len(windows))])
        release_free_memory()
        allowed = self.golden_tolerance
        return self._golden_difference(found, np.array(golden.scores), allowed)

    def _require_form(self, path: Path) -> None:
        if self.metadata.stream is not None:
            raise ModelError(
                f"{path} is the stream form of a model: it follows a stream hop by hop and scores no window by itself. "
                "Name the plain form, model.onnx where this is model.stream.onnx; the monitor finds the stream form "
                "beside it."
            )

    def _tensors_called_for(self) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        return {"window": self._samples_shape(self.metadata.window_samples)}, self._outputs_called_for()

    def _score_batch(self, windows: NDArray[np.float32]) -> Outputs:
        outputs = self._outputs(self._laid_out(windows))
        finite = np.isfinite(windows).all(axis=(1, 2))
        if not finite.all():
            for values in outputs.values():
                values[~finite] = np.nan
        return outputs

    def _outputs(self, batch: NDArray[np.float32]) -> Outputs:
        """The graph's outputs for `batch`, laid out as the graph's input."""
        outputs = self._run({"window": batch}, self._outputs_called_for())
        return {name: np.asarray(values, np.float64) for name, values in zip(OUTPUT_NAMES, outputs, strict=True)}

    def _join(self, rows: list[Outputs]) -> Scores:
        if not rows:
            none = np.empty(0)
            return Scores(none, none, none, np.empty((0, len(self.metadata.residual_names))))
        return Scores(**{name: np.concatenate([row[name] for row in rows]) for name in OUTPUT_NAMES})


def rows_that_fit(row_bytes: int) -> int:
    """Rows of `row_bytes` that one run of a graph takes, within BATCH_WINDOWS and BATCH_BYTES."""
    return max(1, min(BATCH_WINDOWS, BATCH_BYTES // row_bytes))
