"""Lines that sound libraries write on standard error, in a child whose standard error is a real file descriptor."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

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


LOGGING_CHILD = """
import logging, threading, time
from dasvdd_runtime.logs import about, log_to_stderr
from dasvdd_runtime.sources.microphone import list_input_devices
log_to_stderr()
log, done, numbers = logging.getLogger("dasvdd_runtime.test"), threading.Event(), iter(range(10**6))
def talk():
    while not done.is_set():
        number = next(numbers)
        log.warning("line %d", number, extra=about(str(number)))
        time.sleep(0.001)
talker = threading.Thread(target=talk)
talker.start()
for _ in range(3):
    list_input_devices()
done.set()
talker.join()
"""


def test_no_line_of_the_log_is_lost_while_portaudio_starts(require_library: Callable[[str], str]) -> None:
    """sounddevice sends descriptor 2 to /dev/null meanwhile; an alarm of another source is in the log all the same."""
    require_library("portaudio")
    done = subprocess.run([sys.executable, "-c", LOGGING_CHILD], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("WARNING: line ")]
    assert lines == [f"WARNING: line {number}" for number in range(len(lines))] and len(lines) > 10
