"""What is kept of people near the sources, in words, for who opens the page. Words only."""

from __future__ import annotations

from collections.abc import Sequence

from ..running.snapshot import Keeps, SourceSnapshot

_WORDS: dict[Keeps, str] = {
    "sound": "Around an alarm the samples{of} are kept as they came: who speaks nearby can be understood in them.",
    "spectrogram": "Around an alarm band levels{of} are kept, from which no speech can be rebuilt.",
    "values": "Around an alarm the values{of} are kept, too slow to hold a voice.",
    "nothing": "Nothing{of} is kept but scores and levels.",
}


def privacy_words(sources: Sequence[SourceSnapshot]) -> str:
    """Whether sound is kept, and of which source what."""
    names = {keeps: [source.name for source in sources if source.keeps == keeps] for keeps in _WORDS}
    parted = sum(bool(found) for found in names.values()) > 1
    told = [
        words.format(of=f" of {', '.join(names[keeps])}" if parted else "")
        for keeps, words in _WORDS.items()
        if names[keeps]
    ]
    return " ".join(["Sound is kept." if names["sound"] else "No sound is kept.", *told])
