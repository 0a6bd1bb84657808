"""The table [[email]]: what it refuses, to whom the password goes, and what check says of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dasvdd_runtime import cli
from dasvdd_runtime.configuration.config import load_config
from dasvdd_runtime.errors import ConfigError
from mailing import alarm, mailing
from mosquitto_broker import free_port
from scraping import wait_until
from smtp_server import MailServer, tls_context

# aiosmtpd warns of what three servers here do on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

SOURCE = '[[source]]\nname = "pump7"\nkind = "microphone"\n'
PASSWORD = "very-secret-password"


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_the_password_goes_only_through_a_trusted_connection(
    serve_mail: Callable[..., MailServer],
    tmp_path: Path,
    require_program: Any,
    caplog: pytest.LogCaptureFixture,
    security: str,
) -> None:
    """A server that another authority vouches for gets none; with the right one the mail arrives."""
    context = tls_context(tmp_path, require_program("openssl"))
    tls = {"ssl_context": context, "auth_require_tls": False} if security == "tls" else {"tls_context": context}
    server = serve_mail(password=PASSWORD, **tls).start()
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    keys = {"security": security, "username": "pump-box", "password_file": tmp_path / "password"}
    sink = mailing(tmp_path, server, **keys, ca_file=tmp_path / "other.crt")
    alarm(sink)
    wait_until(lambda: "certificate verify failed" in caplog.text)
    sink.close()
    assert server.logins == []
    sink = mailing(tmp_path, server, **keys, ca_file=tmp_path / "ca.crt")
    wait_until(lambda: server.mails)
    sink.close()
    assert server.logins == [PASSWORD]


def test_a_server_without_starttls_gets_no_password(
    serve_mail: Callable[..., MailServer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody on the way may have taken the offer out: nothing is said in the clear, and the event waits."""
    server = serve_mail(password=PASSWORD, auth_require_tls=False).start()
    (tmp_path / "password").write_text(PASSWORD)
    sink = mailing(tmp_path, server, security="starttls", username="pump-box", password_file=tmp_path / "password")
    alarm(sink)
    wait_until(lambda: "nothing was sent in the clear" in caplog.text)
    assert sink.standings()["email 'email'"].waiting == 1
    sink.close()
    assert server.logins == [] and server.offered == []


def test_a_wrong_password_loses_nothing_and_is_not_logged(
    serve_mail: Callable[..., MailServer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The event waits until the file is right, without a restart."""
    server = serve_mail(password=PASSWORD, auth_require_tls=False).start()
    (tmp_path / "password").write_text("wrong-one")
    sink = mailing(tmp_path, server, username="pump-box", password_file=tmp_path / "password")
    alarm(sink)
    wait_until(lambda: "does not accept username and password (535)" in caplog.text)
    (tmp_path / "password").write_text(PASSWORD)
    wait_until(lambda: server.mails)
    sink.close()
    assert "wrong-one" not in caplog.text and PASSWORD not in caplog.text


def configure(folder: Path, text: str) -> Path:
    """A monitor.toml with one microphone and `text`."""
    path = folder / "monitor.toml"
    path.write_text(f'[model]\npath = "model.onnx"\n{SOURCE}{text}\n')
    return path


MAIL = '[email]\nhost = "mail.example.com"\nfrom = "a@b.c"\nto = ["d@e.f"]\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f'{MAIL}security = "none"\nusername = "u"\npassword_env = "P"', "could read the password"),
        (f'{MAIL}username = "u"', "go together"),
        (f'{MAIL}password_file = "p"', "go together"),
        (f'{MAIL}password = "hush"', "Did you mean 'password_"),
        (f'{MAIL}form = "x"', "Did you mean 'from'"),
        (f'{MAIL}page = "pump-box"', "like http://"),
        (f'{MAIL}events = ["alarm"]', "alarm_raised"),
        (MAIL.replace("d@e.f", "d@e.f\\r\\nDATA"), "no mail address"),
        (MAIL.replace('["d@e.f"]', "[]"), "must not be empty"),
        (MAIL.replace("from", "sender"), "unknown key"),
        (MAIL.replace("[email]", "[[email]]") * 2, "are called email 'email'"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, text: str, says: str) -> None:
    """A table with a fault is an error that names the key, and not a secret."""
    with pytest.raises(ConfigError) as caught:
        load_config(configure(tmp_path, text))
    assert says in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_user_without_encryption_is_let_through_to_this_machine(tmp_path: Path) -> None:
    """A relay on the same box hears the password from nobody but its clients."""
    text = MAIL.replace("mail.example.com", "localhost") + 'security = "none"\nusername = "u"\npassword_env = "P"'
    [table] = load_config(configure(tmp_path, text)).email
    assert table.address == "localhost:25"


def test_check_connects_and_sends_nothing(serve_mail: Callable[..., MailServer], tmp_path: Path) -> None:
    """A server that takes the login is ok, one that is down a FAIL; neither gets a mail. Without any, check warns."""
    server = serve_mail().start()
    table = '[[email]]\nname = "{}"\nhost = "127.0.0.1"\nport = {}\nsecurity = "none"\nfrom = "a@b.c"\nto = ["d@e.f"]\n'
    path = configure(tmp_path, table.format("up", server.port) + table.format("down", free_port()))
    told = CliRunner().invoke(cli.main, ["check", str(path), "--seconds", "2"]).stdout
    assert f"ok       email 'up': 127.0.0.1:{server.port} answers, without a user; nothing was sent" in told
    assert "FAIL     email 'down': no answer from 127.0.0.1" in told
    assert server.offered == []
    assert "nobody is called" not in told
    told = CliRunner().invoke(cli.main, ["check", str(configure(tmp_path, "")), "--seconds", "2"]).stdout
    assert "warning  receivers: nobody is called: alarms go to standard output and no further" in told
