"""A model file, opened: what its two forms share. `scorer` and `stream_scorer` score with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..contract import OUTPUT_NAMES, ModelMetadata, decode
from ..errors import DasvddError, ModelError
from ..golden import relative_differences
from .execution_providers import ExecutionProvider
from .opening import open_session

Outputs = dict[str, NDArray[np.float64]]
"""The graph's outputs by name, batch first."""


class OpenedModel:
    """A model file, opened for scoring.

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
    def over(cls, session: Any, path: str | Path, provider: ExecutionProvider) -> Self:
        """One over an open session of the file at `path` on `provider`. Raises ModelError as the constructor."""
        opened = cls.__new__(cls)
        opened._use(session, path, provider)
        return opened

    @property
    def golden_tolerance(self) -> float:
        """Largest relative difference of a golden score: the provider's where it has one, else the file's.

        An int8 or fp16 file is allowed its own where that is the larger.
        """
        of_file, of_provider = self.metadata.golden_of_form.relative_tolerance, self._provider_tolerance
        if of_provider is None:
            return of_file
        return max(of_provider, of_file) if self.metadata.variant else of_provider

    def tensors(self) -> tuple[dict[str, str], dict[str, str]]:
        """Type and shape of the graph's inputs and of its outputs, by name, for people."""
        inputs, outputs = (
            {node.name: f"{node.type} {node.shape}" for node in nodes}
            for nodes in (self._session.get_inputs(), self._session.get_outputs())
        )
        return inputs, outputs

    def _use(self, session: Any, path: str | Path, provider: ExecutionProvider) -> None:
        self._session = session
        self._provider_tolerance = provider.relative_tolerance
        self.provider = session.get_providers()[0]
        try:
            self.metadata, self.unknown_fields = decode(session.get_modelmeta().custom_metadata_map)
            self._require_form(Path(path))
            inputs, outputs = self._tensors_called_for()
            _check_inputs(session, inputs)
            _check_outputs(session, outputs)
        except UnicodeDecodeError as error:
            raise ModelError(f"the text in {path} is damaged ({error}). Copy the file again.") from error

    def _require_form(self, path: Path) -> None:
        """Raise ModelError where the file at `path` is another form of a model."""
        raise NotImplementedError

    def _tensors_called_for(self) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """Shapes, without the batch, of the inputs and outputs that the metadata calls for."""
        raise NotImplementedError

    def _outputs_called_for(self) -> dict[str, list[int]]:
        """Those of every form."""
        return {name: [len(self.metadata.residual_names)] if name == "residual" else [] for name in OUTPUT_NAMES}

    def _samples_shape(self, samples: int) -> list[int]:
        """Shape of so many samples as the graph takes them."""
        channels = self.metadata.channels
        return [channels, samples] if self.metadata.kind == "audio" else [samples, channels]

    def _laid_out(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """`samples` [batch, samples, channels] as the graph takes them."""
        return np.ascontiguousarray(samples.swapaxes(1, 2) if self.metadata.kind == "audio" else samples, np.float32)

    def _run(self, inputs: Mapping[str, NDArray[np.float32]], called_for: Mapping[str, list[int]]) -> list[Any]:
        """The outputs in the order of `called_for`, as onnxruntime gives them, for `inputs` laid out as the graph's."""
        rows = len(next(iter(inputs.values())))
        try:
            outputs: list[Any] = self._session.run(list(called_for), dict(inputs))
        except Exception as error:  # onnxruntime's exceptions have no public base class
            raise DasvddError(
                f"scoring {rows} windows failed on {self.provider}: {error}. Run dasvdd-monitor check; if it "
                "fails there too, export the model again."
            ) from error
        for (name, shape), values in zip(called_for.items(), outputs, strict=True):
            if values.shape != (rows, *shape):
                raise ModelError(
                    f"the model's output '{name}' has shape {values.shape} where {(rows, *shape)} belongs. "
                    "Export the model again."
                )
        return outputs

    def _golden_difference(self, scores: NDArray[np.float64], stored: NDArray[np.float64], allowed: float) -> float:
        """Largest relative difference of golden windows' `scores` [windows]. Raises ModelError beyond `allowed`."""
        differences = relative_differences(scores, stored)
        worst = int(np.argmax(differences))
        difference = float(differences[worst])
        if difference > allowed:
            raise ModelError(
                f"golden window {worst + 1} of {len(stored)} scores {scores[worst]:.7g} on {self.provider}; the "
                f"exporter computed {stored[worst]:.7g} (relative difference {difference:.2g}, allowed "
                f"{allowed:.2g}). The file is damaged or this machine computes differently, so the "
                "threshold does not hold here: copy the file again, or try the provider cpu."
            )
        return difference


def _check_inputs(session: Any, called_for: dict[str, list[int]]) -> None:
    """Raise ModelError unless the graph takes what the contract and the metadata state."""
    inputs = [(node.name, node.type, _fixed(node.shape)) for node in session.get_inputs()]
    expected = [(name, "tensor(float)", [None, *shape]) for name, shape in called_for.items()]
    if inputs != expected:
        raise ModelError(
            f"the model's graph takes {inputs} where its metadata calls for {expected}. Export the model again."
        )


def _check_outputs(session: Any, called_for: dict[str, list[int]]) -> None:
    outputs = {node.name: (node.type, _fixed(node.shape)) for node in session.get_outputs()}
    for name, shape in called_for.items():
        if name not in outputs:
            raise ModelError(f"the model's graph has no output '{name}', only {sorted(outputs)}. Export it again.")
        kind, found = outputs[name]
        # The exporter may leave the number of bands dynamic; it is checked again at every run.
        if kind != "tensor(float)" or found not in ([None, *shape], [None] * (1 + len(shape))):
            raise ModelError(
                f"the model's output '{name}' is {kind} {found} where tensor(float) {[None, *shape]} belongs. "
                "Export it again."
            )


def _fixed(shape: list[Any]) -> list[int | None]:
    """`shape` with None for each named, that is dynamic, dimension."""
    return [dim if isinstance(dim, int) else None for dim in shape]
