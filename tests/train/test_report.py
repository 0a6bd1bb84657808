"""The training report as a reader, a browser and a careful reviewer see it."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.contract import TrainingSummary
from dasvdd_runtime.detector import DecisionSettings
from dasvdd_train.data_diagnosis import hours_to_count
from dasvdd_train.diagnosis import Doubt
from dasvdd_train.evaluation import Evaluation, ScoredStream, Separation, evaluate
from dasvdd_train.inspection import Clip, Inspection, RivalResult
from dasvdd_train.metrics import EpochMetrics
from dasvdd_train.report import ReportData, write_report
from dasvdd_train.report.findings import calibration_words, recording_outcomes, residual_words, verdict

HOP = 0.5
WINDOW = 1.0
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


def stream(role: str, name: str, level: float, windows: int = 120) -> ScoredStream:
    """Noisy scores around `level`."""
    scores = level * np.random.default_rng(len(name)).uniform(0.8, 1.2, windows)
    return ScoredStream(name, role, "pump", "", WINDOW + np.arange(windows) * HOP, scores)  # type: ignore[arg-type]


def evaluated(streams: list[ScoredStream], calibration: Calibration | None) -> Evaluation | None:
    return evaluate(streams, calibration=calibration, decision=DECISION, window_seconds=WINDOW, window_hop_seconds=HOP)


def inspection() -> Inspection:
    """What a look at one recording gave: some codes, one unusual piece, one rival."""
    random = np.random.default_rng(3)
    clip = Clip("quiet.wav", "train", 12.0, 14.5, 3.3, random.normal(0, 0.1, (40000, 1)).astype(np.float32))
    codes = {role: random.normal(size=(50, 3)).astype(np.float32) for role in ("train", "holdout", "test_anomalous")}
    rivals = [RivalResult("PCA-Q", Separation(0.8, 0.7))]
    return Inspection([], codes, [clip], rivals, "", np.zeros((10, 1), np.float32))


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
        epochs=[EpochMetrics(i + 1, 30 / (i + 1), 2.0 / (i + 1), 3.0, i * 0.1, 35 / (i + 1)) for i in range(40)],
        streams=streams,
        residual_names=[f"{100 + 50 * i} Hz" for i in range(bands)],
        residual_by_role={"holdout": usual.tolist(), "test_anomalous": faulty.tolist()},
        calibration=CALIBRATION,
        decision=DECISION,
        held_out_seconds=122.0,
        sample_rate_hz=8000.0,
        channel_names=["channel 0"],
        units=["full scale"],
        channel="0",
        window_seconds=WINDOW,
        window_hop_seconds=HOP,
        center=np.zeros(3, np.float32),
        inspection=inspection(),
        with_audio=True,
        notes=[],
        evaluation=evaluate(
            streams, calibration=CALIBRATION, decision=DECISION, window_seconds=WINDOW, window_hop_seconds=HOP
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
    """The page nests, has its seven figures, and names verdict, AUC, threshold, fingerprint and settings."""
    html = written(tmp_path, report_data())
    page = Page(html)
    text = " ".join("".join(page.text).split())
    assert page.tags.count("svg") == 7
    assert "Ready to try: faults in the test recordings stand out clearly." in text
    assert "An alarm rose in 2 of 2 faulty test recordings, 0 of 2 healthy test recordings" in text
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
    references = [value for key in ("href", "xlink:href") for value in page.values(key)]
    references += [f"#{target}" for target in re.findall(r"url\(#([^)]+)\)", html)]
    assert references
    embedded = [value for value in (*references, *page.values("src")) if value.startswith("data:")]
    assert {value.partition(";")[0] for value in embedded} == {"data:image/png", "data:audio/flac"}
    references = [value for value in references if value not in embedded]
    assert {reference[1:] for reference in references} <= set(ids)


def test_a_hostile_name_is_text(tmp_path: Path) -> None:
    """Markup in names, warnings, settings, bands and file names appears as text and never as a tag."""
    hostile = '"><script>alert(1)</script><b>$x^$&amp;'
    data = report_data(bands=4)
    streams = [replace(s, name=hostile, machine=hostile, condition=hostile) for s in data.streams]
    data = replace(
        data,
        name=hostile,
        warnings=[Doubt("x", hostile)],
        notes=[hostile],
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


def test_warnings_come_before_everything_else(tmp_path: Path) -> None:
    """With a serious warning the verdict says not ready and why, and the warning stands before the first figure."""
    doubt = Doubt("loss-not-falling", "the loss did not fall: 3, then 4.", serious=True)
    html = written(tmp_path, replace(report_data(), warnings=[doubt]))
    assert "Ready to try" not in html
    assert html.index("the training did not learn") < html.index("The loss did not fall") < html.index("<svg")


def test_without_labels_there_is_no_roc_and_no_claim_about_faults(tmp_path: Path) -> None:
    """Held-out recordings alone: no ROC curve, no AUC, and the page says that nothing was put to the test."""
    data = report_data()
    data = replace(data, streams=data.streams[:2], evaluation=None, residual_by_role={"holdout": [1.0] * 128})
    text = " ".join(Page(written(tmp_path, data)).text)
    assert "ROC" not in text
    assert "AUC" not in text
    assert "not yet put to the test" in text


def test_without_holdout_the_page_says_that_there_is_no_threshold(tmp_path: Path) -> None:
    """The paper's protocol holds nothing out: the report is written and names what the export then needs."""
    bare = replace(report_data(), streams=[], calibration=None, evaluation=None, residual_by_role={}, epochs=[])
    bare = replace(bare, inspection=replace(inspection(), codes={}, clips=[]))
    html = written(tmp_path, bare)
    assert "no alarm threshold" in html
    assert "--calibration" in html
    assert "<svg" not in html


def test_labels_without_a_threshold_still_show_the_scores(tmp_path: Path) -> None:
    """AUC and figures need no threshold; no alarm, false or missed, is claimed."""
    data = report_data()
    evaluation = evaluate(
        data.streams, calibration=None, decision=DECISION, window_seconds=WINDOW, window_hop_seconds=HOP
    )
    html = written(tmp_path, replace(data, calibration=None, evaluation=evaluation))
    assert "AUC 1.000" in html
    assert "An alarm rose" not in html
    assert "nan" not in " ".join(Page(html).text)


@pytest.mark.parametrize(
    ("faulty_level", "level", "words"),
    [
        (40.0, "good", "clearly higher"),
        (3.3, "caution", "0 of 2 faulty"),
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
    """Scores jump over the threshold at window 60, which ends at 31 s: one alarm at the third score above, at 32 s."""
    scores = np.where(np.arange(120) < 60, 1.0, 8.0)
    data = replace(
        report_data(),
        decision=DecisionSettings(smoothing_seconds=0.0),
        streams=[ScoredStream("a.wav", "test_anomalous", "", "", WINDOW + np.arange(120) * HOP, scores)],
    )
    (found,) = recording_outcomes(data)
    assert (found.alarms, found.first_alarm_seconds, found.seconds, found.peak_of_threshold) == (1, 32.0, 60.5, 2.0)


def test_calibration_in_words_names_hours_target_and_extrapolation() -> None:
    """An extrapolated threshold says so, with the hours it has and the 71.9 it would need; a counted one does not."""
    # No event in t days bounds the rate below 1 a day with 95 % confidence when exp(-t) = 0.05: t = 2.996 days.
    assert hours_to_count(CALIBRATION) == pytest.approx(2.9957 * 24, rel=1e-4)
    words = " ".join(calibration_words(report_data()))
    for part in ("20 min", "2400 windows", "1 false alarm per day", "extrapolates", "3.0 days", "122 s long"):
        assert part.replace("122 s", "2 min 2 s") in words
    enough = replace(CALIBRATION, extrapolates=False, hours=80.0, episodes_per_day_upper=0.9)
    counted = " ".join(calibration_words(replace(report_data(), calibration=enough)))
    assert "extrapolates" not in counted
    assert "one in 1.1 days" in counted


def test_residual_in_words_names_the_band_that_a_fault_raises() -> None:
    """Band 64 of 128 was raised thirtyfold and is the one named."""
    words = residual_words(report_data())
    assert "A fault raises the band 3300 Hz most: 30 times" in words
    assert "In healthy running the residual is spread over all 128 bands." in words
    assert "In faulty recordings the residual is largest at 3300 Hz (19% of it)." in words  # 45.1 of 235.7


@pytest.mark.parametrize("bands", [1, 3, 128, 1025])
def test_the_residual_axis_stays_readable(tmp_path: Path, bands: int) -> None:
    """At most eight bands are labelled below the axis, the first and the last among them."""
    data = replace(report_data(bands=bands), streams=[], evaluation=None, epochs=[], calibration=None)
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
        html = written(tmp_path, replace(report_data(), streams=chosen, evaluation=None))
        assert Page(html).tags.count("svg") == (4 if chosen == streams[:1] else 6)


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
