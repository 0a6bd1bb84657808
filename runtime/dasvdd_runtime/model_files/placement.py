"""Where each node of a model really runs, by onnxruntime's own profile of the golden windows."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract import OUTPUT_NAMES, ModelMetadata, decode
from ..errors import ModelError, Unavailable
from .execution_providers import ExecutionProvider
from .onnxruntime_session import CPU_PROVIDER, first_line, open_file, session_options


@dataclass(frozen=True)
class Node:
    """One node of the graph as onnxruntime runs it, after its own fusions."""

    name: str
    operator: str
    provider: str
    """onnxruntime's name of where it ran."""
    whole_numbers: bool
    """Everything that it gives is of whole numbers or truth values: shapes and indexes, no arithmetic of scores."""


@dataclass(frozen=True)
class Placement:
    """Which nodes ran where, and where they should have."""

    asked: str
    """onnxruntime's name of the provider."""
    nodes: list[Node]

    @property
    def elsewhere(self) -> list[Node]:
        """Nodes with arithmetic of scores that ran on another provider than the one asked for."""
        return [node for node in self.nodes if node.provider != self.asked and not node.whole_numbers]

    def fault(self, *, allow_cpu: bool = False) -> str | None:
        """Why the provider was not really had; None where it was. `allow_cpu`: some nodes may run on the CPU."""
        elsewhere = self.elsewhere
        arithmetic = [node for node in self.nodes if not node.whole_numbers]
        if len(elsewhere) == len(arithmetic):
            return f"nothing ran on {self.asked}: onnxruntime fell back to the CPU without an error"
        if elsewhere and not (allow_cpu and {node.provider for node in elsewhere} == {CPU_PROVIDER}):
            where = ", ".join(sorted({node.provider for node in elsewhere}))
            return f"{len(elsewhere)} of {len(arithmetic)} nodes with arithmetic ran on {where}, not on {self.asked}"
        return None


def open_profiled(onnxruntime: Any, path: Path, provider: ExecutionProvider, threads: int) -> tuple[Any, Placement]:
    """A session on `provider` that has run the golden windows, profiling over, and where its nodes ran.

    onnxruntime's own way to refuse the CPU (session.disable_cpu_ep_fallback) is not enough: with it, onnxruntime
    1.24.1 opened an int8 file in ORT format for OpenVINO and ran five of eight nodes on the CPU. Raises Unavailable
    where no session opens or runs there, ModelError for a file without metadata.
    """
    os.environ.update(provider.environment)
    options = session_options(onnxruntime, threads)
    options.enable_profiling = True
    providers: list[Any] = [(provider.onnxruntime_name, provider.options)]
    if provider.onnxruntime_name != CPU_PROVIDER:
        providers.append(CPU_PROVIDER)
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        try:
            session = open_file(onnxruntime, path, options, providers)
            for inputs in golden_inputs(decode(session.get_modelmeta().custom_metadata_map)[0]):
                session.run(list(OUTPUT_NAMES), inputs)
        except ModelError:
            raise
        except Exception as error:  # onnxruntime's exceptions have no public base class
            raise Unavailable(f"{provider.onnxruntime_name} cannot be had here: {first_line(error)}") from error
        profile = Path(session.end_profiling()).read_text(encoding="utf-8")
    return session, Placement(provider.onnxruntime_name, read_profile(profile))


def golden_inputs(metadata: ModelMetadata) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Inputs of one row, laid out as the graph's: each golden window, or of a stream form each sequence's first hop."""
    if metadata.stream is None:
        for window in metadata.golden.windows():
            yield {"window": window[None]}
        return
    for sequence in metadata.stream.golden.samples():
        hop = sequence[None, : metadata.window_hop_samples]
        laid_out = hop.swapaxes(1, 2) if metadata.kind == "audio" else hop
        state = np.zeros((1, metadata.stream.state_size), np.float32)
        yield {"samples": np.ascontiguousarray(laid_out, np.float32), "state": state}


def read_profile(profile: str) -> list[Node]:
    """The nodes in a profile that onnxruntime wrote, each once. Raises ModelError where there is none in it."""
    nodes = {}
    for event in json.loads(profile):
        arguments = event.get("args", {})
        if event.get("cat") == "Node" and "provider" in arguments:
            name = event["name"].removesuffix("_kernel_time")
            outputs = [kind for output in arguments.get("output_type_shape", []) for kind in output]
            whole = bool(outputs) and all(kind.startswith(("int", "uint", "bool")) for kind in outputs)
            nodes[name] = Node(name, arguments.get("op_name", ""), arguments["provider"], whole)
    if not nodes:
        raise ModelError(
            "onnxruntime ran no node of the model, so nothing shows where it runs. Export the model again."
        )
    return list(nodes.values())
