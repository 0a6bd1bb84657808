"""The versions of this software and of what computes."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from . import __version__


def versions() -> dict[str, str]:
    """Of this software, and of what computes."""
    return {
        "dasvdd": __version__,
        "onnxruntime": _onnxruntime_version(),
        "python": platform.python_version(),
    }


def _onnxruntime_version() -> str:
    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "unknown"
