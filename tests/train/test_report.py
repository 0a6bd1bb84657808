"""The training report as a reader, a browser and a careful reviewer see it."""

from __future__ import annotations

import base64
import io
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.contract import TrainingSummary
from dasvdd_runtime.detector import DecisionSettings
from dasvdd_train.diagnosis import Doubt
from dasvdd_train.evaluation import ScoredStream, Separation, evaluate
from dasvdd_train.inspection import Clip, Inspection, RivalResult
from dasvdd_train.metrics import EpochMetrics
from dasvdd_train.report import ReportData, write_report
from dasvdd_train.report.clip_views import most_unusual, player_data, spectrogram_db
from dasvdd_train.report.figures import timeline_figure
from dasvdd_train.report.findings import (
    calibration_words,
    recording_outcomes,
    residual_words,
    rival_words,
    training_words,
    verdict,
)
from dasvdd_train.report.latent_map import project
from sklearn.decomposition import PCA

HOP = 0.5
DECISION = DecisionSettings()
CALIBRATION = Calibration(
    threshold=4.0,
    false_alarms_per_day=1.0,
    episodes_per_day_upper=215.7,
    confidence=0.95,
    hours=1 / 3,
    windows=2400,
    extrapolates=True,
    method="fitted tail",
    usual_score=0.0,
)
VOID = {"meta", "link", "br", "hr", "img", "input"}


RATE_HZ = 8000


def clip(role: str = "train", *, hz: float = 1000.0, channels: int = 1) -> Clip:
    """Two seconds of a tone of half amplitude."""
    tone = 0.5 * np.sin(2 * np.pi * hz * np.arange(2 * RATE_HZ) / RATE_HZ)
    samples = np.repeat(tone[:, None], channels, axis=1).astype(np.float32)
    return Clip(f"{role}.wav", role, 10.0, 11.0, 5.0, samples)  # type: ignore[arg-type]


def inspection() -> Inspection:
    """Codes around the center, a training and a held-out clip, and two rivals."""
    rng = np.random.default_rng(4)
    roles = ("train", "holdout", "test_normal", "test_anomalous")
    return Inspection(
        training=[],
        codes={role: rng.standard_normal((50, 6)).astype(np.float32) + 3 * (i == 3) for i, role in enumerate(roles)},
        clips=[clip(), clip("holdout")],
        rivals=[RivalResult("Mahalanobis", Separation(0.9, 0.7)), RivalResult("PCA-Q", Separation(0.8, 0.6))],
        rivals_missing="",
        raw_rows=np.zeros((1, 1), np.float32),
    )


NOTHING = Inspection([], {}, [], [], "there are no labels", np.zeros((0, 1), np.float32))


def stream(role: str, name: str, level: float, windows: int = 120) -> ScoredStream:
    """Noisy scores around `level`."""
    scores = level * np.random.default_rng(len(name)).uniform(0.8, 1.2, windows)
    return ScoredStream(name, role, "pump", "", np.arange(windows) * HOP, scores)  # type: ignore[arg-type]


def report_data(*, faulty_level: float = 40.0, bands: int = 128) -> ReportData:
    """A run on one machine with two recordings a role."""
    levels = {"holdout": 2.0, "test_normal": 2.0, "test_anomalous": faulty_level}
    streams = [stream(role, f"{role}_{i}.wav", level) for role, level in levels.items() for i in range(2)]
    usual = np.linspace(1, 2, bands)
    faulty = usual.copy()
    faulty[bands // 2] *= 30
    return ReportData(
        name="pump7",
        kind="audio",
        warnings=[],
        notes=[],
        held_out_seconds=121.0,
        sample_rate_hz=RATE_HZ,
        channel_names=("channel 0",),
        units=("full scale",),
        channel="0",
        window_seconds=1.0,
        center=np.zeros(6, np.float32),
        inspection=inspection(),
        with_audio=True,
        epochs=[EpochMetrics(i + 1, 30 / (i + 1), 2.0 / (i + 1), 3.0, i * 0.1, 35 / (i + 1)) for i in range(40)],
        streams=streams,
        residual_names=[f"{100 + 50 * i} Hz" for i in range(bands)],
        residual_by_role={"holdout": usual.tolist(), "test_anomalous": faulty.tolist()},
        calibration=CALIBRATION,
        decision=DECISION,
        window_hop_seconds=HOP,
        evaluation=evaluate(
            streams, calibration=CALIBRATION, decision=DECISION, window_seconds=1.0, window_hop_seconds=HOP
        ),
        settings={"training.epochs": 40, "network.widths": [1024, 256], "data.sample_rate_hz": None},
        training=TrainingSummary(recordings=2, seconds=600.0, data_fingerprint="ab12" * 16),
        versions={"dasvdd": "0.1.0", "torch": "2.13.0"},
    )


def written(tmp_path: Path, data: ReportData) -> str:
    """The page that `write_report` leaves on disk."""
    path = tmp_path / "report.html"
    write_report(path, data)
    return path.read_text(encoding="utf-8")


class Page(HTMLParser):
    """Checks that tags nest, and keeps ids, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open `tag`."""
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An SVG element without content."""
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        """Close `tag`, which must be the innermost."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.text.append(data)

    def values(self, key: str) -> list[str]:
        """Every value of the attribute `key`."""
        return [value for _, name, value in self.attributes if name == key]


def test_page_parses_and_says_what_was_found(tmp_path: Path) -> None:
    """The page nests, has its figures, and names verdict, AUC, threshold, fingerprint and settings."""
    html = written(tmp_path, report_data())
    page = Page(html)
    text = " ".join("".join(page.text).split())
    assert page.tags.count("svg") == 8
    assert "Ready to try: faults in the test recordings stand out clearly." in text
    assert "An alarm rose in 2 of 2 faulty test recordings, 0 of 2 healthy test recordings and 0 of 2 held-out " in text
    for fact in ("1.000", "The threshold is 4.", "ab12" * 16, "training.epochs", "1024, 256", "automatic", "2.13.0"):
        assert fact in text


def test_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    """No script, no link, no address in any attribute but the SVG name spaces, and references stay in the page."""
    html = written(tmp_path, report_data())
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "metadata", "object"} & set(page.tags)
    addresses = [(key, value) for _, key, value in page.attributes if "://" in value]
    assert {key for key, _ in addresses} <= {"xmlns", "xmlns:xlink"}
    assert "@import" not in html
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    inline = ("data:image/png;base64,", "data:audio/flac;base64,")
    references = [value for key in ("href", "xlink:href", "src") for value in page.values(key)]
    references = [value for value in references if not value.startswith(inline)]
    references += [f"#{target}" for target in re.findall(r"url\(#([^)]+)\)", html)]
    assert references
    assert {reference[1:] for reference in references} <= set(ids)


def test_a_hostile_name_is_text(tmp_path: Path) -> None:
    """Markup in names, warnings, settings, bands and file names appears as text and never as a tag."""
    hostile = '"><script>alert(1)</script><b>$x^$&amp;'
    data = report_data(bands=4)
    streams = [replace(s, name=hostile, machine=hostile, condition=hostile) for s in data.streams]
    data = replace(
        data,
        name=hostile,
        warnings=[Doubt("left-out", hostile), Doubt("collapsed", hostile, serious=True)],
        notes=[hostile],
        channel_names=(hostile,),
        inspection=replace(inspection(), clips=[replace(clip(), name=hostile)]),
        streams=streams,
        residual_names=[hostile, "<i>", "$\\frac$", "é"],
        settings={hostile: hostile},
        versions={hostile: hostile},
    )
    page = Page(written(tmp_path, data))
    assert not {"script", "b", "i"} & set(page.tags)
    assert "".join(page.text).count(hostile) >= 10
    assert "$\\frac$" in "".join(page.text)


def test_the_same_data_give_the_same_bytes(tmp_path: Path) -> None:
    """Two reports of one run do not differ, so that a report can be compared and kept under version control."""
    assert written(tmp_path / "a", report_data()) == written(tmp_path / "b", report_data())


def test_serious_warnings_come_before_everything_else(tmp_path: Path) -> None:
    """With a serious warning the verdict says why the model is not ready, and the warning precedes the figures."""
    doubt = Doubt("loss-not-falling", "the loss did not fall: 3 at first, 4 at last.", serious=True)
    html = written(tmp_path, replace(report_data(), warnings=[doubt]))
    assert "Ready to try" not in html
    places = [
        html.index(words) for words in ("Not ready: the training did not learn.", "The loss did not fall", "<svg")
    ]
    assert places == sorted(places)


def test_other_warnings_and_notes_leave_the_verdict(tmp_path: Path) -> None:
    """57 s for 60 s is no reason to reject a model that works; it is listed, and so are notes on recordings."""
    warnings = [Doubt("little-data", "little data: 57 s."), Doubt("left-out", "left out: a.wav: silent")]
    html = written(tmp_path, replace(report_data(), warnings=warnings, notes=["b.wav: clipped: 2 %. It is tested."]))
    text = " ".join(Page(html).text)
    assert "Ready to try: faults" in text
    for words in ("2 warnings below say", "Little data: 57 s.", "Left out: a.wav: silent", "b.wav: clipped"):
        assert words in text
    assert "Serious warnings" not in text


def test_players_are_for_training_and_held_out_pieces_and_can_be_switched_off(tmp_path: Path) -> None:
    """A player per piece that decodes to the tone that went in; with report.audio off, pictures alone."""
    page = Page(written(tmp_path, report_data()))
    players = [value for value in page.values("src") if value.startswith("data:audio/flac;base64,")]
    assert len(players) == 2
    samples, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(players[0].partition(",")[2])))
    assert (rate_hz, len(samples)) == (RATE_HZ, 2 * RATE_HZ)
    assert np.abs(np.fft.rfft(samples)).argmax() / 2 == 1000
    assert np.abs(samples).max() == pytest.approx(0.9, abs=1e-3)
    silent = Page(written(tmp_path, replace(report_data(), with_audio=False)))
    assert "audio" not in silent.tags
    assert silent.tags.count("svg") == page.tags.count("svg")


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


def test_sensor_pieces_are_drawn_as_channels_without_a_player(tmp_path: Path) -> None:
    """Three channels over time with their units, no sound, no spectrogram."""
    shown = replace(inspection(), clips=[clip(channels=3)])
    data = replace(
        report_data(), kind="sensor", inspection=shown, channel="all", channel_names=("x", "y", "z"), units=("g",) * 3
    )
    page = Page(written(tmp_path, data))
    assert "audio" not in page.tags
    assert "-0.5 to 0.5 g" in "".join(page.text)
    assert any(label.startswith("Channels over time of train.wav") for label in page.values("aria-label"))


def test_of_many_channels_those_are_drawn_that_differ() -> None:
    """Of ten channels of noise, the one that jumps within the window comes first, and six are kept."""
    samples = np.random.default_rng(0).standard_normal((100, 10)).astype(np.float32)
    samples[40:60, 7] += 20
    chosen = most_unusual(samples, slice(40, 60), range(10))
    assert (chosen[0], len(chosen)) == (7, 6)


def test_every_figure_has_words_for_those_who_cannot_see_it(tmp_path: Path) -> None:
    """Each SVG and each player has a label, and headings go down one level at a time."""
    page = Page(written(tmp_path, report_data()))
    assert len(page.values("aria-label")) == page.tags.count("svg") + page.tags.count("audio")
    assert all(page.values("aria-label"))
    levels = [int(tag[1]) for tag in page.tags if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


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


def test_the_report_says_who_won(tmp_path: Path) -> None:
    """The model's AUC of 1 beats both baselines; a better baseline is named; without labels it says why not."""
    data = report_data()
    assert rival_words(data).endswith("this model won.")
    better = RivalResult("PCA-Q", Separation(1.0, 1.0))
    weaker = report_data(faulty_level=2.2)
    words = rival_words(replace(weaker, inspection=replace(inspection(), rivals=[better])))
    assert words.endswith("PCA-Q won.")
    assert "there are no labels" in rival_words(replace(data, inspection=NOTHING))


def test_the_report_says_when_early_stopping_would_have_ended_it() -> None:
    """Held-out scores rise from epoch 5 on: lowest there, ended after epoch 25 of 40."""
    data = report_data()
    epochs = [replace(m, holdout_score=10.0 + abs(m.epoch - 5)) for m in data.epochs]
    words = training_words(replace(data, epochs=epochs))
    assert "lowest after epoch 5 (10;" in words
    assert "would have ended the training after epoch 25" in words
    assert "would not have ended it" in training_words(data)


def test_figures_by_machine_and_condition_stand_in_a_table(tmp_path: Path) -> None:
    """Machine, condition and what the fault is compared with are there, in words."""
    data = report_data()
    streams = [replace(s, condition="cracked" if s.role == "test_anomalous" else "usual") for s in data.streams]
    found = evaluate(streams, calibration=CALIBRATION, decision=DECISION, window_seconds=1.0, window_hop_seconds=HOP)
    text = " ".join(Page(written(tmp_path, replace(data, streams=streams, evaluation=found))).text)
    for words in ("By machine and condition", "cracked", "this machine", "in 2 of 2"):
        assert words in text


def test_a_dominant_fault_does_not_flatten_all_else() -> None:
    """Most windows lie at a thousand times the rest: the axis is logarithmic, so that both can be read."""
    recordings = [("holdout", np.full(50, 2.0)), ("test_anomalous", np.full(500, 2000.0))]
    svg = timeline_figure(recordings, window_hop_seconds=HOP, threshold=4.0)
    assert {">10<", ">100<", ">1000<"} <= set(re.findall(r">\d+<", svg))


def test_without_labels_there_is_no_roc_and_no_claim_about_faults(tmp_path: Path) -> None:
    """Held-out recordings alone: no ROC curve, no AUC, and the page says that nothing was put to the test."""
    data = report_data()
    data = replace(
        data,
        streams=data.streams[:2],
        evaluation=None,
        inspection=replace(NOTHING, codes={}),
        residual_by_role={"holdout": [1.0] * 128},
    )
    html = written(tmp_path, data)
    assert "ROC" not in html
    assert "AUC" not in html
    assert "Ready to try: trained and calibrated, but not yet put to the test." in html
    assert "No comparison with cheap baselines: there are no labels." in html


def test_without_holdout_the_page_says_that_there_is_no_threshold(tmp_path: Path) -> None:
    """The paper's protocol holds nothing out: the report is written and names what the export then needs."""
    bare = replace(
        report_data(), streams=[], calibration=None, evaluation=None, residual_by_role={}, epochs=[], inspection=NOTHING
    )
    html = written(tmp_path, bare)
    assert "no alarm threshold" in html
    assert "--calibration" in html
    assert "<svg" not in html


def test_labels_without_a_threshold_still_show_the_scores(tmp_path: Path) -> None:
    """AUC and figures need no threshold; no alarm, false or missed, is claimed."""
    data = report_data()
    evaluation = evaluate(data.streams, calibration=None, decision=DECISION, window_seconds=1.0, window_hop_seconds=HOP)
    html = written(tmp_path, replace(data, calibration=None, evaluation=evaluation))
    assert "AUC 1.000" in html
    assert "An alarm rose" not in html
    assert "0.0%" not in html
    assert "nan" not in " ".join(Page(html).text)


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


@pytest.mark.parametrize("raised", [2.0, 500.0])
def test_every_channel_has_its_bar(raised: float) -> None:
    """On a linear and on a logarithmic axis, the bars of three channels have heights in the order of the values."""
    from dasvdd_train.report.figures import residual_figure

    svg = residual_figure(["x", "y", "z"], {"holdout": [1.0, 1.5, raised]}, kind="sensor")
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
    started = time.monotonic()
    html = written(tmp_path, replace(report_data(), streams=streams, evaluation=None))
    assert time.monotonic() - started < 20
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


def test_a_report_that_cannot_be_made_leaves_the_old_one(tmp_path: Path) -> None:
    """A fault while drawing leaves the page that stood there, and no other file."""
    written(tmp_path, report_data())
    before = (tmp_path / "report.html").read_bytes()
    broken = replace(report_data(), residual_by_role={"holdout": [1.0, 2.0]})
    with pytest.raises(ValueError):
        write_report(tmp_path / "report.html", broken)
    assert (tmp_path / "report.html").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
