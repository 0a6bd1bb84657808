"""What `check` says of a capture: each physical cause gives its own finding, and a like capture none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.signal
from dasvdd_runtime.condition.comparison import compare_capture
from dasvdd_runtime.condition.levels import baseline_of
from dasvdd_runtime.contract import ModelMetadata
from numpy.typing import NDArray

RATE_HZ = 16000
Samples = NDArray[np.float32]


def machine(seconds: float, *, seed: int) -> Samples:
    """Coloured noise at about -44 dBFS whose level drifts by +-6 dB over 20 s, [samples, 1]."""
    random = np.random.default_rng(seed)
    times = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    noise = scipy.signal.lfilter([1.0], [1.0, -0.9], random.standard_normal(len(times)))
    drift = 10 ** (6 * np.sin(2 * np.pi * times / 20) / 20)
    return (0.002 * noise * drift)[:, None].astype(np.float32)


@pytest.fixture(scope="module")
def trained() -> Samples:
    """A minute of training audio."""
    return machine(60, seed=1)


def audio_model(tiny_model: Any, trained: Samples) -> ModelMetadata:
    """Metadata whose baseline is that of `trained`."""
    metadata: ModelMetadata = tiny_model.metadata(
        baseline=baseline_of([trained], RATE_HZ, kind="audio", used_channels=[0])
    )
    return metadata


def verdicts(samples: Samples, metadata: ModelMetadata) -> dict[str, str]:
    """Subject -> verdict of all findings that are not ok."""
    return {f.subject: f.verdict for f in compare_capture(samples, metadata) if f.verdict != "ok"}


def test_the_same_machine_again_is_ok(tiny_model: Any, trained: Samples) -> None:
    """Ten fresh seconds of what was trained on give three findings, all ok."""
    findings = compare_capture(machine(10, seed=2), audio_model(tiny_model, trained))
    assert [(f.verdict, f.subject) for f in findings] == [
        ("ok", "clipping"),
        ("ok", "level"),
        ("ok", "gain control"),
    ]


@pytest.mark.parametrize("gain_db", [20, -20])
def test_another_gain_is_named_with_its_decibels(tiny_model: Any, trained: Samples, gain_db: int) -> None:
    """Ten times the amplitude, or a tenth, is 20 dB in every band, and the text says which way to turn the gain."""
    samples = machine(20, seed=2) * np.float32(10 ** (gain_db / 20))
    metadata = audio_model(tiny_model, trained)
    assert verdicts(samples, metadata) == {"gain": "warning"}
    text = next(f.text for f in compare_capture(samples, metadata) if f.subject == "gain")
    assert f"{'down' if gain_db > 0 else 'up'} by 20 dB" in text


def test_another_microphone_bends_the_spectrum(tiny_model: Any, trained: Samples) -> None:
    """A telephone's band (300 to 3400 Hz) is a wrong spectrum, not a wrong gain."""
    telephone = scipy.signal.butter(4, [300, 3400], "bandpass", fs=RATE_HZ, output="sos")
    samples = scipy.signal.sosfilt(telephone, machine(20, seed=2), axis=0).astype(np.float32)
    assert verdicts(samples, audio_model(tiny_model, trained)) == {"spectrum": "warning"}


def test_automatic_gain_control_is_suspected(tiny_model: Any, trained: Samples) -> None:
    """A capture whose level is held constant, where training's drifted by 12 dB, is suspected; the raw one is not."""
    samples = machine(20, seed=2)
    power = np.convolve(samples[:, 0] ** 2, np.ones(1600) / 1600, mode="same")
    held = samples * np.float32(np.sqrt(np.mean(samples**2))) / np.sqrt(power)[:, None].astype(np.float32)
    metadata = audio_model(tiny_model, trained)
    assert verdicts(held, metadata) == {"gain control": "warning"}
    assert verdicts(samples, metadata) == {}


@pytest.mark.parametrize("level", [0.0, 0.25, 1e-6])
def test_silence_fails(tiny_model: Any, trained: Samples, level: float) -> None:
    """Zeros, a constant offset and noise far below 16 bits are silence, whatever their value."""
    random = np.random.default_rng(0)
    samples = np.full((RATE_HZ * 3, 1), level, np.float32)
    if level == 1e-6:
        samples *= random.standard_normal(samples.shape).astype(np.float32)
    (finding,) = compare_capture(samples, audio_model(tiny_model, trained))
    assert (finding.verdict, finding.text.split(":")[0]) == ("FAIL", "silent")


def test_clipping_fails(tiny_model: Any, trained: Samples) -> None:
    """A signal driven 60 dB too hot into full scale fails with the share of clipped samples."""
    samples = np.clip(1000 * machine(20, seed=2), -1, 1)
    assert verdicts(samples, audio_model(tiny_model, trained))["clipping"] == "FAIL"


def test_non_finite_and_short_captures_fail(tiny_model: Any, trained: Samples) -> None:
    """A NaN, or less than a second, cannot be judged and says why."""
    metadata = audio_model(tiny_model, trained)
    broken = machine(3, seed=2)
    broken[7] = np.nan
    assert compare_capture(broken, metadata)[0].text.startswith("1 of 48000")
    assert "0.50 s" in compare_capture(machine(0.5, seed=2), metadata)[0].text


def test_a_model_without_bands_is_judged_by_level(tiny_model: Any, trained: Samples) -> None:
    """Where training stored no octave bands, the level alone decides."""
    metadata = audio_model(tiny_model, trained)
    bare = metadata.model_copy(
        update={"baseline": type(metadata.baseline)(metadata.baseline.level_dbfs, [], [], [0.0], [1.0])}
    )
    assert verdicts(machine(20, seed=2) * np.float32(10), bare) == {"level": "warning"}
    assert verdicts(machine(20, seed=2), bare) == {}


def test_another_number_of_channels_is_a_value_error(tiny_model: Any, trained: Samples) -> None:
    """The caller must hand over the model's channels."""
    with pytest.raises(ValueError, match="2"):
        compare_capture(np.zeros((RATE_HZ, 2), np.float32), audio_model(tiny_model, trained))


def accelerometer(seconds: int, *, seed: int) -> Samples:
    """Three axes in g at 200 Hz, gravity on the third."""
    random = np.random.default_rng(seed)
    return (0.1 * random.standard_normal((200 * seconds, 3)) + [0, 0, 1]).astype(np.float32)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda x: x, {}),
        (lambda x: 9.81 * x, dict.fromkeys("xyz", "warning")),
        (lambda x: x[:, [0, 2, 1]], {"y": "warning", "z": "warning"}),
        (lambda x: x * np.float32([1, 1, 0]), {"z": "FAIL"}),
    ],
    ids=["same", "metres per second squared", "mounted otherwise", "dead axis"],
)
def test_sensors_are_judged_by_channel(tiny_model: Any, change: Any, expected: dict[str, str]) -> None:
    """A unit, a mounting direction and a dead channel each show in the channels that they touch."""
    metadata = tiny_model.metadata(
        kind="sensor",
        channels=3,
        channel_names=["x", "y", "z"],
        sample_rate_hz=200.0,
        baseline=baseline_of([accelerometer(60, seed=1)], 200.0, kind="sensor", used_channels=[0, 1, 2]),
    )
    assert verdicts(change(accelerometer(5, seed=2)).astype(np.float32), metadata) == expected


def test_a_channel_that_was_always_constant_may_stay_so(tiny_model: Any) -> None:
    """A channel that never moved in training is ok while it keeps its value, and fails elsewhere."""
    still = np.full((400, 1), 2.0, np.float32)
    metadata = tiny_model.metadata(
        kind="sensor", sample_rate_hz=200.0, baseline=baseline_of([still], 200.0, kind="sensor", used_channels=[0])
    )
    assert verdicts(still, metadata) == {}
    assert verdicts(still + 1, metadata) == {"channel 0": "FAIL"}


def test_only_the_channels_that_the_model_uses_are_compared(tiny_model: Any, trained: Samples) -> None:
    """A dead channel fails where the model uses it; where it does not, the live one is compared as if alone."""
    stereo = np.concatenate([np.zeros_like(trained), trained], axis=1)
    baseline = baseline_of([stereo], RATE_HZ, kind="audio", used_channels=[1])
    fresh = machine(10, seed=2)
    captured = np.concatenate([np.zeros_like(fresh), fresh], axis=1)
    model = {"channels": 2, "baseline": baseline}
    assert verdicts(captured, tiny_model.metadata(**model, front_end={"channel": "1"})) == {}
    for used in ("0", "mean", "all"):
        assert verdicts(captured, tiny_model.metadata(**model, front_end={"channel": used})) == {"level": "FAIL"}


def test_sensors_that_the_model_does_not_use_are_not_judged(tiny_model: Any) -> None:
    """A dead column fails a model that uses it, and no other."""
    dead = accelerometer(5, seed=2).astype(np.float32)
    dead[:, 0] = 0
    model = {
        "kind": "sensor", "channels": 3, "channel_names": ["x", "y", "z"], "sample_rate_hz": 200.0,
        "baseline": baseline_of([accelerometer(60, seed=1)], 200.0, kind="sensor", used_channels=[2]),
    }  # fmt: skip
    assert verdicts(dead, tiny_model.metadata(**model, front_end={"channel": "2"})) == {}
    assert verdicts(dead, tiny_model.metadata(**model, front_end={"channel": "all"})) == {"x": "FAIL"}
