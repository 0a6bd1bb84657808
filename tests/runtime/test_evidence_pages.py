"""The evidence of alarms over HTTP, asked without a browser."""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import page_scenes as scenes
import pytest
import soundfile
from dasvdd_runtime.endpoint import evidence_pages, evidence_picture, file_body
from dasvdd_runtime.endpoint.evidence_shelf import EvidenceShelf
from evidence_scenes import BEGIN_SECONDS, END_SECONDS, RATE_HZ, SECONDS, keep_clip

Found = tuple[int, http.client.HTTPMessage, bytes]


def asked(url: str, path: str, *, method: str = "GET", **headers: str) -> Found:
    """Status, headers and body."""
    client = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    client.request(method, path, headers=headers)
    answer = client.getresponse()
    found = answer.status, answer.headers, answer.read()
    client.close()
    return found


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """The directory of the clips."""
    return tmp_path / "clips"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes what a test serves."""
    with ExitStack() as stack:
        yield stack


def open_clips() -> list[str]:
    """The FLAC files that this process holds open."""
    found = []
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(str(handle.readlink()))
    return [name for name in found if name.endswith(".flac")]


def serve(stack: ExitStack, clips: Path | None, token: Path | None = None) -> str:
    return stack.enter_context(scenes.served(scenes.all_well, None, seconds=1, evidence=clips, token=token)).url


def test_the_sidecar_and_the_sound_are_those_on_the_disk(stack: ExitStack, clips: Path) -> None:
    """Byte by byte, with their types and lengths; nothing may be cached, sniffed or used by another site."""
    alarm = keep_clip(clips, "audio", "pump7")
    url = serve(stack, clips)
    for path, suffix, content_type in (("", ".json", "application/json"), ("/audio", ".flac", "audio/flac")):
        (file,) = clips.glob(f"*{suffix}")
        status, headers, body = asked(url, f"/evidence/{alarm}{path}")
        assert (status, headers["Content-Type"], body) == (200, content_type, file.read_bytes())
        assert headers["Content-Length"] == str(len(body)) and headers["Accept-Ranges"] == "bytes"
        assert headers["Cache-Control"] == "no-store" and headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        status, headers, nothing = asked(url, f"/evidence/{alarm}{path}", method="HEAD", Range="bytes=0-9")
        assert (status, headers["Content-Length"], nothing) == (200, str(len(body)), b"")
    assert soundfile.info(io.BytesIO(body)).duration == SECONDS


@pytest.mark.parametrize(
    ("wanted", "status", "first", "last"),
    [
        ("bytes=0-", 206, 0, -1),
        ("bytes=0-0", 206, 0, 0),
        ("bytes=1000-1999", 206, 1000, 1999),
        ("bytes=1000-99999999999", 206, 1000, -1),
        ("bytes=-100", 206, -100, -1),
        ("bytes=-99999999999", 206, 0, -1),
        ("bytes=99999999999-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=9-3", 200, 0, -1),
        ("bytes=-", 200, 0, -1),
        ("bytes=0-1,3-4", 200, 0, -1),
        ("bytes=" + "9" * 500 + "-", 200, 0, -1),
        ("bytes=\u0661-", 200, 0, -1),
        ("lines=0-1", 200, 0, -1),
    ],
)
def test_a_part_of_the_sound_can_be_asked_for(
    stack: ExitStack, clips: Path, wanted: str, status: int, first: int, last: int
) -> None:
    """As RFC 9110 has it: one range is served, one beyond the end refused with the size, anything else ignored."""
    alarm = keep_clip(clips, "audio", "pump7")
    whole = next(clips.glob("*.flac")).read_bytes()
    found, headers, body = asked(
        serve(stack, clips), f"/evidence/{alarm}/audio", Range=wanted.encode().decode("latin-1")
    )
    assert found == status
    if status == 416:
        assert headers["Content-Range"] == f"bytes */{len(whole)}"
        return
    first, last = first % len(whole), last % len(whole)
    assert body == whole[first : last + 1] and headers["Content-Length"] == str(len(body))
    assert headers["Content-Range"] == (f"bytes {first}-{last}/{len(whole)}" if status == 206 else None)


def test_a_range_that_depends_on_a_version_gets_the_whole_file(stack: ExitStack, clips: Path) -> None:
    """There are no versions to compare, and a part of another one would be wrong."""
    alarm = keep_clip(clips, "audio", "pump7")
    status, _, _ = asked(serve(stack, clips), f"/evidence/{alarm}/audio", **{"Range": "bytes=0-9", "If-Range": '"x"'})
    assert status == 200


@pytest.mark.parametrize(
    "below",
    [
        "",
        "/",
        "../../secret.json",
        "..%2f..%2fsecret.json",
        "%2e%2e/secret",
        "....//secret.json",
        "/etc/passwd",
        "{alarm}/../../secret",
        "{alarm}/audio/../../../secret",
        "{alarm}/",
        "{alarm}//audio",
        "{alarm}.json",
        "{alarm}.flac",
        "{alarm}/audio/",
        "{alarm}/other",
        "{ALARM}",
        "{alarm}%00",
        "{alarm}%0a",
        "{name}",
        "{name}/audio",
        "x-{alarm}",
        "*",
        "[0-9a-f]*",
        "secret",
        "a" * 7000,
    ],
    ids=lambda below: below[:30],
)
def test_nothing_but_a_whole_id_leads_to_a_file(stack: ExitStack, tmp_path: Path, clips: Path, below: str) -> None:
    """Ways out of the directory, names of files, patterns and other spellings find nothing, and it is said."""
    alarm = keep_clip(clips, "audio", "pump7")
    for place in (tmp_path / "secret.json", tmp_path / "secret", clips / "secret.json"):
        place.write_text('"SECRET"')
    name = next(clips.glob("*.flac")).stem
    path = below.replace("{alarm}", alarm).replace("{ALARM}", alarm.upper()).replace("{name}", name)
    status, _, body = asked(serve(stack, clips), f"/evidence/{path}")
    assert status == 404 and b"SECRET" not in body and b"there" in body


def test_links_pipes_and_folders_are_no_evidence(stack: ExitStack, tmp_path: Path, clips: Path) -> None:
    """What stands under a clip's name but is no plain file is not opened, so that none of it leaves or hangs."""
    (tmp_path / "secret").write_text("SECRET")
    url = serve(stack, clips)
    kinds = (lambda path: path.symlink_to(tmp_path / "secret"), os.mkfifo, Path.mkdir)
    for make in kinds:
        alarm = keep_clip(clips, "audio", "pump7")
        for suffix, part in ((".flac", "/audio"), (".json", "")):
            (path,) = clips.glob(f"*{alarm}{suffix}")
            path.unlink()
            make(path)
            status, _, body = asked(url, f"/evidence/{alarm}{part}")
            assert status == 404 and b"SECRET" not in body
            if suffix == ".flac":
                assert asked(url, f"/evidence/{alarm}/picture")[0] == 404


def test_the_token_is_needed_for_each_part(stack: ExitStack, tmp_path: Path, clips: Path) -> None:
    """Without it not even whether there is evidence is told."""
    (tmp_path / "token").write_text("secret")
    alarm = keep_clip(clips, "audio", "pump7")
    url = serve(stack, clips, tmp_path / "token")
    for id in (alarm, str(uuid.uuid4())):
        for part in ("", "/audio", "/picture", "/samples"):
            assert asked(url, f"/evidence/{id}{part}")[0] == 401
            assert asked(url, f"/evidence/{id}{part}?token=secret", Authorization="Bearer wrong")[0] == 401
    assert asked(url, f"/evidence/{alarm}/audio", Authorization="Bearer secret")[0] == 200


def test_another_name_than_this_machine_s_is_refused_without_a_token(stack: ExitStack, clips: Path) -> None:
    """A site whose name was made to point here hears nothing."""
    alarm = keep_clip(clips, "audio", "pump7")
    assert asked(serve(stack, clips), f"/evidence/{alarm}/audio", Host="attacker.example")[0] == 403


def test_what_is_not_there_is_said(stack: ExitStack, clips: Path) -> None:
    """No clip yet, one that was removed, a spectrogram without sound, and a monitor that keeps none."""
    url = serve(stack, clips)
    missing = asked(url, f"/evidence/{uuid.uuid4()}")
    assert missing[0] == 404 and b"max_bytes" in missing[2]
    alarm = keep_clip(clips, "spectrogram", "pump7")
    sidecar = asked(url, f"/evidence/{alarm}")
    assert sidecar[0] == 200 and len(json.loads(sidecar[2])["spectrogram"]["levels_db"][0]) == SECONDS / 0.125
    assert b"no audio" in asked(url, f"/evidence/{alarm}/audio")[2]
    for path in clips.iterdir():
        path.unlink()
    assert asked(url, f"/evidence/{alarm}")[::2] == missing[::2]
    assert b"[state] directory" in asked(serve(stack, None), f"/evidence/{alarm}")[2]


def test_a_sidecar_beyond_all_bounds_is_not_sent(
    stack: ExitStack, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size and the bound are told."""
    monkeypatch.setattr(evidence_pages, "SIDECAR_BYTES", 1000)
    alarm = keep_clip(clips, "spectrogram", "pump7")
    status, _, body = asked(serve(stack, clips), f"/evidence/{alarm}")
    assert status == 413 and b"1000" in body and str(next(clips.glob("*.json")).stat().st_size).encode() in body


def test_the_picture_of_a_sound_is_the_spectrogram_that_would_have_been_kept(stack: ExitStack, clips: Path) -> None:
    """Of the same sound, `audio` and `spectrogram` show the same levels within what 16 bits allow."""
    heard, kept = keep_clip(clips, "audio", "pump7"), keep_clip(clips, "spectrogram", "pump7")
    url = serve(stack, clips)
    picture = json.loads(asked(url, f"/evidence/{heard}/picture")[2])["spectrogram"]
    expected = json.loads(asked(url, f"/evidence/{kept}")[2])["spectrogram"]
    assert (picture["edges_hz"], picture["step_seconds"]) == (expected["edges_hz"], expected["step_seconds"])
    assert np.allclose(picture["levels_db"], expected["levels_db"], atol=0.2)


def test_a_long_clip_has_a_picture_of_the_same_size(tmp_path: Path) -> None:
    """An hour has as many steps as a minute, and the tone that is in it at its level; more than can be is refused."""
    times = np.arange(1200 * RATE_HZ) / RATE_HZ
    soundfile.write(tmp_path / "long.flac", 0.5 * np.sin(2 * np.pi * 1000 * times), RATE_HZ)
    found = evidence_picture.picture(tmp_path / "long.json")["spectrogram"]
    (levels,) = np.array(found["levels_db"])
    assert evidence_picture.MOST_STEPS - 1 <= len(levels) <= evidence_picture.MOST_STEPS
    band = np.searchsorted(found["edges_hz"], 1000) - 1
    assert np.allclose(levels[:, band], 20 * np.log10(0.5), atol=0.1)


def test_a_clip_too_large_or_damaged_has_no_picture(
    stack: ExitStack, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said why; the rest of the endpoint goes on."""
    url = serve(stack, clips)
    for kind in ("audio", "sensor"):
        alarm = keep_clip(clips, kind, "pump7")
        with monkeypatch.context() as patch:
            patch.setattr(evidence_picture, "MOST_VALUES", 1000)
            status, _, body = asked(url, f"/evidence/{alarm}/picture")
            assert status == 404 and b"1000 at most" in body
        (file,) = (path for path in clips.glob(f"*{alarm}.*") if path.suffix != ".json")
        for size in (0, 10, 2000):
            file.write_bytes(file.read_bytes()[:size])
            status, _, body = asked(url, f"/evidence/{alarm}/picture")
            assert status == 404 and b"cannot be read" in body
    assert asked(url, "/api/status")[0] == 200


def test_a_sensor_s_channels_are_lines_that_hold_every_extreme(stack: ExitStack, clips: Path) -> None:
    """Each step has the least and the greatest value of its rows; where no value is finite there is none."""
    alarm = keep_clip(clips, "sensor", "press")
    url = serve(stack, clips)
    status, headers, raw = asked(url, f"/evidence/{alarm}/samples")
    assert (status, headers["Content-Type"]) == (200, "application/octet-stream")
    samples = np.load(io.BytesIO(raw))["samples"]
    lines = json.loads(asked(url, f"/evidence/{alarm}/picture")[2])["lines"]
    assert [line["name"] for line in lines] == ["x", "y", "temperature"]
    for line, values in zip(lines, samples.T, strict=True):
        low = np.array([np.nan if value is None else value for value in line["low"]])
        assert len(low) == evidence_picture.MOST_STEPS
        assert np.nanmin(low) == pytest.approx(np.nanmin(values), rel=1e-4)
    assert lines[2]["low"][0] is None and lines[2]["low"][-1] is not None
    high = np.array(lines[1]["high"])
    seconds = np.arange(len(high)) * SECONDS / len(high)
    assert (seconds[high > 0.8].min(), seconds[high > 0.8].max()) == pytest.approx(
        (BEGIN_SECONDS, END_SECONDS), abs=0.3
    )


def test_a_client_that_takes_nothing_is_let_go_and_the_file_closed(
    stack: ExitStack, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight who ask for a large clip and never read it keep the endpoint from nobody, once their time is over."""
    monkeypatch.setattr(file_body, "SLOWEST_BYTES_PER_SECOND", 1e9)
    monkeypatch.setattr("dasvdd_runtime.endpoint.server.REQUEST_SECONDS", 0.3)
    alarm = keep_clip(clips, "audio", "pump7")
    next(clips.glob("*.flac")).write_bytes(bytes(50_000_000))
    url = serve(stack, clips)
    clients = [socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)) for _ in range(8)]
    for client in clients:
        client.sendall(f"GET /evidence/{alarm}/audio HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    status = 0
    for _ in range(20):
        with suppress(OSError, http.client.HTTPException):
            status = asked(url, "/api/status")[0]
            break
    assert status == 200
    for client in clients:
        client.close()
    end_seconds = time.monotonic() + 10
    while open_clips():
        assert time.monotonic() < end_seconds, open_clips()
        time.sleep(0.05)


def test_the_shelf_lists_the_directory_only_when_it_has_changed(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clip that comes or goes is seen at once; a directory that is quiet is not read again."""
    monkeypatch.setattr("dasvdd_runtime.endpoint.evidence_shelf.SETTLED_SECONDS", 0.0)
    shelf = EvidenceShelf(clips)
    assert not shelf.alarms()
    first = keep_clip(clips, "spectrogram", "a")
    assert set(shelf.alarms()) == {first}
    assert shelf.alarms() is shelf.alarms()
    second = keep_clip(clips, "spectrogram", "b")
    assert set(shelf.alarms()) == {first, second}
    for path in clips.iterdir():
        path.unlink()
    os.utime(clips, ns=(1, 1))
    assert not shelf.alarms()
