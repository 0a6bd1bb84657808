"""The versions of this software and of what computes."""

from __future__ import annotations

import platform

from . import __version__
from .model_files.execution_providers import installed_packages


def versions() -> dict[str, str]:
    """Of this software, and of what computes."""
    return {
        "dasvdd": __version__,
        "onnxruntime": next(iter(installed_packages().values()), "unknown"),
        "python": platform.python_version(),
    }
