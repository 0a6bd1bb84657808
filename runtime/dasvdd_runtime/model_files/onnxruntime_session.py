"""onnxruntime the way a device needs it: silent, without telemetry, on few threads."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ModelError, Unavailable
from .ort_graph import is_ort

CPU_PROVIDER = "CPUExecutionProvider"
SEVERITY_FATAL_ONLY = 4


@contextmanager
def as_file(content: bytes) -> Iterator[Path]:
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


def open_on_cpu(onnxruntime: Any, path: Path, threads: int) -> Any:
    """A session on the CPU. Raises ModelError where onnxruntime cannot open the file there."""
    try:
        return open_file(onnxruntime, path, session_options(onnxruntime, threads), [CPU_PROVIDER])
    except Exception as error:  # onnxruntime's exceptions have no public base class
        raise ModelError(
            f"{path} ({path.stat().st_size} bytes) cannot be opened as a model: {first_line(error)}. "
            "The file is damaged, cut short or no ONNX model: copy it again, or export it again."
        ) from error


def open_file(onnxruntime: Any, path: Path, options: Any, providers: list[Any]) -> Any:
    """A session over a file in ONNX or ORT format, whatever its name, on `providers`. Raises what onnxruntime does."""
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


def first_line(error: BaseException) -> str:
    """The first line of what onnxruntime says, without its prefix."""
    text = str(error).strip() or type(error).__name__
    line = text.splitlines()[0].removeprefix("[ONNXRuntimeError] : ")
    return line[:300].rstrip(". ")
