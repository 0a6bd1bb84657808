"""MIMII: 10-second recordings of fans, pumps, slide rails and valves, 8 channels at 16 kHz; DCASE's layout too.

Publisher: `<snr>_<machine>/<machine>/id_XX/{normal,abnormal}/*.wav`, for instance `6_dB_fan/fan/id_00`. DCASE:
`<machine>/train/normal_id_00_*.wav` and `<machine>/test/{normal,anomaly}_id_00_*.wav`; later years say `section_00` and
put the label further back. A class is one machine, a row a log-mel feature vector, and a test item a recording.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from dasvdd_runtime.recordings import read_signal
from numpy.typing import NDArray

from ...features import frame_table
from ...front_ends import LogMel
from .split import DataFileError, DataSetMissing, OneClassSplit

PUBLISHED = "https://zenodo.org/records/3384388"
SAMPLE_RATE_HZ = 16_000
MEL_BANDS = 128
STACKED_FRAMES = 5
DCASE_FILE = re.compile(
    r"(?P<first>normal|anomaly)_(?P<id>id_\d+)_.*|(?P<section>section_\d+)_.*_(?P<later>normal|anomaly)_.*"
)


@dataclass
class MachineRecordings:
    """The recordings of one machine; `test` parts are empty where the publisher gives no split."""

    normal: list[Path] = field(default_factory=list)
    abnormal: list[Path] = field(default_factory=list)
    test_normal: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class Mimii:
    """All machines that were found."""

    machines: dict[str, MachineRecordings]
    seeded: bool = field(default=True, init=False)
    image_shape: tuple[int, ...] | None = field(default=None, init=False)

    @property
    def class_names(self) -> tuple[str, ...]:
        """For instance '6_dB_fan/id_00'."""
        return tuple(sorted(self.machines))

    def split(self, class_name: str, *, seed: int) -> OneClassSplit:
        """MIMII's own protocol: all abnormal recordings and as many normal ones to test on, the other normal to train.

        At most half of the normal recordings are tested on. DCASE's layout has its own split. Raises DataFileError.
        """
        machine = self.machines[class_name]
        train, test_normal = machine.normal, machine.test_normal
        if not test_normal:
            order = np.random.default_rng(seed).permutation(len(train))
            held_out = order[: min(len(machine.abnormal), len(order) // 2)]
            test_normal = [train[i] for i in sorted(held_out)]
            train = [train[i] for i in sorted(set(order) - set(held_out))]
        test = [feature_vectors_of(path) for path in [*test_normal, *machine.abnormal]]
        return OneClassSplit(
            np.concatenate([feature_vectors_of(path) for path in train]),
            np.concatenate(test),
            np.arange(len(test)) >= len(test_normal),
            np.repeat(np.arange(len(test)), [len(rows) for rows in test]),
        )


def load_mimii(folder: Path) -> Mimii:
    """Every machine in `folder`, in either layout. Raises DataSetMissing; DataFileError if a kind is missing."""
    machines: dict[str, MachineRecordings] = {}
    for path in sorted(folder.rglob("*.wav")):
        _sort_in(path.relative_to(folder).parts, path, machines)
    if not machines:
        raise DataSetMissing(
            "mimii",
            wanted="6_dB_fan/fan/id_00/normal/*.wav or fan/train/normal_id_00_*.wav",
            folder=folder,
            published=PUBLISHED,
        )
    for name, machine in machines.items():
        if len(machine.normal) < 2 or not machine.abnormal:
            raise DataFileError(
                folder / name,
                f"{len(machine.normal)} normal and {len(machine.abnormal)} abnormal recordings, and both are needed",
            )
    return Mimii(machines)


def feature_vectors_of(path: Path) -> NDArray[np.float32]:
    """Feature vectors [n, 640] of a recording: stacks of 5 log-mel frames, side by side, in dB of a full-scale sine.

    Channel 0 of those there are. Raises RecordingError for a truncated file and DataFileError for another sample rate.
    """
    signal = read_signal(path)
    if signal.sample_rate_hz != SAMPLE_RATE_HZ:
        raise DataFileError(path, f"its sample rate is {signal.sample_rate_hz:g} Hz, MIMII's is {SAMPLE_RATE_HZ} Hz")
    frames: NDArray[np.float32] = frame_table(_front_end(), [signal.samples[:, :1]]).frames.numpy()
    count = len(frames) // STACKED_FRAMES
    if not count:
        raise DataFileError(path, f"{len(signal.samples)} samples are too few for one feature vector")
    return frames[: count * STACKED_FRAMES].reshape(count, STACKED_FRAMES * MEL_BANDS)


@functools.cache
def _front_end() -> LogMel:
    return LogMel(sample_rate_hz=SAMPLE_RATE_HZ, channels=1, n_fft=1024, frame_hop_samples=512, mel_bands=MEL_BANDS)


def _sort_in(parts: Sequence[str], path: Path, machines: dict[str, MachineRecordings]) -> None:
    """File `path`, which lies at `parts`, under its machine, if its name follows either layout."""
    if len(parts) >= 4 and parts[-2] in ("normal", "abnormal"):
        machine = machines.setdefault(f"{parts[-5] if len(parts) > 4 else parts[-4]}/{parts[-3]}", MachineRecordings())
        (machine.normal if parts[-2] == "normal" else machine.abnormal).append(path)
    elif len(parts) >= 3 and (match := DCASE_FILE.fullmatch(path.stem)):
        machine = machines.setdefault(f"{parts[-3]}/{match['id'] or match['section']}", MachineRecordings())
        if "anomaly" in (match["first"], match["later"]):
            machine.abnormal.append(path)
        else:
            (machine.test_normal if parts[-2].endswith("test") else machine.normal).append(path)
