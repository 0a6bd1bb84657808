"""The page of a monitor in a real browser."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import page_scenes as scenes
import pytest
from chromium import Chromium, press
from dasvdd_runtime.alarms.book import AlarmState
from dasvdd_runtime.state.state_store import StateStore
from evidence_scenes import keep_clip
from monitor_child import MonitorChild
from scraping import wait_until

pytestmark = pytest.mark.slow

RATE_HZ = 16000
CARDS = "document.querySelectorAll('.card').length"
TITLE = "document.getElementById('verdict').textContent"

CONTRASTS = """(() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = channels(colour).map((value) => value / 255)
      .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      const [, , , alpha = 1] = channels(colour);
      if (alpha === 1) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest(".unseen, .skip")) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(style.color), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.push([ratio, element.textContent.trim().slice(0, 40)]);
  }
  return found;
})()"""


@pytest.fixture
def monitor(page_monitor: Callable[..., tuple[MonitorChild, str]]) -> Callable[..., tuple[MonitorChild, str]]:
    """Starts a real monitor of a machine that gets loud after four seconds, and of a microphone that is not there."""

    def start(http: str = "") -> tuple[MonitorChild, str]:
        samples = np.random.default_rng(0).uniform(-0.1, 0.1, 300 * RATE_HZ).astype(np.float32)
        samples[4 * RATE_HZ :] *= 8
        return page_monitor(samples, f'{http}\n[[source]]\nname = "fan"\nkind = "microphone"\ndevice = "not there"\n')

    return start


def tab_to(browser: Chromium, script: str) -> None:
    """Press Tab until `script` is true."""
    for _ in range(40):
        press(browser, "Tab", 9)
        if browser.evaluate(script):
            return
    raise AssertionError(f"the Tab key never leads to {script}")


def test_an_alarm_comes_up_and_is_answered_by_keyboard_alone(
    browser: Chromium, monitor: Callable[..., tuple[MonitorChild, str]], tmp_path: Path
) -> None:
    """The page of a real monitor shows the rise and says it; Tab, Space and Enter bring a verdict into state.db."""
    child, url = monitor()
    browser.show(url, width=390, height=844)
    browser.wait_for(f"{CARDS} === 2")
    assert "Not watched: fan" in browser.wait_for(f"{TITLE}.startsWith('Not') && {TITLE}")
    assert "not there" in browser.evaluate("document.getElementById('source-fan').innerText")
    browser.evaluate(
        "window.heard = []; new MutationObserver(() => heard.push(document.getElementById('news').textContent))"
        ".observe(document.getElementById('news'), {childList: true, characterData: true, subtree: true})"
    )
    raised = child.wait_for("alarm_raised")
    browser.wait_for(f"{TITLE} === 'Alarm: pump <7>'")
    browser.wait_for("heard.includes('Alarm: pump <7>.')")
    browser.wait_for("document.querySelectorAll('#open-alarms .alarm').length === 1")
    link = "decodeURIComponent(document.querySelector('.to-card').hash.slice(1))"
    assert "pump <7>" in browser.evaluate(f"document.getElementById({link}).innerText"), "the alarm leads to its curve"
    tab_to(browser, "document.activeElement.value === 'real'")
    press(browser, " ", 32, " ")
    press(browser, "ArrowRight", 39)
    tab_to(browser, "document.activeElement.name === 'note'")
    browser.call("Input.insertText", text="forklift <b>passed</b>")
    press(browser, "Enter", 13, "\r")
    told = child.wait_for("alarm_acknowledged")
    assert (told["alarm"], told["verdict"], told["note"]) == (raised["id"], "false", "forklift <b>passed</b>")
    browser.wait_for("document.querySelectorAll('#old-alarms .alarm').length === 1")
    assert browser.evaluate("document.activeElement.id") == "answered-title"
    browser.wait_for("document.querySelector('.card').innerText.includes('The alarm is answered.')")
    assert "forklift <b>passed</b>" in browser.evaluate("document.getElementById('old-alarms').innerText")
    store = StateStore.open_existing(tmp_path / "state")
    (alarm,) = store.alarms()
    store.close()
    assert (alarm.id, alarm.verdict, alarm.note) == (raised["id"], "false", "forklift <b>passed</b>")
    curve = "performance.getEntriesByType('resource').some((one) => one.name.endsWith('/api/history'))"
    assert browser.evaluate(curve)
    assert browser.complaints == []
    assert {urlsplit(request).netloc for request in browser.requests} == {urlsplit(url).netloc}
    assert child.stop() == 0


def test_the_page_draws_what_a_real_monitor_hears(
    browser: Chromium, page_monitor: Callable[..., tuple[MonitorChild, str]]
) -> None:
    """A whine that begins is drawn in its third octave, in the second in which it comes, and named."""
    seconds = np.arange(60 * RATE_HZ) / RATE_HZ
    samples = np.random.default_rng(0).normal(0, 0.003, len(seconds))
    samples += 0.02 * np.sin(2 * np.pi * 2000 * seconds) * (seconds > 5)
    _, url = page_monitor(samples.astype(np.float32), "")
    browser.show(url)
    words = "document.querySelector('.sound')?.getAttribute('aria-label')"
    browser.wait_for(f"{words}?.includes('Loudest now: 1.8 kHz to 2.2 kHz at \u221234 dB')")
    assert "What it hears, by third octave, 4 Hz (bottom) to 7.1 kHz (top)" in browser.evaluate(
        "document.body.innerText"
    )
    time.sleep(1.2)
    rows = browser.evaluate(
        "(() => { const shown = document.querySelector('.sound'), canvas = document.createElement('canvas');"
        "[canvas.width, canvas.height] = [shown.width, shown.height];"
        "const context = canvas.getContext('2d', {willReadFrequently: true}); context.drawImage(shown, 0, 0);"
        "const at = (x) => [...context.getImageData(x, 0, 1, canvas.height).data].filter((_, i) => i % 4 === 0);"
        "const width = canvas.width; let first = 0;"
        "while (first < width && context.getImageData(first, 3, 1, 1).data[3] === 0) first += 1;"
        "return [at(first + 3), at(width - 1)]; })()"
    )
    before, now = (np.array(column) for column in rows)  # red: the fainter the redder, in the light page
    place = (0.5 + 5) / 21 * len(now)  # the 6th band from the top of 21
    assert now[round(place)] < 60 < before[round(place)]
    others = np.abs(np.arange(len(now)) - place) > len(now) / 21
    assert np.median(now[others]) > 100
    assert browser.complaints == []


def test_a_mute_from_the_page_is_in_the_events_and_can_be_ended(
    browser: Chromium, monitor: Callable[..., tuple[MonitorChild, str]]
) -> None:
    """The monitor tells of the mute and of its end, and the page shows until when."""
    child, url = monitor()
    browser.show(url)
    browser.wait_for(f"{CARDS} === 2")
    mute = "document.querySelector('#source-fan .mute')"
    browser.evaluate(f"{mute}.querySelector('.mute-begin').open = true")
    browser.evaluate(f"{mute}.querySelector('select').value = '28800'; {mute}.querySelector('form button').click()")
    muted = child.wait_for("muted")
    assert muted["source"] == "fan" and 28_700 < muted["seconds"] <= 28_800
    browser.wait_for(f"{mute}.innerText.includes('Muted until')")
    browser.wait_for("document.querySelector('#source-fan .pills').innerText.includes('Muted')")
    browser.evaluate(f"{mute}.querySelector('.end-mute').click()")
    assert child.wait_for("unmuted")["source"] == "fan"
    assert browser.complaints == []


def test_the_token_is_asked_for_kept_in_the_tab_and_never_in_the_address(
    browser: Chromium, monitor: Callable[..., tuple[MonitorChild, str]], tmp_path: Path
) -> None:
    """Nothing is shown without it, a wrong one is said, a reload knows it, and it can be forgotten."""
    (tmp_path / "token").write_text("secret-word")
    _, url = monitor('token_file = "token"')
    browser.show(url)
    browser.wait_for("!document.getElementById('login').hidden && document.activeElement.id === 'token'")
    assert browser.evaluate(CARDS) == 0 and browser.complaints == []
    for word in ("wrong", "secret-wörd-\u4e00", "secret-word"):
        browser.evaluate(f"document.getElementById('token').value = {json.dumps(word)}")
        browser.evaluate("document.querySelector('#login button').click()")
        if word != "secret-word":
            browser.wait_for("document.querySelector('#login .said').textContent.includes('not the token')")
    browser.wait_for(f"{CARDS} === 2")
    browser.call("Page.reload")
    browser.wait_for(f"document.readyState === 'complete' && {CARDS} === 2")
    assert not any("secret" in request for request in browser.requests)
    assert browser.evaluate("localStorage.length === 0 && document.cookie === ''")
    browser.evaluate("document.getElementById('forget').click()")
    browser.wait_for("document.getElementById('login')?.hidden === false")
    assert browser.evaluate("sessionStorage.length") == 0


def test_a_monitor_that_is_gone_is_said_and_found_again(browser: Chromium, tmp_path: Path) -> None:
    """Old figures do not look like new ones; when it answers again, another run's curve begins anew."""
    answers = "document.getElementById('link').textContent"
    with scenes.served(scenes.all_well, None, seconds=50) as scene:
        browser.show(scene.url)
        browser.wait_for(f"{answers}.startsWith('live')")
        assert "Alarms are not kept" in browser.evaluate("document.getElementById('notice').innerText")
    browser.wait_for(f"{TITLE} === 'No answer from the monitor'")
    assert browser.evaluate("document.body.classList.contains('stale')")
    assert browser.evaluate("getComputedStyle(document.getElementById('watched')).opacity") == "1", "it can be read"
    browser.evaluate("document.querySelector('footer').scrollIntoView()")
    assert browser.evaluate("document.querySelector('header').getBoundingClientRect().top") == 0, "it stays in sight"
    port = urlsplit(scene.url).port
    assert port is not None
    with scenes.served(scenes.all_well, None, seconds=5, port=port):
        browser.wait_for(f"{TITLE} === 'All 3 sources are well'")
        assert "Level 4 dB of a sine of one unit" in browser.evaluate("document.body.innerText"), "of the accelerometer"
        assert not browser.evaluate("document.body.classList.contains('stale')")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("scene", [scenes.an_alarm, scenes.a_missing_microphone, scenes.many], ids=lambda s: s.__name__)
def test_everybody_can_read_it(browser: Chromium, tmp_path: Path, scene: scenes.Sources, dark: bool) -> None:
    """Contrast of WCAG AA, a name for everything that can be used or seen, headings in order, no sideways scrolling."""
    clips = tmp_path / "clips"
    heard, sensed = keep_clip(clips, "audio", "pump7"), keep_clip(clips, "sensor", "pump7")
    over = {"state": AlarmState.CLEARED, "end_seconds": 1042.0, "verdict": "real"}
    alarms = [
        *(
            scenes.alarm("fan north", ago_seconds=20.0 + i, state=AlarmState.CLEARED, end_seconds=1042.0)
            for i in range(3)
        ),
        scenes.alarm("pump7", ago_seconds=60, id=heard),
        scenes.alarm("pump7", ago_seconds=9000, id=sensed, **over),
    ]
    with scenes.served(scene, tmp_path, alarms=alarms, seconds=100, evidence=clips) as served:
        browser.show(served.url, width=390, height=844, dark=dark)
        browser.wait_for(f"{CARDS} > 0 && document.querySelector('.card canvas')?.getAttribute('aria-label')")
        browser.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        browser.wait_for("document.querySelector('audio')?.readyState > 0 && document.querySelector('.line') !== null")
        time.sleep(1.2)
        low = [(ratio, text) for ratio, text in browser.evaluate(CONTRASTS) if ratio < 4.5]
        assert low == []
        assert browser.evaluate("document.scrollingElement.scrollWidth") == 390
        nodes = [n for n in browser.call("Accessibility.getFullAXTree")["nodes"] if not n["ignored"]]
    roles = {node["role"]["value"] for node in nodes}
    assert {"banner", "main", "contentinfo", "region"} <= roles
    used = ("button", "textbox", "radio", "combobox", "image", "img", "link", "group", "region", "DisclosureTriangle")
    nameless = [n["role"]["value"] for n in nodes if n["role"]["value"] in used and not n.get("name", {}).get("value")]
    assert [role for role in nameless if role != "group"] == []
    assert "radiogroup" in roles or any(n.get("name", {}).get("value") == "What was it?" for n in nodes)
    levels = [
        prop["value"]["value"]
        for node in nodes
        if node["role"]["value"] == "heading"
        for prop in node["properties"]
        if prop["name"] == "level"
    ]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    small = browser.evaluate(
        "[...document.querySelectorAll('button, input:not([type=radio]), select, summary, .choice')]"
        ".filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 40).map((one) => one.outerHTML)"
    )
    assert small == [], "a thumb needs room"


def test_many_alarms_of_a_source_are_one_entry_with_one_answer(browser: Chromium, tmp_path: Path) -> None:
    """The headline says that they wait, an answer is for all of them, and a note goes with its verdict."""
    over = {"state": AlarmState.CLEARED, "end_seconds": 1007.0}
    alarms = [scenes.alarm("pump7", ago_seconds=20 + 12 * i, peak_score=0.03 + 0.01 * i, **over) for i in range(3)]
    alarms.append(scenes.alarm("fan north", ago_seconds=5000, **over | {"state": AlarmState.ENDED}))
    with scenes.served(scenes.all_well, tmp_path, alarms=alarms, seconds=5) as scene:
        browser.show(scene.url, width=390, height=844)
        browser.wait_for(f"{TITLE} === 'No alarm now: 4 wait for an answer'")
        shown = browser.evaluate("document.getElementById('open-alarms').innerText")
        assert browser.evaluate("document.querySelectorAll('#open-alarms > .alarm').length") == 2
        assert "3 alarms, " in shown and "up to 2.5\xa0\u00d7 the threshold" in shown
        assert "Broken off" in shown and "was given another configuration" in shown
        browser.evaluate("document.querySelector('#open-alarms .answer').open = true")
        assert "[source.running]" in browser.evaluate("document.getElementById('open-alarms').innerText")
        form = "document.querySelector('#open-alarms form')"
        browser.evaluate(f"{form}.verdict.value = 'real'; {form}.note.value = 'outer race'; {form}.requestSubmit()")
        browser.wait_for("document.querySelectorAll('#old-alarms > .alarm').length === 3")
        browser.wait_for(f"{TITLE} === 'No alarm now: 1 waits for an answer'")
        browser.evaluate("document.querySelector('#old-alarms .answer').open = true")
        form = "document.querySelector('#old-alarms form')"
        browser.evaluate(f"{form}.querySelector('[value=false]').click()")
        assert browser.evaluate(f"{form}.note.value") == ""
        browser.evaluate(f"{form}.requestSubmit()")
        browser.wait_for("document.getElementById('old-alarms').innerText.includes('It was a false alarm.')")
        assert browser.complaints == []
    store = StateStore.open_existing(tmp_path)
    said = [(alarm.verdict, alarm.note) for alarm in store.alarms()]
    store.close()
    assert sorted(said, key=str) == [("false", ""), ("real", "outer race"), ("real", "outer race"), (None, "")]


def test_one_answer_is_for_more_alarms_than_are_shown(browser: Chromium, tmp_path: Path) -> None:
    """Headline and entry tell all 40 of a noisy source, one answer judges them, and no other source is hidden."""
    over = {"state": AlarmState.CLEARED, "end_seconds": 1007.0}
    alarms = [scenes.alarm("fan north", ago_seconds=90_000, **over)]
    alarms += [scenes.alarm("pump7", ago_seconds=9000 - 60 * i, **over) for i in range(40)]
    with scenes.served(scenes.all_well, tmp_path, alarms=alarms, seconds=5) as scene:
        browser.show(scene.url, width=390, height=844)
        browser.wait_for(f"{TITLE} === 'No alarm now: 41 wait for an answer'")
        shown = browser.evaluate("document.getElementById('open-alarms').innerText")
        assert "40 alarms; the newest 30, " in shown and "Answer all 40" in shown and "fan north" in shown
        form = "document.querySelector('#open-alarms form')"
        browser.evaluate(f"{form}.verdict.value = 'false'; {form}.requestSubmit()")
        browser.wait_for(f"{TITLE} === 'No alarm now: 1 waits for an answer'")
    store = StateStore.open_existing(tmp_path)
    assert [alarm.verdict for alarm in store.alarms()] == ["false"] * 40 + [None]
    store.close()


def test_an_alarm_that_goes_on_says_how_far_and_in_which_bands(browser: Chromium, tmp_path: Path) -> None:
    """As the source is now, and with how many events are held for whom, where some are."""
    alarms = [scenes.alarm("pump7", ago_seconds=60)]
    with scenes.served(scenes.an_alarm, tmp_path, alarms=alarms, seconds=500) as scene:
        browser.show(scene.url)
        words = "document.querySelector('#open-alarms .when')?.textContent"
        browser.wait_for(f"/; now 2\\.\\d+\\s\u00d7 the threshold, carried by .*Hz \\(.*the usual\\)/.test({words})")
        besides = browser.evaluate("document.getElementById('besides').textContent")
        assert re.search(r"Held until [\d:.]+.* for email 'email': 4 events\.", besides), besides


def test_who_asked_for_less_motion_gets_a_picture_every_ten_seconds(browser: Chromium, tmp_path: Path) -> None:
    """The figures still change every second, the curve does not."""
    picture = "document.querySelector('.score').toDataURL()"
    with scenes.served(scenes.an_alarm, tmp_path, seconds=500) as scene:
        browser.show(scene.url, calm=True)
        browser.wait_for(f"{CARDS} === 3")
        browser.wait_for("document.querySelector('.card canvas')?.getAttribute('aria-label')")
        before, said = browser.evaluate(picture), browser.evaluate("document.getElementById('link').textContent")
        browser.wait_for(f"document.getElementById('link').textContent !== {json.dumps(said)}")
        time.sleep(2)
        assert browser.evaluate(picture) == before
        browser.wait_for(f"{picture} !== {json.dumps(before)}", seconds=15)


def test_a_page_that_is_open_for_hours_does_not_grow(browser: Chromium, tmp_path: Path) -> None:
    """Hundreds of updates, alarms that come and go and sixteen curves leave the document and the heap as they were."""
    hurry = "const slow = setTimeout; window.setTimeout = (work, ms) => slow(work, ms > 4000 ? ms : ms / 200)"
    script = browser.call("Page.addScriptToEvaluateOnNewDocument", source=hurry)["identifier"]
    stop = threading.Event()

    def live(tick: Callable[[], None]) -> None:
        store, number = StateStore.open_existing(tmp_path), 0
        while not stop.wait(0.02):
            tick()
            number += 1
            if number % 3 == 0:
                store.save(scenes.alarm("line 1 machine 3", ago_seconds=100_000 - number))
        store.close()

    def updates() -> int:
        return sum("/api/status" in request for request in browser.requests)

    def size() -> tuple[int, int]:
        """Elements of the document, and bytes of its heap."""
        browser.call("HeapProfiler.collectGarbage")
        return browser.evaluate("document.querySelectorAll('*').length"), browser.call("Runtime.getHeapUsage")[
            "usedSize"
        ]

    def after(more: int) -> tuple[int, int]:
        wanted = updates() + more
        while (before := updates()) < wanted:
            wait_until(lambda: browser.evaluate("1") and updates() > before)
        return size()

    try:
        with scenes.served(scenes.many, tmp_path) as scene:
            living = threading.Thread(target=live, args=(scene.tick,))
            living.start()
            browser.show(scene.url)
            browser.wait_for(f"{CARDS} === 16")
            first = after(100)
            last = after(300)
            stop.set()
            living.join()
            assert browser.complaints == []
    finally:
        stop.set()
        browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
    print(f"elements and heap after 100 updates: {first}, after 400: {last}")
    assert abs(last[0] - first[0]) < 0.1 * first[0]
    assert last[1] - first[1] < 1_000_000
