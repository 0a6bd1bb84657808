"""What the page is told and may do, asked over HTTP without a browser."""

from __future__ import annotations

import http.client
import json
import math
import sqlite3
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import page_scenes as scenes
import pytest
from dasvdd_runtime.alarms.mutes import LONGEST_SECONDS
from dasvdd_runtime.condition.health import State
from dasvdd_runtime.endpoint.alarm_board import MOST_ALARMS, AlarmBoard
from dasvdd_runtime.endpoint.guard import PAGE_HEADER
from dasvdd_runtime.endpoint.history import STEPS, History, band_levels
from dasvdd_runtime.endpoint.observed import ShownAlarms
from dasvdd_runtime.endpoint.state_words import words_for
from dasvdd_runtime.endpoint.web_files import FILES
from dasvdd_runtime.running.snapshot import Residual
from dasvdd_runtime.state.state_store import StateStore

FROM_PAGE = {PAGE_HEADER: "1", "Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}
ACKNOWLEDGE = {"alarm": "pump7-60", "verdict": "real", "note": "bearing"}
MUTE = {"source": "pump7", "seconds": 3600}


def asked(
    url: str, path: str, *, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Status, headers and body of a GET, or with `body` of a POST of it."""
    client = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    client.request("GET" if raw is None else "POST", path, raw, headers or {})
    answer = client.getresponse()
    found = answer.status, answer.headers, answer.read()
    client.close()
    return found


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Serves three sources and one alarm of pump7, and gives the URL; see `page_scenes.served`."""
    with ExitStack() as stack:

        def begin(*, state: bool = True, token: Path | None = None) -> str:
            directory = tmp_path / "state" if state else None
            if directory is not None:
                directory.mkdir()
            alarms = [scenes.alarm("pump7", ago_seconds=60)]
            return stack.enter_context(
                scenes.served(scenes.an_alarm, directory, alarms=alarms, token=token, seconds=3)
            ).url

        yield begin


def test_the_page_and_its_files_are_served_to_everybody_under_a_strict_policy(
    serve: Callable[..., str], tmp_path: Path
) -> None:
    """Scripts, styles and data may come from the monitor alone; the files tell of no source; no cache keeps data."""
    (tmp_path / "token").write_text("secret")
    url = serve(token=tmp_path / "token")
    for path, (_, content_type) in FILES.items():
        status, headers, body = asked(url, path)
        assert (status, headers["Content-Type"]) == (200, content_type)
        assert b"pump7" not in body and b"http://" not in body.replace(b"http://www.w3.org/2000/svg", b"")
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; ") and "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert asked(url, "/api/status", headers={"Authorization": "Bearer secret"})[1]["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "read", "act"),
    [
        ({}, 200, 200),
        ({"Host": "localhost:1"}, 200, 200),
        ({"Host": "[::1]:9464"}, 200, 200),
        ({"Host": "attacker.example"}, 403, 403),
        ({"Host": "127.0.0.1.attacker.example"}, 403, 403),
        ({"Host": "192.168.1.20:9464"}, 403, 403),
        ({"Host": "[nonsense"}, 403, 403),
        ({"Host": ""}, 403, 403),
        ({"Origin": "http://attacker.example"}, 200, 403),
        ({"Origin": "null"}, 200, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, 200, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 200, 403),
        ({"Sec-Fetch-Site": "same-site"}, 200, 403),
        ({"Content-Type": "text/plain"}, 200, 403),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 200, 403),
    ],
    ids=str,
)
def test_only_this_page_may_act_and_only_this_machine_may_read(
    serve: Callable[..., str], headers: dict[str, str], read: int, act: int
) -> None:
    """Another site's page, a name that was made to point here and a plain form are refused, and change nothing."""
    url = serve()
    assert asked(url, "/api/status", headers=headers)[0] == read
    assert asked(url, "/api/history", headers=headers)[0] == read
    assert asked(url, "/api/acknowledge", body=ACKNOWLEDGE, headers={**FROM_PAGE, **headers})[0] == act
    (alarm,) = json.loads(asked(url, "/api/status")[2])["alarms"]
    assert alarm["verdict"] == ("real" if act == 200 else None)


def test_a_step_that_is_none_gets_no_curves(serve: Callable[..., str]) -> None:
    """Digits beyond what Python turns into a number are no fault of the monitor."""
    url = serve()
    for after, curves in (("9", True), ("9" * 5000, False), ("x", False)):
        status, _, body = asked(url, f"/api/status?after={after}")
        assert (status, "curves" in json.loads(body)) == (200, curves)


def test_without_the_page_s_header_nothing_is_done(serve: Callable[..., str]) -> None:
    """What a form of another site can send is not enough."""
    url = serve()
    for path in ("/api/acknowledge", "/api/mute", "/api/unmute"):
        status, _, body = asked(url, path, body=MUTE, headers={"Content-Type": "application/json"})
        assert (status, PAGE_HEADER.encode() in body) == (403, True)


def test_with_a_token_everything_but_the_page_needs_it_and_any_name_will_do(
    serve: Callable[..., str], tmp_path: Path
) -> None:
    """Another machine asks by this one's name; without the token it reads nothing and changes nothing."""
    (tmp_path / "token").write_text("secret")
    url = serve(token=tmp_path / "token")
    by_name = {**FROM_PAGE, "Host": "pump-box.local:9464"}
    for given, expected in (("", 401), ("Bearer wrong", 401), ("Basic secret", 401), ("Bearer secret", 200)):
        headers = {**by_name, "Authorization": given}
        for path in ("/api/status", "/api/history"):
            assert asked(url, path, headers=headers)[0] == expected
        assert asked(url, "/api/mute", body=MUTE, headers=headers)[0] == expected
    assert asked(url, "/api/status?token=secret")[0] == 401
    assert b'data-token="needed"' in asked(url, "/")[2]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/api/acknowledge", ACKNOWLEDGE | {"alarm": "pump7"}, 409, "no alarm"),
        ("/api/acknowledge", ACKNOWLEDGE | {"alarm": ""}, 409, "no alarm"),
        ("/api/acknowledge", ACKNOWLEDGE | {"verdict": "perhaps"}, 400, "verdict"),
        ("/api/acknowledge", ACKNOWLEDGE | {"note": "x" * 501}, 400, "note"),
        ("/api/acknowledge", ACKNOWLEDGE | {"more": 1}, 400, "more"),
        ("/api/acknowledge", b"{", 400, "JSON"),
        ("/api/acknowledge", b"", 400, "JSON"),
        ("/api/mute", {"source": "pump7"}, 400, "seconds"),
        ("/api/mute", MUTE | {"seconds": 0}, 409, "more than 0"),
        ("/api/mute", MUTE | {"seconds": LONGEST_SECONDS + 1}, 409, "at most 7 d"),
        ("/api/mute", MUTE | {"seconds": math.inf}, 409, "at most 7 d"),
        ("/api/mute", MUTE | {"seconds": math.nan}, 409, "at most 7 d"),
        ("/api/mute", MUTE | {"source": "pump8"}, 409, "no source 'pump8'"),
        ("/api/unmute", {"source": "pump7"}, 409, "not muted"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_said(serve: Callable[..., str], path: str, body: Any, status: int, words: str) -> None:
    """Each fault has its status and its words, and state.db stays as it was."""
    url = serve()
    found, _, said = asked(url, path, body=body, headers=FROM_PAGE)
    assert found == status and words in json.loads(said)["said"], said
    now = json.loads(asked(url, "/api/status")[2])
    assert [alarm["verdict"] for alarm in now["alarms"]] == [None]
    assert not any(source["mute"] for source in now["sources"])


def test_what_the_page_does_is_what_the_commands_do(serve: Callable[..., str], tmp_path: Path) -> None:
    """A verdict, a mute with its end, and the end of the mute stand in state.db as `ack` and `mute` write them."""
    url = serve()
    store = StateStore.open_existing(tmp_path / "state")
    for path, body in (("acknowledge", ACKNOWLEDGE), ("mute", MUTE | {"note": "service"})):
        status, _, said = asked(url, f"/api/{path}", body=body, headers=FROM_PAGE)
        assert status == 200, said
    (untold,) = store.untold()
    assert (untold.id, untold.verdict, untold.note) == ("pump7-60", "real", "bearing")
    (mute,) = store.mutes()
    assert (mute.source, mute.note) == ("pump7", "service") and 3590 < mute.remaining_seconds <= 3600
    assert asked(url, "/api/unmute", body={"source": "pump7"}, headers=FROM_PAGE)[0] == 200
    assert store.mutes() == []
    store.close()


def test_a_page_that_is_open_keeps_nobody_from_writing(serve: Callable[..., str], tmp_path: Path) -> None:
    """The monitor, for which this connection stands, can write at once while the page holds state.db open."""
    url = serve()
    assert asked(url, "/api/status")[0] == 200
    monitor = sqlite3.connect(tmp_path / "state" / "state.db", timeout=0)
    with monitor:
        monitor.execute("UPDATE alarms SET note = 'x'")
    monitor.close()


def test_a_state_file_that_cannot_be_read_is_said_and_the_rest_goes_on(
    serve: Callable[..., str], tmp_path: Path
) -> None:
    """The sources are shown all the same; what would change something is refused and says why."""
    url = serve()
    assert json.loads(asked(url, "/api/status")[2])["state_trouble"] == ""
    (tmp_path / "state" / "state.db").unlink()
    now = json.loads(asked(url, "/api/status")[2])
    assert "state.db" in now["state_trouble"] and len(now["sources"]) == 3 and now["alarms"] == []
    status, _, said = asked(url, "/api/acknowledge", body=ACKNOWLEDGE, headers=FROM_PAGE)
    assert status == 503 and "try again" in json.loads(said)["said"]


def test_without_a_state_directory_nothing_can_be_answered(serve: Callable[..., str]) -> None:
    """It is said what to add to the configuration."""
    url = serve(state=False)
    assert json.loads(asked(url, "/api/status")[2])["keeps_alarms"] is False
    status, _, said = asked(url, "/api/acknowledge", body=ACKNOWLEDGE, headers=FROM_PAGE)
    assert status == 409 and "[state]" in json.loads(said)["said"]


def test_one_answer_is_for_all_of_a_source_up_to_the_newest_that_was_shown(tmp_path: Path) -> None:
    """However many there are; not for one that rose since, another source's, or one that somebody has judged."""
    store, _ = StateStore.open_or_renew(tmp_path)
    store.save(scenes.alarm("fan north", ago_seconds=2000))
    for number in range(4 * MOST_ALARMS):
        store.save(scenes.alarm("pump7", ago_seconds=1000 - number))
    store.judge(["pump7-990"], "real", "bearing")
    board = AlarmBoard(tmp_path)
    shown = board.look()
    assert shown.unanswered == {"pump7": 4 * MOST_ALARMS - 1, "fan north": 1}
    assert [alarm.source for alarm in shown.alarms].count("fan north") == 1, "a noisy source hides no other"
    store.save(scenes.alarm("pump7", ago_seconds=1))
    board.judge(shown.alarms[0].id, "false", "", with_earlier=True)
    assert board.look().unanswered == {"pump7": 1, "fan north": 1}
    (judged,) = store.find("pump7-990")
    assert (judged.verdict, judged.note) == ("real", "bearing")
    store.close()
    board.close()


def test_another_program_s_verdict_and_a_new_state_file_are_seen(tmp_path: Path) -> None:
    """The board reads again when a command has written, and when the monitor has put a damaged file aside."""
    store, _ = StateStore.open_or_renew(tmp_path)
    for number in range(2 * MOST_ALARMS):
        store.save(scenes.alarm("pump7", ago_seconds=1000 - number))
    board = AlarmBoard(tmp_path)
    alarms = board.look().alarms
    assert len(alarms) == MOST_ALARMS and alarms[0].id == f"pump7-{1000 - 2 * MOST_ALARMS + 1}"
    store.judge([alarms[0].id], "false", "")
    assert board.look().alarms[0].verdict == "false"
    assert board.look() is board.look(), "nothing has changed, so nothing is read"
    store.close()
    (tmp_path / "state.db").rename(tmp_path / "state.db.damaged")
    StateStore.open_or_renew(tmp_path)[0].close()
    assert board.look() == ShownAlarms([], {}, [])
    board.close()


def test_the_curve_is_the_score_through_the_threshold_and_blank_where_nothing_was_judged() -> None:
    """A threshold that moves, an idle machine and a missing second show as what they were; new points alone follow."""
    now = [0.0]
    source = scenes.listening("a", 0.0)
    history = History(lambda: [source], clock=lambda: now[0])
    for score, threshold, state in ((1, 2, State.OK), (1, 4, State.OK), (1, 4, State.IDLE), (3, 4, State.CLIPPED)):
        source = replace(source, smoothed_score=score, threshold=threshold, state=state, in_alarm=score == 3)
        history.look()
        now[0] += 2.0 if state is State.IDLE else 1.0
    after = history.after(-1)
    points = after["sources"]["a"]
    assert after["steps"] == [0, 1, 2, 4]
    assert (points["ratio"], points["alarm"]) == ([0.5, 0.25, None, 0.75], "0001")
    assert [len(letters) for letters in points["bands"]] == [24, 24, 0, 24]
    assert points["span"] == ["40 Hz", "7600 Hz"]
    assert history.after(2)["steps"] == [4] and history.after(4)["sources"]["a"]["ratio"] == []
    assert history.state_seconds("a") == pytest.approx(1.0)


def test_the_rings_never_grow() -> None:
    """A week of sixteen sources takes what the first ten minutes took, and 1 MB at most; the oldest points go."""
    now, sources = [0.0], scenes.many(0.0)
    history = History(lambda: sources, clock=lambda: now[0])
    tracemalloc.start()
    try:
        sizes = []
        for looks in (STEPS + 100, 100, STEPS + 100):
            for _ in range(looks):
                now[0] += 1.0
                history.look()
            sizes.append(tracemalloc.get_traced_memory()[0])
            now[0] += 86400.0
    finally:
        tracemalloc.stop()
    assert sizes[2] - sizes[0] < 10_000 and sizes[0] < 1_000_000, sizes
    assert len(history.after(-1)["steps"]) == STEPS
    sources = sources[:1]
    history.look()
    assert list(history.after(-1)["sources"]) == [sources[0].name], "a source that was removed is forgotten"


def test_rows_and_letters_of_bands() -> None:
    """Each row is its largest band: twice the binary logarithm of its ratio, within bounds; no usual value: usual."""
    usual = np.full(48, 2.0)
    usual[47] = 0.0
    values = np.full(48, 2.0)
    values[[0, 10, 20, 47]] = 4.0, 2000.0, 0.1, 9.0
    levels = band_levels(Residual(values, usual.tolist(), [str(band) for band in range(48)]))
    assert (levels[0], levels[5], levels[10], levels[23], len(levels)) == (2, 8, 0, 0, 24)


def test_the_page_is_told_whether_the_spectrum_was_compared(serve: Callable[..., str]) -> None:
    """None of the last day's drift report means: not; nothing found in it is a verdict."""
    sources = json.loads(asked(serve(), "/api/status")[2])["sources"]
    assert [source["drift"]["spectrum_compared"] for source in sources] == [True] * 3
    with scenes.served(scenes.a_missing_microphone, None, alarms=[], seconds=3) as page:
        sources = json.loads(asked(page.url, "/api/status")[2])["sources"]
    assert [source["drift"]["spectrum_compared"] for source in sources] == [True, False, False]


def test_a_recording_at_its_end_has_no_reason_of_its_last_state() -> None:
    """It does not say that samples arrive."""
    with scenes.served(lambda seconds: [replace(scenes.listening("a", seconds), ended=True)], None, seconds=3) as page:
        (source,) = json.loads(asked(page.url, "/api/status")[2])["sources"]
    assert (source["title"], source["reason"], source["state_seconds"]) == ("Ended", "", None)


def test_every_state_is_told_in_words() -> None:
    """What is wrong has something to do beside it, what is well has not."""
    source = scenes.listening("a", 0.0)
    for state in State:
        words = words_for(replace(source, state=state))
        assert words.title and words.meaning
        assert bool(words.advice) == (state is not State.OK)
    assert words_for(replace(source, alive=False)).tone == "bad"
    assert words_for(replace(source, failed=True, ended=True)).tone == "bad"
    assert words_for(replace(source, ended=True)).tone == "quiet"


def test_many_who_ask_at_once_each_get_an_answer(serve: Callable[..., str]) -> None:
    """Three pages that poll and one person who mutes and unmutes get what they ask for."""
    url = serve()
    answers: list[int] = []

    def poll() -> None:
        answers.extend(asked(url, "/api/status?after=100")[0] for _ in range(10))

    pages = [threading.Thread(target=poll) for _ in range(3)]
    for page in pages:
        page.start()
    for _ in range(5):
        assert asked(url, "/api/mute", body=MUTE, headers=FROM_PAGE)[0] == 200
        assert asked(url, "/api/unmute", body={"source": "pump7"}, headers=FROM_PAGE)[0] == 200
    for page in pages:
        page.join()
    assert answers == [200] * 30
