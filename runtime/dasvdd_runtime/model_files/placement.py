"""Where each node of a model really runs, and whether its scores hold there."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError, DasvddError, ModelError, Unavailable, nearest
from ..stream_scorer import scorer_over
from .execution_providers import PROVIDERS, ExecutionProvider
from .onnxruntime_session import CPU_PROVIDER, first_line, import_onnxruntime, open_session, session_options


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
class Verification:
    """What a run of the golden windows on a provider showed."""

    provider: ExecutionProvider
    nodes: list[Node]
    relative_tolerance: float
    golden_difference: float | None
    """Largest relative difference from the stored scores; None where they do not repeat."""
    golden_fault: str | None

    @property
    def elsewhere(self) -> list[Node]:
        """Nodes with arithmetic of scores that ran on another provider than the one asked for."""
        asked = self.provider.onnxruntime_name
        return [node for node in self.nodes if node.provider != asked and not node.whole_numbers]

    def faults(self, *, allow_cpu: bool) -> list[str]:
        """Why the provider does not hold; empty where it does. `allow_cpu`: some nodes may run on the CPU."""
        name, elsewhere = self.provider.onnxruntime_name, self.elsewhere
        arithmetic = [node for node in self.nodes if not node.whole_numbers]
        faults = []
        if len(elsewhere) == len(arithmetic):
            faults.append(f"nothing ran on {name}: onnxruntime fell back to the CPU without an error")
        elif elsewhere and not (allow_cpu and {node.provider for node in elsewhere} == {CPU_PROVIDER}):
            where = ", ".join(sorted({node.provider for node in elsewhere}))
            faults.append(f"{len(elsewhere)} of {len(arithmetic)} nodes with arithmetic ran on {where}, not on {name}")
        if self.golden_fault is not None:
            faults.append(self.golden_fault)
        return faults


def verify_provider(path: Path, name: str) -> Verification:
    """Score the golden windows of the model at `path` on the provider `name`, and see where each node ran.

    Raises ConfigError for a name that is not in the table, Unavailable where this onnxruntime or this machine does not
    have the provider, InputMissing and ModelError as Scorer does.
    """
    if name not in PROVIDERS:
        raise ConfigError(
            f"provider '{name}' is not known.{nearest(name, list(PROVIDERS))} Known: {', '.join(PROVIDERS)}"
        )
    provider = PROVIDERS[name]
    # A file that the CPU cannot open either is at fault itself, and not the provider.
    metadata = scorer_over(open_session(path, provider="cpu", threads=1), path).metadata
    tolerance = provider.relative_tolerance or metadata.golden_of_form.relative_tolerance
    difference, fault = None, None
    with tempfile.TemporaryDirectory() as folder:
        session = _open_profiled(path, provider, Path(folder))
        scorer = scorer_over(session, path)
        try:
            difference = scorer.verify_golden(relative_tolerance=tolerance)
        except DasvddError as error:
            fault = str(error)
        profile = Path(session.end_profiling()).read_text(encoding="utf-8")
    return Verification(provider, read_profile(profile), tolerance, difference, fault)


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


def _open_profiled(path: Path, provider: ExecutionProvider, folder: Path) -> Any:
    os.environ.update(provider.environment)
    onnxruntime = import_onnxruntime()
    if provider.onnxruntime_name not in onnxruntime.get_available_providers():
        have = ", ".join(onnxruntime.get_available_providers())
        raise Unavailable(
            f"this onnxruntime {onnxruntime.__version__} has no {provider.onnxruntime_name}, only {have}. "
            f"It comes with {provider.package}; install that in place of the onnxruntime that is here."
        )
    options = session_options(onnxruntime, threads=1)
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    providers: list[Any] = [(provider.onnxruntime_name, provider.options)]
    if provider.onnxruntime_name != CPU_PROVIDER:
        providers.append(CPU_PROVIDER)
    try:
        session = onnxruntime.InferenceSession(str(path), sess_options=options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions have no public base class
        raise Unavailable(f"{provider.onnxruntime_name} cannot be had here: {first_line(error)}") from error
    return session
