"""Where events and figures go: event file, receivers, standard output, links and the endpoint.

Their life, and what a new configuration changes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from ..configuration.config import MonitorConfig
from ..endpoint.observed import Observed
from ..errors import ConfigError
from ..sinks.jsonl import RotatingFile, Sink, StreamSink
from .changes import Change, prepared
from .snapshot import Standing

if TYPE_CHECKING:
    from ..endpoint.start import Endpoint
    from ..integrations.commands import Commands
    from ..integrations.start import Links
    from ..sinks.delivery import DeliveredOutbox
    from ..sinks.outbox_store import Row

Preparation = Callable[[], Change | None]


class Outlets:
    """The sink of a monitor; while it serves, also its links with `[mqtt]` and its endpoint."""

    def __init__(self, config: MonitorConfig) -> None:
        """Open event file and outbox, and begin to deliver.

        Raises ConfigError and Unavailable for what no waiting mends; a receiver that does not answer is no error.
        """
        self._config = config
        self._file = _event_file(config)
        self._outbox: DeliveredOutbox | None = None
        self._stdout = _stdout(config)
        self._observed: Observed | None = None
        self._commands: Commands | None = None
        self._links: Links | None = None
        self._endpoint: Endpoint | None = None
        if config.receivers:
            from ..sinks.delivery import DeliveredOutbox
            from ..sinks.receivers import open_outbox

            self._outbox = DeliveredOutbox(*open_outbox(config))

    @property
    def _sinks(self) -> list[Sink]:
        """Event file and outbox first, so that a reader of standard output that hangs holds up neither."""
        return [sink for sink in (self._file, self._outbox, self._stdout) if sink is not None]

    def write(self, line: str, *, durable: bool) -> None:
        """Write `line` wherever events go."""
        for sink in self._sinks:
            sink.write(line, durable=durable)

    def close(self) -> None:
        """Write out what is buffered, and deliver what can be delivered in a short time."""
        for sink in self._sinks:
            sink.close()

    def standings(self) -> Mapping[str, Standing]:
        """How each receiver stands. May be called from any thread."""
        return {} if self._outbox is None else self._outbox.standings()

    def read(self, name: str, *, most: int) -> list[Row]:
        """As `Outbox.read`, for a receiver that nothing here delivers to. May be called from any thread."""
        return [] if self._outbox is None else self._outbox.read(name, most=most)

    def acknowledge(self, name: str, row_id: int) -> None:
        """As `Outbox.acknowledge`. May be called from any thread."""
        if self._outbox is not None:
            self._outbox.acknowledge(name, row_id)

    def command_counts(self) -> Mapping[str, int]:
        """How many commands of `[mqtt]` were taken and refused. May be called from any thread."""
        return {} if self._commands is None else self._commands.counts.copy()

    @contextmanager
    def serving(self, observed: Observed) -> Iterator[None]:
        """Be part of what [mqtt] names, and serve what is `observed`, meanwhile. Raises as the constructor does."""
        self._observed = observed
        config = self._config
        try:
            for change in prepared([partial(self._prepare_links, config), partial(self._prepare_endpoint, config)]):
                change.apply()
            yield
        finally:
            if self._links is not None:
                self._links.close()
            self._drop_endpoint()

    def preparations(self, config: MonitorConfig) -> list[Preparation]:
        """What prepares each part for `config`. Each raises ConfigError or Unavailable where that cannot be."""
        parts = (self._prepare_endpoint, self._prepare_lines, self._prepare_outbox, self._prepare_links)
        return [*(partial(part, config) for part in parts), lambda: Change(partial(self._note, config))]

    def _note(self, config: MonitorConfig) -> None:
        self._config = config

    def _prepare_lines(self, config: MonitorConfig) -> Change | None:
        """Event file and standard output."""
        before = self._config
        if (config.events, config.only_replays) == (before.events, before.only_replays):
            return None
        file, stdout = _event_file(config), _stdout(config)

        def apply() -> None:
            if self._file is not None:
                self._file.close()
            self._file, self._stdout = file, stdout

        return Change(apply) if file is None else Change(apply, file.close)

    def _prepare_outbox(self, config: MonitorConfig) -> Change | None:
        before = self._config
        if (config.outbox, config.receivers) == (before.outbox, before.receivers):
            return None
        if not config.receivers:
            return Change(partial(self._use_outbox, None))
        from ..sinks.delivery import DeliveredOutbox
        from ..sinks.receivers import change_receivers, open_outbox

        if self._outbox is not None:
            return change_receivers(self._outbox, before, config)
        outbox, publishers = open_outbox(config)
        return Change(lambda: self._use_outbox(DeliveredOutbox(outbox, publishers)), outbox.close)

    def _use_outbox(self, outbox: DeliveredOutbox | None) -> None:
        if self._outbox is not None:
            self._outbox.close()
        self._outbox = outbox

    def _prepare_links(self, config: MonitorConfig) -> Change | None:
        table = config.mqtt if config.mqtt is not None and config.mqtt.tells_what_is_now else None
        if self._links is None:
            if table is None:
                return None
            from ..integrations.commands import Commands
            from ..integrations.start import Links

            assert self._observed is not None
            self._commands = Commands(config.state.directory)
            self._links = Links(self._observed.sources, self._commands, self, config.outbox.folder)
        return self._links.prepare(table)

    def _prepare_endpoint(self, config: MonitorConfig) -> Change | None:
        before = self._config
        if config.http is None:
            return None if self._endpoint is None else Change(self._drop_endpoint)
        if self._endpoint is not None and (config.http, config.evidence) == (before.http, before.evidence):
            return None
        from ..endpoint.start import Endpoint

        assert self._observed is not None
        endpoint = self._endpoint or Endpoint(self._observed, config.state.directory)
        change = endpoint.prepare(config.http, config.evidence.directory)

        def apply() -> None:
            self._endpoint = endpoint
            change.apply()

        return Change(apply, change.abandon)

    def _drop_endpoint(self) -> None:
        if self._endpoint is not None:
            self._endpoint.close()
        self._endpoint = None


def _event_file(config: MonitorConfig) -> RotatingFile | None:
    table = config.events
    if table.path is None:
        return None
    try:
        return RotatingFile(table.path, max_bytes=table.max_bytes, keep=table.keep)
    except OSError as error:
        raise ConfigError(f"[events] path: {table.path} cannot be written: {error.strerror}") from error


def _stdout(config: MonitorConfig) -> StreamSink:
    return StreamSink(patience_seconds=None) if config.only_replays else StreamSink()
