"""A small disk for a child: a tmpfs that it alone sees."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1] / "runtime"
ENTER = ["unshare", "--mount", "--map-root-user"]
ON_IT = 'mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@"'


def run_on_small_disk(folder: Path, options: str, *arguments: object) -> str:
    """What Python with `arguments` prints, for which `folder` is a tmpfs with these mount `options`. It must end well.

    It can import the tests. Skips the test where no tmpfs can be mounted.
    """
    folder.mkdir(exist_ok=True)
    if not shutil.which("unshare") or subprocess.run([*ENTER, "mount", "-t", "tmpfs", "x", folder]).returncode:
        pytest.skip("no tmpfs can be mounted in a namespace of its own here")
    done = subprocess.run(
        [*ENTER, "sh", "-c", ON_IT, "sh", options, folder, sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
