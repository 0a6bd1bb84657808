"""The evidence of alarms on the page, in a real browser in front of a real monitor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import page_scenes as scenes
import pytest
import soundfile
from chromium import Chromium, press
from dasvdd_runtime.alarms.book import AlarmState
from dasvdd_runtime.running.snapshot import SourceSnapshot
from evidence_scenes import keep_clip
from monitor_child import MonitorChild

pytestmark = pytest.mark.slow

RATE_HZ = 16000
OPEN = "document.querySelector('.evidence details').open"
SHOWN = "document.querySelector('.evidence-shown')?.hidden === false"
AUDIO = "document.querySelector('.evidence audio')"
PRIVACY = "document.getElementById('privacy').innerText"
BLOBS = """
  window.held = new Set();
  for (const [name, work] of [["createObjectURL", "add"], ["revokeObjectURL", "delete"]]) {
    const real = URL[name].bind(URL);
    URL[name] = (given) => {
      const url = real(given);
      held[work](url ?? given);
      return url;
    };
  }
"""
INK = """(() => {
  const canvas = document.querySelector("CANVAS");
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return data.filter((value, i) => i % 4 === 3 && value > 60).length;
})()"""


@pytest.fixture
def monitor(page_monitor: Callable[..., tuple[MonitorChild, str]]) -> Callable[..., tuple[MonitorChild, str]]:
    """Starts a real monitor that hears a whine from its third to its fifth second."""

    def start(mode: str, http: str = "") -> tuple[MonitorChild, str]:
        samples = np.random.default_rng(0).uniform(-0.1, 0.1, 300 * RATE_HZ).astype(np.float32)
        times = np.arange(len(samples)) / RATE_HZ
        whine = np.sin(2 * np.pi * 2000 * times) * 0.7
        samples += np.where((times >= 3) & (times < 5), whine, 0).astype(np.float32)
        return page_monitor(samples, f'{http}\n[evidence]\nmode = "{mode}"\npre_seconds = 2\npost_seconds = 1\n')

    return start


def open_evidence(browser: Chromium) -> None:
    """By keyboard alone."""
    browser.wait_for("document.querySelector('.evidence')?.hidden === false")
    for _ in range(20):
        press(browser, "Tab", 9)
        if browser.evaluate("document.activeElement.textContent === 'Evidence'"):
            break
    press(browser, "Enter", 13, "\r")
    browser.wait_for(OPEN)


def test_what_was_heard_is_seen_and_played_and_let_go(
    browser: Chromium, monitor: Callable[..., tuple[MonitorChild, str]], tmp_path: Path
) -> None:
    """Behind a token the player has the clip's length and plays from its middle; closed, nothing is held."""
    (tmp_path / "token").write_text("secret-word")
    child, url = monitor("audio", 'token_file = "token"')
    browser.call("Page.addScriptToEvaluateOnNewDocument", source=BLOBS)
    browser.show(url, width=390, height=844)
    browser.evaluate("document.getElementById('token').value = 'secret-word'")
    browser.evaluate("document.querySelector('#login button').click()")
    kept = child.wait_for("evidence_kept")
    assert not any("/evidence/" in request for request in browser.requests), "nothing is fetched before it is opened"
    assert browser.evaluate(PRIVACY).startswith("Sound is kept.")
    open_evidence(browser)
    browser.wait_for(f"{AUDIO}?.readyState > 0")
    (clip,) = (tmp_path / "state" / "evidence").glob("*.flac")
    seconds = soundfile.info(clip).duration
    assert browser.evaluate(f"{AUDIO}.duration") == pytest.approx(seconds, abs=0.001)
    assert kept["seconds"] == pytest.approx(seconds)
    browser.evaluate(f"{AUDIO}.muted = true; {AUDIO}.currentTime = {seconds / 2}; {AUDIO}.play()")
    browser.wait_for(f"{AUDIO}.currentTime > {seconds / 2 + 0.1}")
    said = browser.evaluate("document.querySelector('.spectrogram').getAttribute('aria-label')")
    assert "Louder than before the alarm: 1.8 kHz to 2.2 kHz by" in said
    assert "the threshold" in browser.evaluate("document.querySelector('.evidence .score').getAttribute('aria-label')")
    links = browser.evaluate("[...document.querySelectorAll('.downloads a')].map((one) => one.download)")
    assert sorted(Path(link).suffix for link in links) == [".flac", ".json"] and clip.name in links
    assert browser.evaluate("held.size") == 2
    assert browser.evaluate("document.scrollingElement.scrollWidth") == 390
    browser.evaluate("document.querySelector('.evidence summary').click()")
    browser.wait_for("held.size === 0")
    assert browser.evaluate(AUDIO) is None
    assert browser.complaints == [] and not any("secret" in request for request in browser.requests)


def test_a_spectrogram_says_its_band_where_no_sound_was_kept(
    browser: Chromium, monitor: Callable[..., tuple[MonitorChild, str]]
) -> None:
    """What the default mode keeps of a real alarm is drawn, named and offered, and there is no player."""
    child, url = monitor("spectrogram")
    browser.show(url)
    child.wait_for("evidence_kept")
    assert browser.evaluate(PRIVACY).startswith("No sound is kept. Around an alarm band levels are")
    open_evidence(browser)
    browser.wait_for(SHOWN)
    said = browser.evaluate("document.querySelector('.heard-caption').textContent")
    assert "Louder than before the alarm: 1.8 kHz to 2.2 kHz by" in said
    assert browser.evaluate(INK.replace("CANVAS", ".spectrogram")) > 1000
    assert browser.evaluate(INK.replace("CANVAS", ".evidence .score")) > 300
    assert browser.evaluate(AUDIO) is None
    assert browser.complaints == []


def test_channels_of_a_sensor_are_lines(browser: Chromium, tmp_path: Path) -> None:
    """One a channel, each with its range in words; the rows can be downloaded."""
    alarm = keep_clip(tmp_path / "clips", "sensor", "press")
    alarms = [scenes.alarm("press", ago_seconds=60, id=alarm)]
    with scenes.served(scenes.an_alarm, tmp_path, alarms=alarms, seconds=3, evidence=tmp_path / "clips") as scene:
        browser.show(scene.url, width=390, height=844, dark=True)
        open_evidence(browser)
        browser.wait_for("document.querySelectorAll('.lines figure').length === 3")
        said = browser.evaluate("document.querySelectorAll('.line')[1].getAttribute('aria-label')")
        assert said.startswith("y: \u22121.") and said.endswith("over the clip")
        assert browser.evaluate(INK.replace("CANVAS", ".line")) > 300
        assert browser.evaluate("document.querySelector('.downloads a').download").endswith(".npz")
        assert browser.evaluate("document.scrollingElement.scrollWidth") == 390
        assert browser.complaints == []


def test_a_clip_that_was_removed_is_said_and_then_no_longer_offered(browser: Chromium, tmp_path: Path) -> None:
    """What is shown stays until it is closed; opened again in the same second it says why there is nothing."""
    clips = tmp_path / "clips"
    alarms = [scenes.alarm("pump7", ago_seconds=60, id=keep_clip(clips, "audio", "pump7"))]
    with scenes.served(scenes.an_alarm, tmp_path, alarms=alarms, seconds=3, evidence=clips) as scene:
        browser.show(scene.url)
        open_evidence(browser)
        browser.wait_for(f"{AUDIO}?.readyState > 0")
        for path in clips.iterdir():
            path.unlink()
        told = "performance.getEntriesByType('resource').filter((one) => one.name.includes('api/status')).length"
        browser.wait_for(f"{told} > {browser.evaluate(told) + 2}")
        assert browser.evaluate(SHOWN), "it is on the page still"
        summary = "document.querySelector('.evidence summary')"
        browser.evaluate(f"{summary}.click()")
        browser.evaluate(f"{summary}.click()")
        browser.wait_for("document.querySelector('.evidence-said').textContent.includes('max_bytes')")
        assert not browser.evaluate(SHOWN)
        browser.evaluate(f"{summary}.click()")
        browser.wait_for("document.querySelector('.evidence').hidden")


def test_opened_a_hundred_times_it_holds_one_clip(browser: Chromium, tmp_path: Path) -> None:
    """Each closing lets go of the clip, also of one that is still being fetched, and the document is as it was."""
    clips = tmp_path / "clips"
    alarms = [scenes.alarm("pump7", ago_seconds=60, id=keep_clip(clips, "audio", "pump7"))]
    with scenes.served(scenes.an_alarm, tmp_path, alarms=alarms, seconds=3, evidence=clips) as scene:
        browser.call("Page.addScriptToEvaluateOnNewDocument", source=BLOBS)
        browser.show(scene.url)
        open_evidence(browser)
        browser.wait_for(f"{AUDIO}?.readyState > 0")
        elements = browser.evaluate("document.querySelectorAll('.alarm *').length")
        for number in range(100):
            browser.evaluate("document.querySelector('.evidence summary').click()")
            browser.evaluate("new Promise((done) => setTimeout(done, NUMBER))".replace("NUMBER", str(number % 20 * 5)))
        browser.wait_for(f"{AUDIO}?.readyState > 0")
        assert browser.evaluate("held.size") == 2
        assert browser.evaluate("document.querySelectorAll('.alarm *').length") == elements
        browser.evaluate("document.querySelector('.evidence summary').click()")
        browser.wait_for("held.size === 0")


def test_an_alarm_whose_evidence_is_missing_says_so(browser: Chromium, tmp_path: Path) -> None:
    """Once its clip should be there; not while it lasts, and not of a source of which nothing is kept."""
    over = {"state": AlarmState.CLEARED, "end_seconds": 1010.0}
    alarms = [
        scenes.alarm("pump7", ago_seconds=3000, **over),
        scenes.alarm("pump7", ago_seconds=60, verdict="real", **over),
        scenes.alarm("fan north", ago_seconds=3000),
        scenes.alarm("gearbox 2", ago_seconds=3000, **over),
    ]

    def sources(seconds: float) -> list[SourceSnapshot]:
        return [replace(s, keeps="nothing") if s.name == "gearbox 2" else s for s in scenes.all_well(seconds)]

    with scenes.served(sources, tmp_path, alarms=alarms, seconds=5, evidence=tmp_path / "clips") as scene:
        browser.show(scene.url)
        browser.wait_for("document.querySelectorAll('.alarm').length === 4")
        told = browser.evaluate(
            "[...document.querySelectorAll('.alarm')].filter((one) => one.innerText.includes('No evidence of it'))"
            ".map((one) => one.innerText.split('\\n')[0])"
        )
    assert told == ["pump7"]
