"""Open an ONNX file in onnxruntime the way a device needs it: silent, single-threaded, on the provider asked for."""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata as distributions
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import InputMissing, ModelError, Unavailable
from .ort_graph import is_ort

Provider = Literal["auto", "cpu", "cuda"]
CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"
# TF32 rounds the front end's products to 10 bits, which moves log-mel bands by up to 3 dB.
CUDA_OPTIONS = {"use_tf32": "0"}
SEVERITY_FATAL_ONLY = 4

log = logging.getLogger(__name__)


def open_session(path: Path, *, provider: Provider, threads: int, content: bytes | None = None) -> Any:
    """An `onnxruntime.InferenceSession` for the file at `path`.

    `cuda` means that CUDA is obtained or an error (nodes that it leaves to the CPU are logged); `auto` means CUDA if it
    can be had, else the CPU. With `content`, that is opened, and the file at `path` is not read again.

    Raises InputMissing if there is no file, ModelError if onnxruntime cannot use it,
    Unavailable if onnxruntime or the provider cannot be had, ValueError for an unknown provider or no threads.
    """
    if provider not in get_args(Provider):
        raise ValueError(f"provider {provider!r}: must be one of {', '.join(get_args(Provider))}")
    if threads < 1:
        raise ValueError(f"threads = {threads}: must be at least 1")
    if not path.exists():
        raise InputMissing(f"there is no model file at {path}. Write one with dasvdd-export.")
    if path.is_dir():
        raise ModelError(f"{path} is a folder, not a model file. Name the .onnx file that dasvdd-export wrote.")
    if content is not None:
        with _as_file(content) as copy:
            return open_session(copy, provider=provider, threads=threads)
    onnxruntime = import_onnxruntime()
    conflict = conflicting_packages()
    if conflict:
        log.warning("%s", conflict)
    cuda_is_built_in = CUDA_PROVIDER in onnxruntime.get_available_providers()
    if provider == "cpu" or (provider == "auto" and not cuda_is_built_in):
        return _open_on_cpu(onnxruntime, path, threads)
    if not cuda_is_built_in:
        raise Unavailable(_no_cuda(f"this onnxruntime {onnxruntime.__version__} has no CUDA provider", conflict))
    try:
        return _open_on_cuda(onnxruntime, path, threads)
    except Exception as error:
        # A session that the CPU cannot open either is the model's fault: this raises ModelError then.
        cpu_session = _open_on_cpu(onnxruntime, path, threads)
        if provider == "auto":
            log.info("CUDA could not be had, scoring on the CPU: %s", first_line(error))
            return cpu_session
        raise Unavailable(_no_cuda(first_line(error), conflict)) from error


@contextmanager
def _as_file(content: bytes) -> Iterator[Path]:
    """`content` under a name, in memory: a session over bytes would keep them for as long as it lives."""
    with os.fdopen(os.memfd_create("model"), "wb") as file:
        file.write(content)
        file.flush()
        yield Path(f"/proc/self/fd/{file.fileno()}")


def release_free_memory() -> None:
    """Give memory that was needed only to open a model back to the system, which glibc otherwise keeps (5 MB)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
    if trim is not None:
        trim(0)


def import_onnxruntime() -> Any:
    """The onnxruntime module with its telemetry off. Raises Unavailable if it is not installed."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime

        onnxruntime.set_default_logger_severity(SEVERITY_FATAL_ONLY)
    except (ImportError, AttributeError) as error:
        raise Unavailable(
            f"onnxruntime cannot be imported ({first_line(error)}), and without it no model can be scored. "
            "Install it: pip install 'dasvdd[cpu]', or 'dasvdd[gpu]' on a machine with an NVIDIA GPU."
        ) from error
    return onnxruntime


def conflicting_packages() -> str | None:
    """What to do where onnxruntime and onnxruntime-gpu are installed at once, or None where they are not."""
    versions = {}
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            versions[name] = distributions.version(name)
        except distributions.PackageNotFoundError:
            return None
    installed = " and ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{installed} are both installed; they overwrite each other's files, so CUDA may be missing. Keep one: "
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'dasvdd[gpu]' (or 'dasvdd[cpu]')."
    )


def _open_on_cpu(onnxruntime: Any, path: Path, threads: int) -> Any:
    try:
        return _open(onnxruntime, path, session_options(onnxruntime, threads), [CPU_PROVIDER])
    except Exception as error:  # onnxruntime's exceptions have no public base class
        raise ModelError(
            f"{path} ({path.stat().st_size} bytes) cannot be opened as a model: {first_line(error)}. "
            "The file is damaged, cut short or no ONNX model: copy it again, or export it again."
        ) from error


def _open_on_cuda(onnxruntime: Any, path: Path, threads: int) -> Any:
    providers = [(CUDA_PROVIDER, CUDA_OPTIONS)]
    strict = session_options(onnxruntime, threads)
    # Without this, a missing CUDA library silently gives a CPU session.
    strict.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = _open(onnxruntime, path, strict, providers)
    except Exception as error:
        # onnxruntime also refuses where it would put only the arithmetic on shapes on the CPU, which is harmless.
        session = _open(onnxruntime, path, session_options(onnxruntime, threads), [*providers, CPU_PROVIDER])
        if session.get_providers()[0] == CUDA_PROVIDER:
            log.warning("CUDA was obtained, but some nodes of %s run on the CPU: %s", path, first_line(error))
    if session.get_providers()[0] != CUDA_PROVIDER:
        raise RuntimeError(f"onnxruntime gave {session.get_providers()[0]} where {CUDA_PROVIDER} was asked for")
    return session


def _open(onnxruntime: Any, path: Path, options: Any, providers: list[Any]) -> Any:
    with path.open("rb") as file:
        if is_ort(file.read(8)):  # by itself onnxruntime goes by the name
            options.add_session_config_entry("session.load_model_format", "ORT")
    # With its own fallback on, onnxruntime prints to standard output and tries again on the CPU.
    return onnxruntime.InferenceSession(str(path), sess_options=options, providers=providers, enable_fallback=0)


def session_options(onnxruntime: Any, threads: int) -> Any:
    """Options for a quiet, flat session on `threads` threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Both keep memory from one shape for the next: off, a process stays flat for months.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = SEVERITY_FATAL_ONLY  # errors arrive as exceptions
    return options


def _no_cuda(reason: str, conflict: str | None) -> str:
    remedy = conflict or (
        "Install it with pip install 'dasvdd[gpu]' (after pip uninstall onnxruntime) and NVIDIA's driver and CUDA "
        'libraries, or set the provider to "cpu" or "auto".'
    )
    return f"the CUDA provider was asked for but cannot be had: {reason}. {remedy}"


def first_line(error: BaseException) -> str:
    """The first line of what onnxruntime says, without its prefix."""
    text = str(error).strip() or type(error).__name__
    line = text.splitlines()[0].removeprefix("[ONNXRuntimeError] : ")
    return line[:300].rstrip(". ")
