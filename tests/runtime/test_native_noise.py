"""Lines that sound libraries write on standard error, in a child whose standard error is a real file descriptor."""

from __future__ import annotations

import subprocess
import sys

CHILD = """
import os, sys, threading
from dasvdd_runtime.sources.native_noise import native_noise_left_out
os.write(2, b"before\\n")
try:
    with native_noise_left_out():
        os.write(2, b"ALSA lib pcm.c:8570:(snd_pcm_recover) overrun occurred\\n")
        os.write(2, b"Expression 'r' failed in 'src/hostapi/alsa/pa_linux_alsa.c', line: 2097\\n\\n")
        other = threading.Thread(target=lambda: print("another thread's line", file=sys.stderr, flush=True))
        other.start()
        other.join()
        raise OSError("no device")
except OSError as error:
    print(error, file=sys.stderr, flush=True)
os.write(2, b"ALSA lib outside\\n")
"""


def test_only_the_noise_is_left_out() -> None:
    """What other threads write meanwhile appears, and so does all from before and after, a fault or none."""
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.splitlines() == ["before", "another thread's line", "no device", "ALSA lib outside"]
