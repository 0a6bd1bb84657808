"""A program whose standard output is samples, started again whenever it ends."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from ..logs import about
from .base import WAIT_SECONDS, Block, SourceLost
from .decoders import Decoder
from .rate_watch import RateWatch

log = logging.getLogger(__name__)

READ_BYTES = 65_536
TERM_SECONDS = 1.5
"""From SIGTERM to SIGKILL; below capture.JOIN_SECONDS, so that a stop waits for both."""
EXIT_SECONDS = 0.5
"""How long a program that closed its output may take to say its exit code."""
POLL_SECONDS = 0.02
LONGEST_LINE = 500
MAX_PENDING_BYTES = 10_000


class CommandSource:
    """One supervised program, in a process group of its own. What it writes on standard error goes to the log."""

    live = True

    def __init__(
        self,
        argv: Sequence[str],
        *,
        name: str,
        sample_rate_hz: float,
        new_decoder: Callable[[], Decoder],
        feed: Callable[[], bytes] | None = None,
        conceal: Callable[[str], str] = str,
    ) -> None:
        """`name`: what the log calls the source. `new_decoder` makes the decoder of each start.

        `feed` gives what the program reads on its standard input; without it that is nothing. `conceal` takes secrets
        out of lines for the log.
        """
        self.sample_rate_hz = sample_rate_hz
        self._argv = list(argv)
        self._name = name
        self._new_decoder = new_decoder
        self._feed = feed
        self._conceal = conceal
        self._program: subprocess.Popen[bytes] | None = None
        self._decoder = new_decoder()
        self._rate_watch = RateWatch(sample_rate_hz)
        self._error_open = False
        self._pending_error = b""
        self._last_line = ""

    def open(self) -> None:
        """Start the program. Raises SourceLost where it cannot be started, and as `feed` does."""
        self.close()
        fed = None if self._feed is None else self._feed()
        try:
            self._program = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL if fed is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise SourceLost(f"'{self._argv[0]}' cannot be started: {error.strerror or error}") from error
        if fed is not None:
            self._write(fed)
        self._decoder = self._new_decoder()
        self._rate_watch.reopened()
        self._error_open, self._pending_error, self._last_line = True, b"", ""

    def read(self) -> Block | None:
        """What the program has written since, within WAIT_SECONDS. Raises SourceLost at its end."""
        program = self._program
        assert program is not None and program.stdout is not None and program.stderr is not None, "open() comes first"
        output, errors = program.stdout.fileno(), program.stderr.fileno()
        ready, _, _ = select.select([output, errors] if self._error_open else [output], [], [], WAIT_SECONDS)
        if errors in ready:
            self._read_errors(errors)
        if output not in ready:
            return Block(self._decoder.decode(b""))
        data = os.read(output, READ_BYTES)
        if not data:
            self._read_errors(errors)
            raise SourceLost(f"'{self._argv[0]}' {self._end_in_words(program)}")
        samples = self._decoder.decode(data)
        finding = self._rate_watch.arrived(time.monotonic(), len(samples))
        if finding is not None:
            log.warning("source '%s': '%s' %s", self._name, self._argv[0], finding, extra=about(self._name))
        return Block(samples)

    def close(self) -> None:
        """End the program and all that it started: SIGTERM, and SIGKILL after TERM_SECONDS."""
        program, self._program = self._program, None
        if program is None:
            return
        # The program is not waited for before the last signal: until then nobody else can have its group's number.
        _signal_group(program, signal.SIGTERM)
        _exit_status(program, TERM_SECONDS)
        _signal_group(program, signal.SIGKILL)
        program.wait()
        for pipe in (program.stdin, program.stdout, program.stderr):
            if pipe is not None:
                pipe.close()

    def _write(self, data: bytes) -> None:
        """Hand `data`, less than a pipe holds, to the program."""
        assert self._program is not None and self._program.stdin is not None
        try:
            self._program.stdin.write(data)
            self._program.stdin.close()
        except BrokenPipeError:
            log.debug("'%s' ended before it read its input", self._argv[0])

    def _read_errors(self, errors: int) -> None:
        """Log what has arrived on standard error."""
        if not select.select([errors], [], [], 0)[0]:
            return
        data = os.read(errors, READ_BYTES)
        self._error_open = bool(data)
        *lines, self._pending_error = (self._pending_error + (data or b"\n")).split(b"\n")
        if len(self._pending_error) > MAX_PENDING_BYTES:
            lines, self._pending_error = [*lines, self._pending_error], b""
        for line in lines:
            text = self._conceal(line.decode("utf-8", errors="replace")).strip()[:LONGEST_LINE]
            if text:
                self._last_line = text
                log.warning("source '%s': '%s' says: %s", self._name, self._argv[0], text, extra=about(self._name))

    def _end_in_words(self, program: subprocess.Popen[bytes]) -> str:
        status = _exit_status(program, EXIT_SECONDS)
        last = f"; its last words: {self._last_line}" if self._last_line else ""
        if status is None:
            return f"closed its output{last}"
        if status < 0:
            return f"was ended by signal {-status}{last}"
        return f"ended with exit code {status}{last}"


def _signal_group(program: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(program.pid, number)
    except ProcessLookupError:
        return


def _exit_status(program: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The exit code, or minus the signal, of a program that ends within `seconds`. Leaves it to be waited for."""
    deadline = time.monotonic() + seconds
    while True:
        ended = os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None:
            return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        if time.monotonic() >= deadline:
            return None
        time.sleep(POLL_SECONDS)
