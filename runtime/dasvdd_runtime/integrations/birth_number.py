"""bdSeq of Sparkplug: it joins the death of an edge node to its birth, and is kept over restarts.

Sparkplug specification 3.0, 5.4 (message-flow-edge-node-birth-publish-will-message-payload-bdSeq): one more with each
CONNECT, from 0 to 255 and then 0 again. A monitor that began with 0 at each start could have the death of the
connection before, which a broker publishes late, taken for its own.
"""

from __future__ import annotations

import logging
from pathlib import Path

from ..errors import DasvddError
from ..files import write_atomically

log = logging.getLogger(__name__)

FILE_NAME = "sparkplug-bdseq"
NUMBERS = 256


class BirthNumber:
    """The number of the connection that is made next, or lasts. In a file, so that no start repeats one."""

    def __init__(self, folder: Path) -> None:
        """Go on after the number in `folder`; from 0 where there is none, or none that can be read."""
        self._path = folder / FILE_NAME
        self._kept = _read(self._path)
        self.value = 0 if self._kept is None else (self._kept + 1) % NUMBERS
        self._faulty = False

    def advance(self) -> None:
        """The number was used for a connection: the next has another."""
        self.value = (self.value + 1) % NUMBERS

    def keep(self) -> None:
        """Note it, before it is used. A disk that takes nothing is told of once and stops nothing."""
        if self.value == self._kept:
            return
        try:
            write_atomically(self._path, f"{self.value}\n".encode())
        except DasvddError as error:
            if not self._faulty:
                log.warning("sparkplug: %s Births go on; a restart may repeat their number", error)
            self._faulty = True
            return
        self._kept, self._faulty = self.value, False


def _read(path: Path) -> int | None:
    """The number in `path`."""
    try:
        number = int(path.read_bytes()[:10])
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("sparkplug: %s holds no number of a birth (%s): they begin with 0", path, error)
        return None
    if 0 <= number < NUMBERS:
        return number
    log.warning("sparkplug: %s holds %d, and births have 0 to %d: they begin with 0", path, number, NUMBERS - 1)
    return None
