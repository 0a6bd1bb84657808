"""The figures and the words of the training report."""

from __future__ import annotations

import base64
import io
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from dasvdd_runtime.detector import DecisionSettings
from dasvdd_train.diagnosis import separation_doubts
from dasvdd_train.evaluation import ScoredStream
from dasvdd_train.metrics import EpochMetrics
from dasvdd_train.report.clip_views import most_unusual, player_data, spectrogram_db
from dasvdd_train.report.figures import timeline_figure
from dasvdd_train.report.findings import (
    calibration_words,
    recording_outcomes,
    residual_words,
    training_words,
    verdict,
)
from dasvdd_train.report.latent_map import project
from report_samples import CALIBRATION, HOP, NOTHING, RATE_HZ, Page, clip, inspection, report_data, stream, written
from sklearn.decomposition import PCA


def test_players_of_a_fast_rate_stay_small() -> None:
    """Ten seconds of noise at 96 kHz take less than 600 kB, at no more than 16 kHz."""
    noise = np.random.default_rng(0).uniform(-1, 1, 960_000).astype(np.float32)
    uri, _ = player_data(noise, 96_000)
    assert len(uri) < 600_000
    assert soundfile.info(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).samplerate == 16_000


def test_a_spectrogram_shows_a_tone_at_its_frequency_and_level() -> None:
    """A sine of half amplitude at 1000 Hz is -6 dB of a full-scale sine in the band around 1000 Hz."""
    levels, _ = spectrogram_db(clip().samples[:, 0], RATE_HZ)
    band = int(levels.mean(axis=1).argmax())
    assert band / (len(levels) - 1) * RATE_HZ / 2 == pytest.approx(1000, abs=RATE_HZ / 1024)
    assert levels[band].mean() == pytest.approx(20 * np.log10(0.5), abs=0.1)


def test_of_many_channels_those_are_drawn_that_differ() -> None:
    """Of ten channels of noise, the one that jumps within the window comes first, and six are kept."""
    samples = np.random.default_rng(0).standard_normal((100, 10)).astype(np.float32)
    samples[40:60, 7] += 20
    chosen = most_unusual(samples, slice(40, 60), range(10))
    assert (chosen[0], len(chosen)) == (7, 6)


def test_the_latent_map_is_the_principal_components() -> None:
    """Points, center and share of the variance are scikit-learn's PCA, up to the sign of an axis."""
    codes = inspection().codes
    points, center, share = project(codes, np.ones(6, np.float32))
    pca = PCA(2).fit(np.concatenate(list(codes.values())).astype(np.float64))
    np.testing.assert_allclose(np.abs(points["train"]), np.abs(pca.transform(codes["train"])), atol=1e-9)
    np.testing.assert_allclose(np.abs(center), np.abs(pca.transform(np.ones((1, 6)))[0]), atol=1e-9)
    assert share == pytest.approx(pca.explained_variance_ratio_.sum())


def test_a_latent_size_of_one_and_equal_codes_have_a_map() -> None:
    """One dimension leaves the second axis at zero; codes that are all equal lie on one point."""
    points, _, share = project({"train": np.arange(5, dtype=np.float32)[:, None]}, np.zeros(1, np.float32))
    assert (points["train"][:, 1] == 0).all()
    assert share == pytest.approx(1.0)
    points, _, share = project({"train": np.ones((5, 3), np.float32)}, np.zeros(3, np.float32))
    assert (points["train"] == 0).all()
    assert share == 1.0


def test_the_report_says_when_early_stopping_would_have_ended_it() -> None:
    """Held-out scores rise from epoch 5 on: lowest there, ended after epoch 25 of 40."""
    data = report_data()
    epochs = [replace(m, holdout_score=10.0 + abs(m.epoch - 5)) for m in data.epochs]
    words = training_words(replace(data, epochs=epochs))
    assert "lowest after epoch 5 (10;" in words
    assert "would have ended the training after epoch 25" in words
    assert "would not have ended it" in training_words(data)


def test_a_dominant_fault_does_not_flatten_all_else() -> None:
    """Most windows lie at a thousand times the rest: the axis is logarithmic, so that both can be read."""
    recordings = [("holdout", np.full(50, 2.0)), ("test_anomalous", np.full(500, 2000.0))]
    svg = timeline_figure(recordings, window_hop_seconds=HOP, threshold=4.0)
    assert {">10<", ">100<", ">1000<"} <= set(re.findall(r">\d+<", svg))


@pytest.mark.parametrize(
    ("faulty_level", "level", "words"),
    [
        (40.0, "good", "clearly higher"),
        (3.3, "caution", "0 of 2 faulty test recordings"),
        (2.0, "bad", "no higher"),
        (0.1, "bad", "lower than healthy"),
    ],
)
def test_the_verdict_follows_what_was_found(faulty_level: float, level: str, words: str) -> None:
    """Faults far above, just below the threshold, among and below the healthy scores get the verdict they deserve."""
    data = report_data(faulty_level=faulty_level)
    data = replace(data, warnings=separation_doubts(data.evaluation))
    found = verdict(data, recording_outcomes(data))
    assert (found.level, words in found.text) == (level, True)


def test_a_recording_finding_is_what_the_device_would_do() -> None:
    """Scores jump over the threshold at window 60, 30 s in: one alarm at the third score above, at 31 s."""
    scores = np.where(np.arange(120) < 60, 1.0, 8.0)
    data = replace(
        report_data(),
        decision=DecisionSettings(smoothing_seconds=0.0),
        streams=[ScoredStream("a.wav", "test_anomalous", "", "", np.arange(120) * HOP, scores)],
    )
    (found,) = recording_outcomes(data)
    assert (found.alarms, found.first_alarm_seconds, found.seconds, found.peak_of_threshold) == (1, 31.0, 60.5, 2.0)
    assert found.delay_seconds == 32.0  # the first window ends at 0 s, so the stretch starts at -1 s


def test_calibration_in_words_names_hours_target_and_extrapolation() -> None:
    """An extrapolated threshold says so, with what it has and would need; a counted one does not; seconds agree."""
    data = report_data()
    words = " ".join(calibration_words(data))
    for part in ("20 min of held-out", "2400 windows", "1 false alarm per day", "extrapolates", "3.0 days",
                 "one every 6 min 41 s", "2 min 1 s long"):  # fmt: skip
        assert part in words
    assert "e+" not in words
    counted = replace(CALIBRATION, extrapolates=False, hours=80.0, episodes_per_day_upper=0.9)
    words = " ".join(calibration_words(replace(data, calibration=counted)))
    assert "extrapolates" not in words
    assert "80 h" in words


def test_residual_in_words_names_the_band_that_a_fault_raises() -> None:
    """Band 64 of 128 was raised thirtyfold and is the one named."""
    words = residual_words(report_data())
    assert "A fault raises the band 3300 Hz most: 30 times" in words
    assert "In healthy running the residual is spread over all 128 bands." in words
    assert "In faulty recordings the residual is largest at 3300 Hz (19% of it)." in words  # 45.1 of 235.7


@pytest.mark.parametrize("bands", [1, 3, 128, 1025])
def test_the_residual_axis_stays_readable(tmp_path: Path, bands: int) -> None:
    """At most eight bands are labelled below the axis, the first and the last among them."""
    data = replace(
        report_data(bands=bands), streams=[], evaluation=None, epochs=[], calibration=None, inspection=NOTHING
    )
    html = written(tmp_path, data)
    labels = [text for text in Page(html[html.index("<svg") : html.index("</svg>") + 6]).text if text.endswith(" Hz")]
    assert len(labels) == min(bands, 8)
    assert (labels[0], labels[-1]) == (data.residual_names[0], data.residual_names[-1])


@pytest.mark.parametrize("noun", ["band", "channel", "sample"])
def test_the_residual_is_of_what_the_front_end_makes(tmp_path: Path, noun: str) -> None:
    """A sensor's spectrum has bands, its rows channels: axis, label and words call them so."""
    data = replace(report_data(), kind="sensor", residual_noun=noun)
    html = written(tmp_path, data)
    assert f"A fault raises the {noun} 3300 Hz most" in html
    assert f'aria-label="Mean residual by {noun}"' in html
    assert f"spread over all 128 {noun}s" in residual_words(data)


@pytest.mark.parametrize("raised", [2.0, 500.0])
def test_every_channel_has_its_bar(raised: float) -> None:
    """On a linear and on a logarithmic axis, the bars of three channels have heights in the order of the values."""
    from dasvdd_train.report.figures import residual_figure

    svg = residual_figure(["x", "y", "z"], {"holdout": [1.0, 1.5, raised]}, noun="channel")
    bars = re.findall(r'<path d="M [\d.]+ ([\d.]+)  L [\d.]+ \1  L [\d.]+ ([\d.]+)  L [^"]*z " clip-path', svg)
    heights = [float(bottom) - float(top) for bottom, top in bars]
    assert len(heights) == 3
    assert heights == sorted(heights)
    assert heights[0] > 0


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_short_training_has_its_figure(tmp_path: Path, epochs: int) -> None:
    """One epoch is a point, without held-out score and with a center distance of zero, which a log axis cannot show."""
    data = replace(report_data(), epochs=[EpochMetrics(i + 1, 3.0, 0.0, 1.0, 0.1, None) for i in range(epochs)])
    html = written(tmp_path, data)
    figure = html[html.index("loss-figure_1") :]
    assert "reconstruction error" in figure
    assert "held-out score<" not in figure


def test_odd_scores_have_their_figures(tmp_path: Path) -> None:
    """A stream without a window, constant scores, zeros and one enormous score all draw."""
    streams = [
        stream("holdout", "short.wav", 1.0, windows=0),
        ScoredStream("flat.wav", "holdout", "", "", np.arange(20) * HOP, np.full(20, 2.0)),
        ScoredStream("odd.wav", "test_anomalous", "", "", np.arange(3) * HOP, np.array([0.0, 1e-9, 1e12])),
    ]
    for chosen in (streams, streams[:2], streams[:1], streams[2:]):
        html = written(tmp_path, replace(report_data(), streams=chosen, evaluation=None, inspection=NOTHING))
        assert Page(html).tags.count("svg") == (2 if chosen == streams[:1] else 4)


def test_many_recordings_stay_quick_and_small(tmp_path: Path) -> None:
    """A thousand recordings of 500 windows: under 2 MB, the table cut at 50 rows, and the cut said."""
    streams = [replace(stream("holdout", "r" * (i % 7 + 1), 2.0, 500), name=f"{i}.wav") for i in range(1000)]
    started = time.process_time()
    html = written(tmp_path, replace(report_data(), streams=streams, evaluation=None))
    assert time.process_time() - started < 20
    assert len(html) < 2_000_000
    assert "950 more recordings" in html


def test_a_peak_survives_the_thinning_of_the_figure() -> None:
    """Of 100 000 windows the figure keeps 300 points at most, the single highest and lowest among them."""
    from dasvdd_train.report.figures import _envelope

    series = np.random.default_rng(0).uniform(1, 2, 100_000)
    series[54_321], series[777] = 9.0, 0.1
    index, values = _envelope(series, 300)
    assert len(index) <= 300
    assert 9.0 in values
    assert 0.1 in values
    np.testing.assert_array_equal(series[index], values)
    assert (np.diff(index) > 0).all()
