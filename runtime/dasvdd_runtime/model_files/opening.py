"""Open a model file on the provider asked for, and nowhere else."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile

from ..errors import InputMissing, ModelError, Unavailable
from .execution_providers import (
    AUTO,
    PROVIDERS,
    ExecutionProvider,
    conflicting_packages,
    provider_named,
    require_built_in,
)
from .onnxruntime_session import CPU_PROVIDER, as_file, import_onnxruntime, open_on_cpu
from .placement import open_profiled

log = logging.getLogger(__name__)


class Opened(NamedTuple):
    """An `onnxruntime.InferenceSession` and the provider that it was opened for."""

    session: Any
    provider: ExecutionProvider


def open_session(path: Path, *, provider: str, threads: int, content: bytes | None = None) -> Opened:
    """A session for the file at `path`. With `content`, that is opened, and the file is not read again.

    `provider` is a name that execution_providers knows: an error unless all arithmetic of the file's golden windows
    really runs there. 'auto' takes CUDA if it can be had so, else the CPU, and logs which.

    Raises InputMissing if there is no file, ModelError if onnxruntime cannot use it, Unavailable if onnxruntime or the
    provider cannot be had, ConfigError for an unknown provider, ValueError for no threads.
    """
    if threads < 1:
        raise ValueError(f"threads = {threads}: must be at least 1")
    wanted = None if provider == AUTO else provider_named(provider)
    if not path.exists():
        raise InputMissing(f"there is no model file at {path}. Write one with dasvdd-export.")
    if path.is_dir():
        raise ModelError(f"{path} is a folder, not a model file. Name the .onnx file that dasvdd-export wrote.")
    if content is None and is_torch_file(path):
        raise ModelError(
            f"{path}: this is a model.pt, which training continues from and nothing runs. Make a model.onnx of it "
            f"first: dasvdd-export {path}"
        )
    if content is not None:
        with as_file(content) as copy:
            try:
                return open_session(copy, provider=provider, threads=threads)
            except (ModelError, Unavailable) as error:  # the copy's name says nothing to anybody
                raise type(error)(str(error).replace(str(copy), str(path))) from error
    onnxruntime = import_onnxruntime()
    conflict = conflicting_packages()
    if conflict:
        log.warning("%s", conflict)
    if wanted is None:
        return _open_on_the_best(onnxruntime, path, threads)
    return Opened(_open_on(onnxruntime, path, wanted, threads), wanted)


def is_torch_file(path: Path) -> bool:
    """The file is what torch saves, a zip that holds a pickle. Nothing of it is loaded."""
    try:
        with ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except (BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def _open_on_the_best(onnxruntime: Any, path: Path, threads: int) -> Opened:
    cuda, cpu = PROVIDERS["cuda"], PROVIDERS["cpu"]
    if cuda.onnxruntime_name in onnxruntime.get_available_providers():
        try:
            session = _open_on(onnxruntime, path, cuda, threads)
        except Unavailable as error:
            log.warning("provider auto: the CPU scores, for CUDA cannot be had: %s", error)
            return Opened(open_on_cpu(onnxruntime, path, threads), cpu)
        log.info("provider auto: CUDA scores")
        return Opened(session, cuda)
    log.info("provider auto: the CPU scores; this onnxruntime has no CUDA")
    return Opened(open_on_cpu(onnxruntime, path, threads), cpu)


def _open_on(onnxruntime: Any, path: Path, provider: ExecutionProvider, threads: int) -> Any:
    if provider.onnxruntime_name == CPU_PROVIDER:
        return open_on_cpu(onnxruntime, path, threads)
    require_built_in(onnxruntime, provider)
    try:
        session, placement = open_profiled(onnxruntime, path, provider, threads)
    except Unavailable:
        open_on_cpu(onnxruntime, path, threads)  # a file that the CPU cannot open either is at fault itself
        raise
    fault = placement.fault()
    if fault:
        raise Unavailable(
            f"{provider.onnxruntime_name} was asked for but cannot be had for {path}: {fault}. dasvdd-monitor verify "
            'lists the nodes. Mend that, or set the provider to "cpu" or "auto".'
        )
    return session
