"""The stream form of a model: overlapping windows of a stream, scored from the samples that are new.

It gives the scores of the plain form, see `scorer`. One row of a run belongs to one stream, so that streams still share
a batch. What is remembered of a stream lies in its StreamMemory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contract import OUTPUT_NAMES, StreamInfo
from .errors import ModelError
from .model_files.execution_providers import ExecutionProvider
from .model_files.onnxruntime_session import release_free_memory
from .model_files.opened_model import OpenedModel, Outputs
from .model_files.opening import open_session
from .scorer import Scorer, Scores, rows_that_fit
from .windows import StreamMemory, Waiting, Window, cut_windows

STATE_NEXT = "state_next"
"""The output that is the state of the next hop."""


def stream_path(plain: Path) -> Path:
    """Where the stream form of the model file `plain` lies: model.stream.onnx beside model.onnx."""
    return plain.with_suffix(f".stream{plain.suffix}")


def open_scorer(path: Path, *, content: bytes | None = None) -> Scorer | StreamScorer:
    """A scorer on the CPU of the form that is in the file at `path`. Raises as OpenedModel does."""
    session, opened_for = open_session(path, provider="cpu", threads=1, content=content)
    return scorer_over(session, path, opened_for)


def scorer_over(session: Any, path: Path, provider: ExecutionProvider) -> Scorer | StreamScorer:
    """A scorer of the form that is in the file at `path`, over an open onnxruntime session of it on `provider`.

    Raises ModelError as Scorer does.
    """
    has_state = "state" in {node.name for node in session.get_inputs()}
    return StreamScorer.over(session, path, provider) if has_state else Scorer.over(session, path, provider)


@dataclass(frozen=True)
class _Step:
    """One row of one run."""

    memory: StreamMemory
    samples: NDArray[np.float32]
    """Shape [window_hop_samples, channels]."""
    begins: bool
    """It goes on from nothing."""
    scores: int | None
    """The waiting window that it completes; None where it only leads up to one."""


class StreamScorer(OpenedModel):
    """The stream form of a model. A stream's windows must be scored in their order, and by one thread at a time."""

    @property
    def batch_windows(self) -> int:
        """Most streams that one run of the graph takes."""
        metadata = self.metadata
        return rows_that_fit(4 * (metadata.window_hop_samples * metadata.channels + self._info.state_size))

    def score(self, waiting: Sequence[Waiting]) -> Scores:
        """Scores of the windows that wait.

        A window one hop behind the last that its memory has scored costs that hop. Any other, as after a gap, is gone
        through from its first sample, and nothing that came before it counts. The score of a window with a sample that
        is not finite is not finite either.
        """
        work: dict[StreamMemory, deque[_Step]] = {}
        next_first = {entry.memory: entry.memory.next_first_sample for entry in waiting}
        for index, entry in enumerate(waiting):
            follows = next_first[entry.memory] == entry.window.first_sample
            steps = self._steps(entry, index, follows=follows)
            work.setdefault(entry.memory, deque()).extend(steps)
            next_first[entry.memory] = entry.window.first_sample + self.metadata.window_hop_samples
        for memory in work:
            memory.next_first_sample = None  # a run that fails leaves nothing to go on from
        found = {name: np.empty((len(waiting), *shape)) for name, shape in self._outputs_called_for().items()}
        while work:
            turn = list(work.values())[: self.batch_windows]
            self._take([steps.popleft() for steps in turn], found)
            work = {memory: steps for memory, steps in work.items() if steps}
        for memory, first_sample in next_first.items():
            memory.next_first_sample = first_sample
        return Scores(**found)

    def score_sequences(self, sequences: NDArray[np.float32]) -> Scores:
        """Scores of all whole windows of `sequences` [sequences, samples, channels], one sequence after the other.

        Each is a stream from its first sample on.
        """
        hop, memories = self.metadata.window_hop_samples, [StreamMemory() for _ in sequences]
        cut = [
            cut_windows(samples, window_samples=self.metadata.window_samples, hop_samples=hop) for samples in sequences
        ]
        waiting = [
            Waiting(Window(number * hop, samples), memory)
            for memory, windows in zip(memories, cut, strict=True)
            for number, samples in enumerate(windows)
        ]
        return self.score(waiting)

    def verify_golden(self) -> float:
        """Score the file's golden sequences and return the largest relative difference from their stored scores.

        Raises ModelError if there are none, if they do not fit the graph, or if the difference is beyond
        `golden_tolerance`: then this machine does not compute what was calibrated.
        """
        golden, metadata = self._info.golden, self.metadata
        sequences = golden.samples()
        if sequences.ndim != 3 or not len(sequences) or sequences.shape[2] != metadata.channels:
            raise ModelError(
                f"the model's golden sequences have shape {golden.shape} where [1 or more, samples, "
                f"{metadata.channels}] belongs. Export the model again."
            )
        windows = max(0, (sequences.shape[1] - metadata.window_samples) // metadata.window_hop_samples + 1)
        counts = [len(scores) for scores in golden.scores]
        if not windows or counts != [windows] * len(sequences):
            raise ModelError(
                f"the model's golden sequences hold {len(sequences)} times {windows} windows, and {counts} scores. "
                "Export the model again."
            )
        allowed = self.golden_tolerance
        found = self.score_sequences(sequences).score
        release_free_memory()
        return self._golden_difference(found, np.array(golden.scores).ravel(), allowed)

    @property
    def _info(self) -> StreamInfo:
        info = self.metadata.stream
        assert info is not None  # _require_form
        return info

    def _require_form(self, path: Path) -> None:
        if self.metadata.stream is None:
            raise ModelError(
                f"{path} is the plain form of a model and not a stream form. Write one with dasvdd-export --stream."
            )

    def _tensors_called_for(self) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        state = [self._info.state_size]
        inputs = {"samples": self._samples_shape(self.metadata.window_hop_samples), "state": state}
        return inputs, self._outputs_called_for() | {STATE_NEXT: state}

    def _steps(self, entry: Waiting, index: int, *, follows: bool) -> Iterator[_Step]:
        """What scores the waiting window `index`: its newest hop, or all of it, filled up in front to whole hops."""
        samples, hop = entry.window.samples, self.metadata.window_hop_samples
        if follows:
            yield _Step(entry.memory, samples[-hop:], begins=False, scores=index)
            return
        missing = -len(samples) % hop
        filled = np.concatenate([np.zeros((missing, samples.shape[1]), np.float32), samples])
        pieces = filled.reshape(-1, hop, samples.shape[1])
        for number, piece in enumerate(pieces):
            yield _Step(entry.memory, piece, begins=number == 0, scores=index if number == len(pieces) - 1 else None)

    def _take(self, turn: Sequence[_Step], found: Outputs) -> None:
        """Run one step of each of several streams; write scores to their rows of `found`."""
        nothing = np.zeros(self._info.state_size, np.float32)
        inputs = {
            "samples": self._laid_out(np.stack([step.samples for step in turn])),
            "state": np.stack([nothing if step.begins else step.memory.state for step in turn]),
        }
        _, called_for = self._tensors_called_for()
        *outputs, states = self._run(inputs, called_for)
        for step, state in zip(turn, states, strict=True):
            step.memory.state = state.copy()
        rows = [row for row, step in enumerate(turn) if step.scores is not None]
        windows = [step.scores for step in turn if step.scores is not None]
        for name, values in zip(OUTPUT_NAMES, outputs, strict=True):
            found[name][windows] = values[rows]
