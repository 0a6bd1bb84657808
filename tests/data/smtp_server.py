"""A mail server for tests: aiosmtpd on loopback, which keeps what it takes."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword
from mosquitto_broker import free_port, make_certificates

TAKEN = "250 taken"


def tls_context(folder: Path, openssl: str) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate for 127.0.0.1 by the authority in `folder`/ca.crt, made here."""
    make_certificates(folder, openssl)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "broker.crt", folder / "broker.key")
    return context


class MailServer:
    """Answers to a recipient and to a mail as `on_recipient(address)` and `on_mail(number)` say.

    `password`: asks for the user "pump-box" with it. Other settings are those of aiosmtpd's Controller.
    """

    def __init__(
        self,
        *,
        on_recipient: Callable[[str], str] = lambda address: TAKEN,
        on_mail: Callable[[int], str] = lambda number: TAKEN,
        password: str | None = None,
        **settings: Any,
    ) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.offered: list[EmailMessage] = []
        self.logins: list[str] = []
        server = self

        class Handler:
            async def handle_RCPT(self, _s: Any, _c: Any, envelope: Envelope, address: str, _options: Any) -> str:
                answer = on_recipient(address)
                if answer == TAKEN:
                    envelope.rcpt_tos.append(address)
                return answer

            async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:
                assert isinstance(envelope.content, bytes)
                mail = message_from_bytes(envelope.content, policy=default)
                assert isinstance(mail, EmailMessage)
                answer = on_mail(len(server.offered))
                server.offered.append(mail)
                if answer == TAKEN:
                    server.mails.append(mail)
                    server.recipients.append(list(envelope.rcpt_tos))
                return answer

        def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, login: Any) -> AuthResult:
            assert isinstance(login, LoginPassword)
            server.logins.append(login.password.decode())
            fits = login == LoginPassword(b"pump-box", str(password).encode())
            return AuthResult(success=fits, handled=False)

        if password is not None:
            settings |= {"authenticator": authenticate, "auth_required": True}
        self._handler, self._settings = Handler(), settings
        self.port = free_port()
        self._controller: Controller | None = None

    def start(self) -> MailServer:
        """Listen."""
        self._controller = Controller(self._handler, hostname="127.0.0.1", port=self.port, **self._settings)
        self._controller.start()
        return self

    def stop(self) -> None:
        """Listen no longer, as when it is down; it may be started again."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def texts(self) -> list[str]:
        """The bodies of the mails that were taken."""
        return [mail.get_content().replace("\r\n", "\n") for mail in list(self.mails)]
