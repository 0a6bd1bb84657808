"""Events as mails for people, by SMTP: a mail for what waits, not one for each. Imported where [[email]] is used."""

from __future__ import annotations

import logging
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from ..call_words import Call, body, subject
from ..errors import ConfigError
from ..logs import about
from .budgeted_calls import BATCH, BudgetedCalls, message_key
from .delivery import DeliveryFailed, Publisher
from .outbox_store import Row
from .tables import EmailTable

log = logging.getLogger(__name__)

POLICY = SMTP.clone(max_line_length=998, cte_type="7bit")
"""Headers are not folded, since Python encodes a long Message-ID to fold it; and not every server takes 8 bits."""


class SmtpPublisher:
    """Mails what people must act on; they have it when the server has answered 250 to the mail."""

    batch = BATCH

    def __init__(self, table: EmailTable) -> None:
        """Raises ConfigError for a password or certificates that cannot be read."""
        self.name = table.receiver
        self._table = table
        self._calls = BudgetedCalls(
            lambda calls: self._send(self._mail(calls)),
            most_per_hour=table.most_per_hour,
            calls_for=lambda event: event["event"] in table.events,
        )
        self._machine = socket.gethostname() or "localhost"
        table.password.read()
        try:
            self._tls = ssl.create_default_context(cafile=table.ca_file)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.name}: ca_file: {table.ca_file} cannot be used: {error}") from error

    def connect(self) -> None:
        """Each mail has a connection of its own."""

    def deliver(self, rows: Sequence[Row], *, delivered: Callable[[Row], None], refused: Callable[[Row], None]) -> None:
        """One mail of all in `rows` that somebody must act on, once it is due; the others are passed over."""
        self._calls.deliver(rows, delivered=delivered, refused=refused)

    def try_connection(self) -> tuple[bool, str]:
        """Connect and log in, without a mail. Raises DeliveryFailed or ConfigError."""
        with self._session():
            login = "user and password are accepted" if self._table.username else "without a user"
            return True, f"{self._table.address} answers, {login}; nothing was sent"

    def hand_over(self, successor: Publisher) -> None:
        """Go on with the limit, which a reload does not begin anew."""
        if isinstance(successor, SmtpPublisher):
            self._calls.hand_over(successor._calls)

    def close(self) -> None:
        """Nothing is open."""

    def _mail(self, calls: Sequence[Call]) -> EmailMessage:
        mail = EmailMessage(policy=POLICY)
        mail["Subject"] = subject(calls, machine=self._machine)
        mail["From"] = self._table.sender
        mail["To"] = ", ".join(self._table.to)
        mail["Date"] = format_datetime(datetime.now().astimezone())
        mail["Message-ID"] = f"<{message_key(calls)}@{self._table.sender.partition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(body(calls, page=self._table.page))
        return mail

    def _send(self, mail: EmailMessage) -> bool:
        """Whether somebody gets the mail; False where it will never be taken. Raises DeliveryFailed for now."""
        with self._session() as server:
            try:
                left_out = server.send_message(mail, self._table.sender, self._table.to)
            except smtplib.SMTPRecipientsRefused as error:
                return self._later_or_never(min(error.recipients.values(), key=lambda answer: answer[0]))
            except smtplib.SMTPDataError as error:
                return self._later_or_never((error.smtp_code, error.smtp_error))
        for address, answer in left_out.items():
            log.error("%s: %s did not get a mail: %s", self.name, address, _said(*answer), extra=about(self.name))
        return True

    def _later_or_never(self, answer: tuple[int, bytes | str]) -> bool:
        """False for an answer that is final, which is logged. Raises DeliveryFailed for another."""
        if answer[0] < 500:
            raise DeliveryFailed(f"{self._table.address} does not take a mail now: {_said(*answer)}")
        log.error("%s: a mail is given up: %s", self.name, _said(*answer), extra=about(self.name))
        return False

    def _connected(self) -> smtplib.SMTP:
        table, name = self._table, self._machine  # without a name of its own, smtplib asks DNS for one
        where, seconds = (table.host, table.port_in_force), table.timeout_seconds
        if table.security == "tls":
            return smtplib.SMTP_SSL(*where, local_hostname=name, timeout=seconds, context=self._tls)
        return smtplib.SMTP(*where, local_hostname=name, timeout=seconds)

    @contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        """A connection, encrypted and logged in as the table says. Raises DeliveryFailed for whatever fails in it."""
        table, where = self._table, self._table.address
        try:
            password = table.password.read()
            server = self._connected()
            try:
                if table.security == "starttls":
                    server.starttls(context=self._tls)
                if table.username:
                    server.login(table.username, password or "")
                yield server
                with suppress(smtplib.SMTPException, OSError):  # the mail is taken; how they part does not matter
                    server.quit()
            finally:
                server.close()
        except ConfigError as error:
            raise DeliveryFailed(str(error)) from error
        except smtplib.SMTPAuthenticationError as error:
            raise DeliveryFailed(f"{where} does not accept username and password ({error.smtp_code})") from error
        except smtplib.SMTPNotSupportedError as error:
            hint = "; nothing was sent in the clear" if table.security == "starttls" else ""
            raise DeliveryFailed(f"{where} cannot do what security and username ask for: {error}{hint}") from error
        except smtplib.SMTPResponseException as error:
            raise DeliveryFailed(f"{where} refuses: {_said(error.smtp_code, error.smtp_error)}") from error
        except (OSError, UnicodeError) as error:  # smtplib's other faults are OSErrors
            raise DeliveryFailed(f"no answer from {where}: {type(error).__name__}: {error}") from error


def _said(code: int, words: bytes | str) -> str:
    return f"{code} {words.decode(errors='replace') if isinstance(words, bytes) else words}"
