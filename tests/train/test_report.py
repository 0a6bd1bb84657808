"""The training report as a reader, a browser and a careful reviewer see it."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from chromium import Chromium
from dasvdd_train.diagnosis import Doubt
from dasvdd_train.evaluation import Separation, evaluate
from dasvdd_train.inspection import RivalResult
from dasvdd_train.report import write_report
from dasvdd_train.report.findings import (
    rival_words,
)
from report_samples import CALIBRATION, DECISION, HOP, NOTHING, RATE_HZ, Page, clip, inspection, report_data, written


def test_page_parses_and_says_what_was_found(tmp_path: Path) -> None:
    """The page nests, has its figures, and names verdict, AUC, threshold, fingerprint and settings."""
    html = written(tmp_path, report_data())
    page = Page(html)
    text = " ".join("".join(page.text).split())
    assert page.tags.count("svg") == 8
    assert "Ready to try: faults in the test recordings stand out clearly." in text
    assert "An alarm rose in 2 of 2 faulty test recordings, 0 of 2 healthy test recordings and 0 of 2 held-out " in text
    for fact in (
        "1.000",
        "The threshold is 4.",
        "ab12" * 16,
        "training.epochs",
        "1024, 256",
        "automatic",
        "early_stopping_epochsoff",
        "2.13.0",
    ):
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


def test_a_long_path_breaks_after_its_slashes(tmp_path: Path) -> None:
    """A file's ending never stands alone on a line: a break is offered after each folder, and words stay whole."""
    data = report_data()
    streams = [replace(s, name="/data/healthy/pump <7>.wav") for s in data.streams]
    html = written(tmp_path, replace(data, streams=streams))
    assert '<td class="name">/<wbr>data/<wbr>healthy/<wbr>pump &lt;7&gt;.wav' in html
    assert ".name { overflow-wrap: break-word; }" in html


def test_the_same_data_give_the_same_bytes(tmp_path: Path) -> None:
    """Two reports of one run do not differ, so that a report can be compared and kept under version control."""
    assert written(tmp_path / "a", report_data()) == written(tmp_path / "b", report_data())


def test_serious_warnings_come_before_everything_else(tmp_path: Path) -> None:
    """With a serious warning the verdict says why the model is not ready, and the warning precedes the figures."""
    doubt = Doubt("loss-not-falling", "the loss did not fall: 3 at first, 4 at last.", serious=True)
    other = Doubt("left-out", "left out: a.wav: silent")
    html = written(tmp_path, replace(report_data(), warnings=[doubt, other]))
    assert "Ready to try" not in html
    assert "2 warnings below say what to mind." in html  # however serious
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


def test_every_figure_has_words_for_those_who_cannot_see_it(tmp_path: Path) -> None:
    """Each SVG, player and swiped part has a label, and headings go down one level at a time."""
    page = Page(written(tmp_path, report_data()))
    swiped = page.values("tabindex")
    assert len(page.values("aria-label")) == page.tags.count("svg") + page.tags.count("audio") + len(swiped)
    assert all(page.values("aria-label"))
    levels = [int(tag[1]) for tag in page.tags if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_on_a_phone_what_goes_on_sideways_says_so(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    """At 390 px the page itself fits, and what must be swiped has a line above it that says so; at 1280 nothing."""
    written(tmp_path, report_data())
    cut_off = """[...document.querySelectorAll(".scroll")].filter(part => part.scrollWidth > part.clientWidth + 1)"""
    with Chromium(require_program("chromium")) as browser:
        browser.show((tmp_path / "report.html").as_uri(), width=390)
        assert browser.evaluate("document.documentElement.scrollWidth") == 390
        assert browser.evaluate(f"{cut_off}.length") == 3  # the scores over time, two tables
        assert browser.evaluate(f"{cut_off}.every(part => part.previousElementSibling.offsetHeight > 10)")
        browser.show((tmp_path / "report.html").as_uri(), width=1280)
        assert browser.evaluate(f"{cut_off}.length") == 0
        assert browser.evaluate("[...document.querySelectorAll('.sideways')].every(hint => hint.offsetHeight === 0)")


def test_the_report_says_who_won(tmp_path: Path) -> None:
    """The model's AUC of 1 beats both baselines; a better baseline is named; without labels it says why not."""
    data = report_data()
    assert rival_words(data).endswith("this model won.")
    better = RivalResult("PCA-Q", Separation(1.0, 1.0))
    weaker = report_data(faulty_level=2.2)
    words = rival_words(replace(weaker, inspection=replace(inspection(), rivals=[better])))
    assert words.endswith("PCA-Q won.")
    assert "there are no labels" in rival_words(replace(data, inspection=NOTHING))


def test_figures_by_machine_and_condition_stand_in_a_table(tmp_path: Path) -> None:
    """Machine, condition and what the fault is compared with are there, in words."""
    data = report_data()
    streams = [replace(s, condition="cracked" if s.role == "test_anomalous" else "usual") for s in data.streams]
    found = evaluate(streams, calibration=CALIBRATION, decision=DECISION, window_seconds=1.0, window_hop_seconds=HOP)
    text = " ".join(Page(written(tmp_path, replace(data, streams=streams, evaluation=found))).text)
    for words in ("By machine and condition", "cracked", "this machine", "in 2 of 2"):
        assert words in text


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


def test_suspected_mixtures_are_listened_to_first(tmp_path: Path) -> None:
    """A faulty recording among healthy ones looks like another way of running: the first step is to listen."""
    html = written(tmp_path, replace(report_data(), warnings=[Doubt("mixture", "separate ways of running")]))
    steps = html.split("What to do next")[1].split("<li>")
    assert steps[1].startswith("Listen to the most unusual pieces below")
    assert html.count("Listen to the most unusual pieces") == 1


def test_faults_alone_ask_for_healthy_recordings_too(tmp_path: Path) -> None:
    """With --test-anomalous alone, one of two faults missed is said before the export, and --test-normal is named."""
    data = report_data()
    streams = [s for s in data.streams if s.role == "test_anomalous"]
    streams[0] = replace(streams[0], scores=np.ones(120))
    found = evaluate(streams, calibration=CALIBRATION, decision=DECISION, window_seconds=1.0, window_hop_seconds=HOP)
    text = "".join(Page(written(tmp_path, replace(data, streams=streams, evaluation=found))).text)
    assert "Ready to try with care: 1 of 2 faulty test recordings raised no alarm." in text
    assert text.index("1 test recording without the alarm") < text.index("--test-normal") < text.index("Export it with")


def test_a_recording_too_short_for_an_alarm_is_not_called_missed(tmp_path: Path) -> None:
    """One window never makes 3 of 5: the verdict counts such recordings apart."""
    data = report_data()
    streams = [replace(s, scores=s.scores[:1], times_seconds=s.times_seconds[:1]) for s in data.streams]
    found = evaluate(streams, calibration=CALIBRATION, decision=DECISION, window_seconds=1.0, window_hop_seconds=HOP)
    text = "".join(Page(written(tmp_path, replace(data, streams=streams, evaluation=found))).text)
    assert "An alarm rose in 0 of 2 faulty test recordings (2 too short for one)" in text
    assert "raised no alarm" not in text


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


def test_a_report_that_cannot_be_made_leaves_the_old_one(tmp_path: Path) -> None:
    """A fault while drawing leaves the page that stood there, and no other file."""
    written(tmp_path, report_data())
    before = (tmp_path / "report.html").read_bytes()
    broken = replace(report_data(), residual_by_role={"holdout": [1.0, 2.0]})
    with pytest.raises(ValueError):
        write_report(tmp_path / "report.html", broken)
    assert (tmp_path / "report.html").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
