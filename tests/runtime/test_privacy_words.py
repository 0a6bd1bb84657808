"""Whoever opens the page is told whether the sound of people is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import page_scenes as scenes
import pytest
from dasvdd_runtime.endpoint.privacy_words import privacy_words
from dasvdd_runtime.evidence.base import Clips
from dasvdd_runtime.evidence.rows import make_rows
from dasvdd_runtime.running.snapshot import Keeps, SourceSnapshot


def keeping(**kept: Keeps) -> list[SourceSnapshot]:
    return [replace(scenes.listening(name, 1.0), keeps=keeps) for name, keeps in kept.items()]


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ({"pump": "nothing"}, "No sound is kept. Nothing is kept but scores and levels."),
        ({"pump": "spectrogram", "fan": "spectrogram"}, "No sound is kept. Around an alarm band levels are kept, from"),
        ({"press": "values"}, "No sound is kept. Around an alarm the values are kept, too slow to hold a voice."),
        ({"pump": "sound"}, "Sound is kept. Around an alarm the samples are kept as they came: who speaks nearby"),
    ],
)
def test_one_way_of_keeping_is_told_without_names(kept: dict[str, Keeps], words: str) -> None:
    """First whether sound is kept, then what."""
    assert privacy_words(keeping(**kept)).startswith(words)


def test_where_sources_differ_each_is_named() -> None:
    """One that keeps sound makes it a box that keeps sound, and it is said which one it is."""
    words = privacy_words(keeping(pump="spectrogram", hall="sound", press="nothing"))
    assert words.startswith("Sound is kept. Around an alarm the samples of hall are kept")
    assert "band levels of pump are kept" in words and "Nothing of press is kept" in words


@pytest.mark.parametrize(
    ("kind", "rate_hz", "mode", "keeps"),
    [
        ("audio", 16000.0, "audio", "sound"),
        ("audio", 16000.0, "spectrogram", "spectrogram"),
        ("sensor", 1600.0, "audio", "sound"),
        ("sensor", 1600.0, "spectrogram", "spectrogram"),
        ("sensor", 100.0, "audio", "values"),
        ("sensor", 100.0, "spectrogram", "values"),
    ],
)
def test_what_is_told_is_what_is_kept(tiny_model: Any, kind: Any, rate_hz: float, mode: Any, keeps: Keeps) -> None:
    """It comes from what makes the rows: a fast accelerometer can hold a voice, a slow sensor cannot."""
    assert make_rows(mode, tiny_model.metadata(kind=kind, sample_rate_hz=rate_hz)).keeps == keeps


def test_without_evidence_nothing_is_kept() -> None:
    """Also where the disk was full at the start."""
    assert Clips().keeps == "nothing"
