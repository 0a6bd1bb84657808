"""The sound of a network stream (RTSP and what else ffmpeg reads), decoded and resampled by ffmpeg."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, urlsplit, urlunsplit

from .command import CommandSource
from .decoders import make_decoder
from .tables import RtspTable

PROTOCOLS = "pipe,file,rtsp,rtsps,rtp,srtp,srt,udp,tcp,tls,http,https,crypto"


def rtsp_source(table: RtspTable, *, sample_rate_hz: float, channel_names: list[str]) -> CommandSource:
    """ffmpeg as a source. Each of its first channels is a channel of the model; none are mixed."""
    password = table.password

    def feed() -> bytes:
        return _playlist(table, password.read() or "").encode()

    def conceal(line: str) -> str:
        secret = password.read()
        for written in (secret, quote(secret, safe="")) if secret else ():
            line = line.replace(written, "***")
        return line

    nothing: Callable[[str], str] = str
    return CommandSource(
        ffmpeg_arguments(table, sample_rate_hz=sample_rate_hz, channels=len(channel_names)),
        name=table.name,
        sample_rate_hz=sample_rate_hz,
        new_decoder=lambda: make_decoder("s16le", channel_names, label=table.name),
        feed=feed if table.username else None,
        conceal=conceal if table.username else nothing,
    )


def ffmpeg_arguments(table: RtspTable, *, sample_rate_hz: float, channels: int) -> list[str]:
    """ffmpeg's command line. With a secret, the URL comes through standard input: every user can read an argv."""
    if table.username:
        source = ["-protocol_whitelist", PROTOCOLS, "-f", "concat", "-safe", "0", "-i", "pipe:0"]
    else:
        source = [*(["-rtsp_transport", table.transport] if _is_rtsp(table) else []), "-i", table.url]
    picked = "|".join([f"pan={channels}c", *(f"c{i}=c{i}" for i in range(channels))])
    rate = f"{sample_rate_hz:.10g}"
    wanted = ["-vn", "-af", picked, "-ar", rate, "-f", "s16le", "-flush_packets", "1", "pipe:1"]
    return ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", *source, *wanted]


def _playlist(table: RtspTable, secret: str) -> str:
    """A list of one entry for ffmpeg's concat reader: the URL with its credentials."""
    parts = urlsplit(table.url)
    host = parts.netloc.rpartition("@")[2]
    url = urlunsplit(parts._replace(netloc=f"{quote(table.username, safe='')}:{quote(secret, safe='')}@{host}"))
    option = f"option rtsp_transport {table.transport}\n" if _is_rtsp(table) else ""
    return f"ffconcat version 1.0\nfile '{url}'\n{option}"


def _is_rtsp(table: RtspTable) -> bool:
    return urlsplit(table.url).scheme in ("rtsp", "rtsps")
