"""What the tests of evidence share: a recording with a fault in it, configurations, and a look at what was kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE_HZ = 16000
REPLAY = '[model]\npath = "model.onnx"\n[[source]]\nname = "pump7"\nkind = "file"\npath = "a.wav"\n'
STDIN = '[model]\npath = "model.onnx"\n[[source]]\nname = "pump7"\nkind = "stdin"\nformat = "s16le"\n'
STATE = '[state]\ndirectory = "state"\n'
AUDIO = '[evidence]\nmode = "audio"\ndirectory = "clips"\npre_seconds = 2\npost_seconds = 3\n'


def noise(seconds: float, *, amplitude: float = 0.1, seed: int = 0) -> NDArray[np.int16]:
    """Audio as 16-bit files hold it, [samples, 1]."""
    random = np.random.default_rng(seed)
    return np.round(32767 * amplitude * random.uniform(-1, 1, (round(seconds * RATE_HZ), 1))).astype(np.int16)


FAULT = np.concatenate([noise(10), noise(4, amplitude=0.5), noise(15, seed=1)])


def whole(folder: Path) -> int:
    """The number of clips that are listed, each of which must be whole."""
    for path in (sidecars := list(folder.glob("*.json"))):
        sidecar = json.loads(path.read_text())
        assert soundfile.info(folder / sidecar["file"]).frames == round(sidecar["seconds"] * RATE_HZ)
    return len(sidecars)
