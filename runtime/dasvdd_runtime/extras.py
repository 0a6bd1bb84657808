"""Optional parts of the distribution: one clear line where a part is not installed."""

from __future__ import annotations

import importlib.util

from .errors import Unavailable


def require(program: str, extra: str, modules: tuple[str, ...]) -> None:
    """Raise Unavailable, with the pip command, if one of `modules` is not installed."""
    missing = [module for module in modules if not _installed(module)]
    if missing:
        raise Unavailable(
            f"{program} needs {', '.join(missing)}, which this Python does not have. "
            f"Install it with: pip install 'dasvdd[{extra}]'"
        )


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in is not there either
        return False
