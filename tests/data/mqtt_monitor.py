"""A monitor that is in alarm after a second, and tells a broker of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 16000


def write_recording(folder: Path) -> None:
    """Write a.wav: a second of quiet, then two minutes that the tiny model with the threshold 0.02 calls an alarm."""
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, 120 * RATE_HZ).astype(np.float32)
    samples[RATE_HZ:] *= 8
    soundfile.write(folder / "a.wav", samples, RATE_HZ)


def write_config(path: Path, port: int, *sources: str, mqtt: str, more: str = "") -> None:
    """Write monitor.toml of `sources` that play a.wav. `mqtt`: lines of `[mqtt]`; `more`: lines of other tables."""
    tables = "".join(f'[[source]]\nname = "{n}"\nkind = "file"\npath = "a.wav"\npace = "real-time"\n' for n in sources)
    path.write_text(
        f'[model]\npath = "model.onnx"\n{tables}{more}\n[mqtt]\nhost = "127.0.0.1"\nport = {port}\n{mqtt}\n'
    )
