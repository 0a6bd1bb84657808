"""Files that somebody has broken, on purpose or not: seeded mutations of good ones, and what every reader owes them."""

from __future__ import annotations

import copy
import random
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

from dasvdd_runtime.errors import DasvddError

VALUES: list[Any] = [
    *(None, True, -1, 0, 1, 2**31, 2**63, 10**30, -(10**400), 10**7),
    *(1e308, -1e308, 5e-324, float("nan"), float("inf")),
    *("", "x", "\0", "\ud800", "9" * 5000, "a" * 100_000, "1.0", "2.0", "NaN", "../../etc/passwd"),
    *([], {}, [[]], [1e308] * 3, ["\0"], {"a": {"b": []}}),
]
BYTES = b'\x00\xff[]{}"\\\n-9e'
SECONDS_EACH = 5.0
"""Of processor time."""
MEGABYTES_ALL = 500

Chance = random.Random


def broken_tree(tree: Any, chance: Chance) -> Any:
    """A copy of plain data with one to three values removed, added, scaled, repeated or replaced."""
    tree = copy.deepcopy(tree)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        place = chance.choice(list(_places(tree)))
        if not place:
            continue
        holder = tree
        for key in place[:-1]:
            holder = holder[key]
        last, value = place[-1], holder[place[-1]]
        kind = chance.random()
        if kind < 0.15:
            del holder[last]
        elif kind < 0.25 and isinstance(holder, list):
            holder.insert(last, copy.deepcopy(chance.choice(VALUES)))
        elif kind < 0.3 and isinstance(holder, dict):
            holder["x" * chance.randint(1, 9)] = copy.deepcopy(chance.choice(VALUES))
        elif kind < 0.4 and type(value) in (int, float):
            holder[last] = value * chance.choice([-1, 0, 1e-9, 1e9, 2])
        elif kind < 0.45:
            holder[last] = [value] * (2000 if len(str(value)) < 100 else 2)
        else:
            holder[last] = copy.deepcopy(chance.choice(VALUES))
    return tree


def broken_bytes(content: bytes, chance: Chance) -> bytes:
    """`content` cut short, or with a few bytes flipped, replaced, removed or repeated."""
    broken = bytearray(content)
    if chance.random() < 0.2:
        return bytes(broken[: chance.randrange(len(broken))])
    for _ in range(chance.choice([1, 2, 5, 20])):
        place, kind = chance.randrange(len(broken) - 30), chance.random()
        if kind < 0.5:
            broken[place] ^= 1 << chance.randrange(8)
        elif kind < 0.7:
            broken[place] = chance.choice(BYTES)
        elif kind < 0.85 and len(broken) > 100:
            del broken[place : place + chance.randrange(1, 3)]
        else:
            broken[place:place] = bytes([chance.choice(BYTES)]) * chance.choice([1, 5, 3000])
    return bytes(broken)


def require_clear_errors(read: Callable[[Chance], object], files: int) -> tuple[int, int]:
    """Call `read` with `files` seeds: how many it read, and how many it refused with a DasvddError that says something.

    Any other exception goes through, with its seed; so does a file that takes long, and all that take much memory.
    """
    read_well, refused = 0, 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(files):
        started = time.process_time()
        try:
            read(Chance(seed))
            read_well += 1
        except DasvddError as error:
            assert str(error), f"seed {seed}"
            refused += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {str(error)[:300]}") from error
        assert time.process_time() - started < SECONDS_EACH, f"seed {seed}"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MEGABYTES_ALL, f"{grown:.0f} MB more"
    return read_well, refused


def _places(tree: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to each value; of a list, its first four."""
    yield place
    inner = (
        list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree[:4])) if isinstance(tree, list) else []
    )
    for key, value in inner:
        yield from _places(value, (*place, key))
