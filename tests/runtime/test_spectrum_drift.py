"""A drift of the spectrum: what bends it is told with its bands, what only makes it louder is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import simulated_machine as machine
from dasvdd_runtime import contract
from dasvdd_runtime.condition import drift, spectrum
from dasvdd_runtime.condition.drift import DriftReference, DriftReport, DriftWatch
from dasvdd_runtime.condition.levels import level_dbfs, octave_levels_db
from dasvdd_runtime.condition.spectrum import SpectrumMeter, UsualSpectrum, baseline_with_spectrum
from dasvdd_runtime.condition.spectrum_drift import SpectrumWatch
from dasvdd_runtime.pipeline import DecisionRule, Pipeline
from dasvdd_runtime.scorer import Scorer
from judging import judge
from numpy.typing import NDArray
from scipy.signal import firwin2, lfilter

RATE_HZ = machine.SAMPLE_RATE_HZ
DAY = 1440
"""Seconds of which a day's samples are drawn."""
Samples = NDArray[np.float32]


@pytest.fixture(scope="module")
def training() -> Samples:
    """Five minutes of the healthy machine, [samples, 1]."""
    return machine.healthy(seconds=300, seed=1)[:, None]


@pytest.fixture(scope="module")
def later() -> Samples:
    """Five other minutes of it, in seconds [seconds, samples, 1]."""
    return machine.healthy(seconds=300, seed=2).reshape(300, RATE_HZ, 1)


@pytest.fixture
def trained(tiny_model: Any, training: Samples) -> contract.ModelMetadata:
    """A model whose baseline is the healthy machine."""
    return trained_on(training, tiny_model, kind="audio", rate_hz=RATE_HZ, window_samples=RATE_HZ)


def trained_on(samples: Samples, tiny_model: Any, *, kind: str, rate_hz: float, window_samples: int) -> Any:
    channels = samples.shape[1]
    metadata = tiny_model.metadata(
        kind=kind,
        sample_rate_hz=float(rate_hz),
        channels=channels,
        window_samples=window_samples,
        window_hop_samples=window_samples,
    )
    found = baseline_with_spectrum(
        [samples],
        rate_hz,
        kind=metadata.kind,
        channel_names=metadata.channel_names,
        used_channels=metadata.used_channels,
        window_samples=window_samples,
    )
    return metadata.model_copy(update={"baseline": found})


def days(seconds: Samples, metadata: contract.ModelMetadata, *, count: int = 1) -> list[DriftReport]:
    """The reports of `count` days whose samples are drawn from `seconds` [seconds, samples, channels]."""
    audio = metadata.kind == "audio"
    low, middle, high = metadata.baseline.level_dbfs
    watch = DriftWatch(
        DriftReference(0.1, 1.0, (low, middle, high) if audio else None),
        history_windows=1,
        window_hop_seconds=60.0,
        spectrum=SpectrumWatch.of(metadata.baseline.spectrum, metadata),
    )
    random, reports = np.random.default_rng(0), []
    while len(reports) < count:
        second = seconds[random.integers(len(seconds))]
        if watch.window(0.1, anomalous=False):
            before = watch.report
            watch.sample(second, level_dbfs=level_dbfs(second), residual=np.ones(1))
            if watch.report is not before:
                assert watch.report is not None
                reports.append(watch.report)
    return reports


def less_treble(samples: Samples, *, above_hz: float = 2000, db: float = -6.0) -> Samples:
    """`samples` [seconds, samples, 1] through a microphone that lost treble, brought back to the level from before."""
    gain = 10 ** (db / 20)
    taps = firwin2(513, [0, 0.95 * above_hz, 1.05 * above_hz, RATE_HZ / 2], [1, 1, gain, gain], fs=RATE_HZ)
    dull = lfilter(taps, 1, samples.ravel())
    dull *= np.sqrt(np.mean(np.square(samples)) / np.mean(dull**2))
    return dull.astype(np.float32).reshape(samples.shape)


def test_bands_are_those_of_the_check(later: Samples, trained: contract.ModelMetadata) -> None:
    """The figures of a second are the octave levels that `check` compares, to a thousandth of a dB."""
    measured = SpectrumMeter.of(trained).measure(later[0])
    hertz, levels = octave_levels_db(later[0], RATE_HZ)
    assert [f"{hz:g} Hz" for hz in hertz] == [figure.name for figure in SpectrumMeter.of(trained).figures]
    np.testing.assert_allclose(measured, levels, atol=1e-3)


def test_the_same_machine_does_not_drift(later: Samples, trained: contract.ModelMetadata) -> None:
    """Three days of it: every figure of the spectrum far within its limit."""
    for report in days(later, trained, count=3):
        assert (report.drifting, report.reasons, report.spectrum) == (False, (), ())


def test_lost_treble_at_the_same_level_is_told_with_its_bands(later: Samples, trained: contract.ModelMetadata) -> None:
    """6 dB less above 2 kHz, and the level as before: the spectrum alone drifts, by 6 dB in the band above 2 kHz."""
    (report,) = days(less_treble(later), trained)
    assert report.drifting
    assert report.spectrum is not None
    (change,) = report.spectrum
    assert change.name == "4000 Hz"
    assert change.change == pytest.approx(-6.0, abs=0.7)
    assert len(report.reasons) == 1
    assert "4000 Hz -5." in report.reasons[0] or "4000 Hz -6." in report.reasons[0]


@pytest.mark.parametrize("band", range(7))
def test_one_band_that_changes_is_told_as_that_band(band: int, later: Samples, trained: contract.ModelMetadata) -> None:
    """A resonance or a hole of 8 dB in any one octave is told as that octave, up or down."""
    name = SpectrumMeter.of(trained).figures[band].name
    centre = float(name.split()[0])
    spectra = np.fft.rfft(later[:, :, 0], axis=1)
    hertz = np.fft.rfftfreq(RATE_HZ, 1 / RATE_HZ)
    inside = (hertz >= centre / 2**0.5) & (hertz < centre * 2**0.5)
    for db in (8.0, -8.0):
        changed = np.fft.irfft(spectra * np.where(inside, 10 ** (db / 20), 1), axis=1)
        (report,) = days(changed[:, :, None].astype(np.float32), trained)
        assert report.spectrum is not None
        assert [(change.name, change.change > 0) for change in report.spectrum] == [(name, db > 0)]


@pytest.mark.parametrize("db", [12.0, -20.0])
def test_a_louder_or_quieter_room_is_told_as_level(db: float, later: Samples, trained: contract.ModelMetadata) -> None:
    """All bands alike are a matter of the level: nothing is said of the spectrum."""
    (report,) = days(later * np.float32(10 ** (db / 20)), trained)
    assert report.drifting
    assert report.spectrum == ()
    assert all("dBFS" in reason for reason in report.reasons)


def test_a_band_in_the_converters_noise_does_not_follow_the_gain(tiny_model: Any) -> None:
    """Nothing above 1 kHz but rounding, as with a telephone's microphone: a gain of 12 dB bends no spectrum there."""
    random = np.random.default_rng(3)
    taps = firwin2(513, [0, 700, 1000, RATE_HZ / 2], [1, 1, 0, 0], fs=RATE_HZ)
    dull = lfilter(taps, 1, random.standard_normal(RATE_HZ * 60))

    def recorded(gain: float) -> Samples:
        return (np.round(gain * dull * 32768) / 32768).astype(np.float32).reshape(60, RATE_HZ, 1)

    quiet = recorded(0.02).reshape(-1, 1)
    metadata = trained_on(quiet, tiny_model, kind="audio", rate_hz=RATE_HZ, window_samples=RATE_HZ)
    (report,) = days(recorded(0.08), metadata)
    assert report.spectrum == ()


def test_what_is_not_known_is_not_compared(later: Samples, trained: contract.ModelMetadata) -> None:
    """A model of before, or one that knows other bands: None instead of a verdict, and no reason."""
    usual = trained.baseline.spectrum
    assert usual is not None
    for known in (None, {name: usual[name] for name in list(usual)[1:]}):
        older = trained.model_copy(update={"baseline": replace(trained.baseline, spectrum=known)})
        (report,) = days(less_treble(later), older)
        assert (report.spectrum, report.reasons) == (None, ())
    properties = contract.encode(older)
    assert contract.decode(properties)[0].baseline.spectrum == known


def test_a_recording_too_short_says_nothing_of_what_is_usual(training: Samples, tiny_model: Any) -> None:
    """Nine seconds are too few, ten are enough."""
    for seconds, known in ((9, False), (10, True)):
        part = training[: seconds * RATE_HZ]
        found = trained_on(part, tiny_model, kind="audio", rate_hz=RATE_HZ, window_samples=RATE_HZ).baseline.spectrum
        assert (found is not None) is known


def test_what_is_usual_rests_on_a_bounded_number_of_seconds_spread_over_all(
    training: Samples, tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three recordings with 0.5, 9.5 and 250 s, one second in seven: what all of them would say, to half a dB."""
    meter = SpectrumMeter.of(tiny_model.metadata(window_samples=RATE_HZ))
    cuts = (0, RATE_HZ // 2, 10 * RATE_HZ, 260 * RATE_HZ)
    parts = [training[start:end] for start, end in pairwise(cuts)]
    every = meter.usual_of(parts)
    monkeypatch.setattr(spectrum, "USUAL_PIECES", 40)
    measured: list[int] = []
    plain = SpectrumMeter.measure
    monkeypatch.setattr(SpectrumMeter, "measure", lambda self, part: measured.append(len(part)) or plain(self, part))
    few = meter.usual_of(parts)
    assert measured == [RATE_HZ] * 37
    assert every is not None and few is not None
    np.testing.assert_allclose([few[name][1] for name in every], [every[name][1] for name in every], atol=0.5)


def vibration(seconds: int, *, seed: int) -> Samples:
    """Two channels at 1 kHz about 0 g and 1 g, [samples, 2]."""
    random = np.random.default_rng(seed)
    return (np.array([0.1, 0.2]) * random.standard_normal((1000 * seconds, 2)) + [0, 1]).astype(np.float32)


def test_a_fast_sensor_is_followed_by_channel(tiny_model: Any) -> None:
    """A mount that turns moves a mean, one that comes loose the deviation, a resonance a band; the channel is named."""
    metadata = trained_on(vibration(60, seed=1), tiny_model, kind="sensor", rate_hz=1000, window_samples=1000)
    healthy = vibration(60, seed=2).reshape(60, 1000, 2)

    def told(seconds: Samples) -> list[str]:
        (report,) = days(seconds.astype(np.float32), metadata)
        assert report.spectrum is not None
        return [change.name for change in report.spectrum]

    assert told(healthy) == []
    assert told(healthy + np.float32([0.15, 0])) == ["channel 0: mean"]
    assert told((healthy - [0, 1]) * [1, 3] + [0, 1]) == ["channel 1: deviation"]
    tone = 0.12 * np.sin(2 * np.pi * 125 * np.arange(1000) / 1000)[:, None]
    assert told(healthy + tone * [1, 0]) == ["channel 0: 125 Hz"]


def test_a_slow_sensor_is_followed_by_mean_and_spread(tiny_model: Any) -> None:
    """Of process values, a mean that moved by 3 deviations and one that hardly varies any more are told."""
    random = np.random.default_rng(4)

    def rows(count: int, scale: float = 2.0) -> Samples:
        return (np.array([scale, 0.5]) * random.standard_normal((count, 2)) + [20, 4]).astype(np.float32)

    metadata = trained_on(rows(4000), tiny_model, kind="sensor", rate_hz=1, window_samples=1)

    def told(values: Samples) -> list[str]:
        (report,) = days(values[:, None, :], metadata)
        assert report.spectrum is not None
        return [change.name for change in report.spectrum]

    assert told(rows(DAY)) == []
    assert told(rows(DAY) + np.float32([0, 1.5])) == ["channel 1: mean"]
    assert told(rows(DAY, scale=0.2)) == ["channel 0: deviation"]


def seconds_of(samples: Samples, rate_hz: int) -> Iterator[Samples]:
    for start in range(0, len(samples) - rate_hz + 1, rate_hz):
        yield samples[start : start + rate_hz]


@pytest.fixture
def listening(tiny_model: Any, training: Samples, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A pipeline of the healthy machine's model, whose day lasts 200 s, with a sample about every two seconds."""
    monkeypatch.setattr(drift, "DAY_SECONDS", 200.0)
    monkeypatch.setattr(drift, "SAMPLE_SECONDS", 2.0)
    metadata = trained_on(training, tiny_model, kind="audio", rate_hz=RATE_HZ, window_samples=RATE_HZ)
    path = tiny_model.write(
        tiny_model.folder / "model.onnx",
        tiny_model.graph(kind="audio", channels=1, window_samples=RATE_HZ),
        contract.encode(metadata),
    )
    scorer = Scorer(path, provider="cpu")
    assert scorer.metadata.baseline == metadata.baseline
    rule = DecisionRule(1.0, metadata.decision, usual_score=0.001, spectrum=metadata.baseline.spectrum)
    return Pipeline(name="pump7", metadata=scorer.metadata, scorer=scorer, rule=rule, report_scores=False)


def drifts(pipeline: Pipeline, samples: Samples) -> list[dict[str, Any]]:
    """The drift events that `samples` [samples, 1] cause."""
    events = [event for second in seconds_of(samples, RATE_HZ) for event in judge(pipeline, second)]
    return [event for event in events if event["event"] == "drift"]


def test_the_pipeline_tells_which_bands_changed(listening: Pipeline, later: Samples) -> None:
    """The event names the band, its change and what is usual; the healthy machine before it caused none."""
    assert drifts(listening, later[:210].reshape(-1, 1)) == []
    (told,) = drifts(listening, less_treble(later, db=-12.0).reshape(-1, 1))
    assert told["drifting"]
    assert told["spectrum"][0]["name"] == "4000 Hz"
    assert told["spectrum"][0]["unit"] == "dB"
    assert told["spectrum"][0]["change"] < -8
    low, high = told["spectrum"][0]["usual"]
    assert -3 < low < 0 < high < 3


def test_a_calibration_on_site_is_compared_with_the_site(listening: Pipeline, later: Samples) -> None:
    """With a duller site's spectrum in force, training's is the drift; where none is known, nothing is."""
    dull = less_treble(later, db=-12.0)
    meter = SpectrumMeter.of(listening._metadata)
    site: UsualSpectrum | None = meter.usual(np.array([meter.measure(second) for second in dull]))
    rule = DecisionRule(1.0, listening._metadata.decision, usual_score=0.001, spectrum=site)
    listening.use_rule(rule)
    assert drifts(listening, dull.reshape(-1, 1)) == []
    assert [event["spectrum"][0]["name"] for event in drifts(listening, later.reshape(-1, 1))] == ["4000 Hz"]
    listening.use_rule(replace(rule, spectrum=None))
    assert drifts(listening, dull.reshape(-1, 1)) == []
