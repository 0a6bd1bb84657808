"""Where onnxruntime can run a graph: one entry a provider, here or registered by another package.

Another distribution adds one with an entry point of the group `dasvdd.execution_providers` whose name is what
`provider` and `--provider` take, and whose object is an ExecutionProvider:

    [project.entry-points."dasvdd.execution_providers"]
    myriad = "my_package.dasvdd:PROVIDER"
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Any

from ..errors import ConfigError, Unavailable, nearest
from .onnxruntime_session import CPU_PROVIDER, first_line

ENTRY_POINTS = "dasvdd.execution_providers"
AUTO = "auto"
"""Takes CUDA if it can be had, else the CPU."""


@dataclass(frozen=True)
class ExecutionProvider:
    """One provider, set so that it computes in full single precision: no TF32, no fp16, no bf16."""

    onnxruntime_name: str
    package: str
    """The Python package whose onnxruntime has it."""
    extra: str | None = None
    """The extra of dasvdd that installs the package."""
    options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    """What must be in the environment before its libraries are loaded."""
    relative_tolerance: float | None = None
    """Largest relative difference of a golden score; None for the one in the model file."""


NO_TF32 = {"NVIDIA_TF32_OVERRIDE": "0"}

PROVIDERS: dict[str, ExecutionProvider] = {
    "cpu": ExecutionProvider(CPU_PROVIDER, "onnxruntime", "cpu"),
    # TF32 rounds the front end's products to 10 bits, which moves log-mel bands by up to 3 dB.
    "cuda": ExecutionProvider("CUDAExecutionProvider", "onnxruntime-gpu", "gpu", {"use_tf32": "0"}, NO_TF32),
    # It fuses the graph and chooses kernels by their speed; half precision or TF32 is off by far more than 1e-3.
    "tensorrt": ExecutionProvider(
        "TensorrtExecutionProvider", "onnxruntime-gpu", "gpu", {"trt_fp16_enable": "0"}, NO_TF32, 1e-3
    ),
    "openvino": ExecutionProvider(
        "OpenVINOExecutionProvider", "onnxruntime-openvino", "openvino", {"device_type": "CPU", "precision": "FP32"}
    ),
    "xnnpack": ExecutionProvider("XnnpackExecutionProvider", "an onnxruntime built with --use_xnnpack"),
}
"""Those that the toolkit brings, by the name that `provider` and `--provider` take; no registration replaces one."""


def unknown_provider(name: str) -> str | None:
    """What is wrong with `name`; None for a provider of the toolkit and for one that a package registers."""
    if name in PROVIDERS or entry_points(group=ENTRY_POINTS, name=name):
        return None
    known = [*PROVIDERS, *sorted(entry_points(group=ENTRY_POINTS).names)]
    meant = " Did you mean 'cuda'?" if name == "gpu" else nearest(name, known)
    return f"provider '{name}' is not known.{meant} Known: {', '.join(known)}"


def provider_named(name: str) -> ExecutionProvider:
    """The provider of that name.

    Raises ConfigError for a name that is not known or that two packages register, Unavailable where what a package
    registers cannot be imported or is no ExecutionProvider.
    """
    if name in PROVIDERS:
        return PROVIDERS[name]
    unknown = unknown_provider(name)
    if unknown:
        raise ConfigError(unknown)
    found = list(entry_points(group=ENTRY_POINTS, name=name))
    if len(found) > 1:
        packages = ", ".join(_package_of(entry) for entry in found)
        raise ConfigError(f"provider '{name}' is registered by several packages ({packages}). Uninstall all but one.")
    return _load(found[0])


def _load(entry: EntryPoint) -> ExecutionProvider:
    try:
        provider = entry.load()
    except Exception as error:  # whatever a foreign package raises when it is imported
        raise Unavailable(
            f"provider '{entry.name}', which the package {_package_of(entry)} registers, cannot be imported from "
            f"{entry.value} ({type(error).__name__}: {first_line(error)}). Install it again, or another version."
        ) from error
    if not isinstance(provider, ExecutionProvider):
        raise Unavailable(
            f"provider '{entry.name}': {entry.value} of the package {_package_of(entry)} is a "
            f"{type(provider).__name__}, not an ExecutionProvider. Ask its author for a version for this dasvdd."
        )
    return provider


def _package_of(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "of unknown name"


def require_built_in(onnxruntime: Any, provider: ExecutionProvider) -> None:
    """Raise Unavailable, with what is installed and what brings it, unless this onnxruntime has `provider`."""
    available = onnxruntime.get_available_providers()
    if provider.onnxruntime_name in available:
        return
    installed = installed_packages([provider.package])
    here = " and ".join(f"{name} {number}" for name, number in installed.items()) or "of no known package"
    remedy = (
        f"pip uninstall -y {' '.join(installed)} && pip install 'dasvdd[{provider.extra}]'"
        if provider.extra
        else "install that in place of the onnxruntime that is here"
    )
    raise Unavailable(
        f"{provider.onnxruntime_name} was asked for but cannot be had: this onnxruntime {onnxruntime.__version__} "
        f"({here}) has only {', '.join(available)}. It comes with {provider.package}: {remedy}. "
        'Or set the provider to "cpu" or "auto".'
    )


def installed_packages(more: Iterable[str] = ()) -> dict[str, str]:
    """Version by name of the packages with an onnxruntime that are installed: those of the table, and of `more`."""
    found = {}
    for name in dict.fromkeys([*(provider.package for provider in PROVIDERS.values()), *more]):
        try:
            found[name] = version(name)
        except (PackageNotFoundError, ValueError):
            continue
    return found


def conflicting_packages() -> str | None:
    """What to do where several packages with an onnxruntime are installed at once, or None where they are not."""
    installed = installed_packages()
    if len(installed) < 2:
        return None
    listed = " and ".join(f"{name} {number}" for name, number in installed.items())
    extras = dict.fromkeys(p.extra for p in PROVIDERS.values() if p.package in installed and p.extra)
    return (
        f"{listed} are both installed; they overwrite each other's files, so a provider may be missing. Keep one: "
        f"pip uninstall -y {' '.join(installed)} && pip install "
        + " (or ".join(f"'dasvdd[{extra}]'" for extra in extras)
        + ")" * (len(extras) - 1)
        + "."
    )
