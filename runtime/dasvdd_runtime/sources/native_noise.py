"""What PortAudio and ALSA write on standard error themselves, left out; everything else that is written there stays.

Each try to open a device that is away costs half a dozen such lines, for ever; the fault that PortAudio raises says the
same once. They are written by C to the file descriptor, where no Python object sees them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

STANDARD_ERROR = 2
_NOISE = re.compile(
    rb"ALSA lib |Expression '|jack server |Cannot connect to server |JackShmReadWritePtr|connect\(2\) call"
)


@contextmanager
def native_noise_left_out() -> Iterator[None]:
    """While entered, standard error is held back; at the end what is not noise is written. One thread at a time."""
    held = os.memfd_create("standard error")
    own = os.dup(STANDARD_ERROR)
    os.dup2(held, STANDARD_ERROR)
    try:
        yield
    finally:
        os.dup2(own, STANDARD_ERROR)
        _write_rest(os.pread(held, os.fstat(held).st_size, 0))
        os.close(own)
        os.close(held)


def _write_rest(held: bytes) -> None:
    lines = held.splitlines(keepends=True)
    quiet = any(map(_NOISE.match, lines))
    # The message of a PortAudio line ends in an empty line of its own.
    rest = b"".join(line for line in lines if not (_NOISE.match(line) or (quiet and not line.strip())))
    while rest:
        rest = rest[os.write(STANDARD_ERROR, rest) :]
