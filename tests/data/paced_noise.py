"""A microphone for tests: 16-bit noise on standard output by the clock, loud for a part of every second.

python paced_noise.py SECONDS      (then it goes on, silently waiting, so that nothing has to end)
"""

from __future__ import annotations

import sys
import time

import numpy as np

RATE_HZ = 16000
BLOCKS = 20
"""A second."""


def main(seconds: float) -> None:
    """Write exactly `seconds` of noise, then nothing."""
    noise = np.random.default_rng(0).uniform(-1, 1, RATE_HZ)
    noise[: RATE_HZ // 2] *= 0.1
    noise[RATE_HZ // 2 :] *= 0.5
    blocks = np.split(np.round(32767 * noise).astype("<i2"), BLOCKS)
    begin_seconds = time.monotonic()
    for number in range(round(seconds * BLOCKS)):
        time.sleep(max(0.0, begin_seconds + (number + 1) / BLOCKS - time.monotonic()))
        sys.stdout.buffer.write(blocks[number % BLOCKS].tobytes())
        sys.stdout.buffer.flush()
    time.sleep(600)


if __name__ == "__main__":
    main(float(sys.argv[1]))
