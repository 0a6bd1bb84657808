"""`[model] require_signature`: at the start and upon SIGHUP nothing is loaded that is not to be trusted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from dasvdd_runtime import cli
from dasvdd_runtime.signing import cli as sign_cli
from monitor_child import MONITOR, MonitorChild

RATE_HZ = 16000
SIGNED = 'require_signature = true\ntrusted_keys = ["release.pub.pem"]\n'


@pytest.fixture
def site(tiny_model: Any, tmp_path: Path) -> Path:
    """A folder with a model that is signed with the counter 10, its key pair, and a monitor.toml that requires it."""
    tiny_model(threshold=5.0)
    dasvdd_sign("keygen", tmp_path / "release.pem")
    sign(tmp_path, 10)
    random = np.random.default_rng(0)
    soundfile.write(tmp_path / "pump.wav", 0.1 * random.standard_normal(60 * RATE_HZ), RATE_HZ)
    configure(tmp_path)
    return tmp_path


def configure(site: Path, *, model: str = SIGNED, state: str = '[state]\ndirectory = "state"\n') -> None:
    (site / "monitor.toml").write_text(
        f'[model]\npath = "model.onnx"\nprovider = "cpu"\n{model}{state}[events]\nscores = true\n'
        '[[source]]\nname = "pump7"\nkind = "file"\npath = "pump.wav"\npace = "real-time"\n'
    )


def dasvdd_sign(*arguments: str | Path) -> None:
    result = CliRunner().invoke(sign_cli.main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output


def sign(site: Path, counter: int, *options: str, key: str = "release.pem") -> None:
    dasvdd_sign("sign", site / "model.onnx", "--key", site / key, "--counter", str(counter), *options)


def noted(site: Path) -> int:
    """The counter that the state directory has."""
    return int(json.loads((site / "state" / "signatures.json").read_text())["models"]["model"]["counter"])


def start(site: Path) -> subprocess.CompletedProcess[str]:
    """A start of the real program, stopped after a second if it runs."""
    command = [*MONITOR, "run", str(site / "monitor.toml"), "--max-seconds", "1"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def child(site: Path) -> Iterator[MonitorChild]:
    """The real program on the site, scoring."""
    child = MonitorChild(site / "monitor.toml")
    child.wait_for("score")
    yield child
    if child.process.poll() is None:
        child.kill()


def unsign(site: Path) -> None:
    (site / "model.onnx.sig").unlink()


def alter(site: Path) -> None:
    path = site / "model.onnx"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(bytes(content))


def sign_with_another_key(site: Path) -> None:
    dasvdd_sign("keygen", site / "other.pem")
    sign(site, 20, key="other.pem")


def sign_older(site: Path) -> None:
    sign(site, 9)


def sign_expired(site: Path) -> None:
    sign(site, 20, "--valid-days", "1e-9")


REFUSED: list[tuple[Callable[[Path], None], str]] = [
    (unsign, "there is no signature"),
    (alter, "not the file that was signed"),
    (sign_with_another_key, "not trusted here"),
    (sign_older, "counter 9, and this monitor has run 10"),
    (sign_expired, "expired at"),
]


@pytest.mark.parametrize(("change", "said"), REFUSED, ids=[change.__name__ for change, _ in REFUSED])
def test_upon_a_reload_it_is_refused_and_the_model_that_runs_stays(
    site: Path, child: MonitorChild, change: Callable[[Path], None], said: str
) -> None:
    """SIGHUP: reload_refused with the reason, scores go on, and what ran last is still what is noted."""
    change(site)
    child.reload()
    assert said in child.wait_for("reload_refused")["reason"]
    child.wait_for("score", count=len(child.of_kind("score")) + 2)
    assert noted(site) == 10
    assert child.stop() == 0


@pytest.mark.parametrize(("change", "said"), REFUSED, ids=[change.__name__ for change, _ in REFUSED])
def test_at_the_start_it_is_refused_with_exit_code_65(site: Path, change: Callable[[Path], None], said: str) -> None:
    """After a first run with the signed model, the changed one ends the start with one line that says why."""
    assert start(site).returncode == 0
    change(site)
    refused = start(site)
    assert refused.returncode == 65
    assert said in refused.stderr and "Traceback" not in refused.stderr
    assert refused.stdout == ""


def test_a_newer_model_is_taken_upon_a_reload_and_noted(site: Path, child: MonitorChild, tiny_model: Any) -> None:
    """The events name key and counter; from then on the model before is an older one."""
    (started,) = child.of_kind("started")
    assert started["models"]["model"]["signature"]["counter"] == 10
    tiny_model(threshold=6.0)
    sign(site, 11)
    child.reload()
    taken = child.wait_for("reloaded")["models"]["model"]
    assert (taken["threshold"], taken["signature"]["counter"]) == (6.0, 11)
    assert child.stop() == 0
    assert noted(site) == 11
    sign(site, 10)
    assert start(site).returncode == 65


def test_a_reload_that_is_refused_for_another_reason_notes_nothing(
    site: Path, child: MonitorChild, tiny_model: Any
) -> None:
    """A newer signed model of another rate cannot be taken, and so does not make the one that runs an older one."""
    tiny_model(threshold=5.0, sample_rate_hz=8000.0)
    sign(site, 99)
    child.reload()
    assert "8000 Hz" in child.wait_for("reload_refused")["reason"]
    assert child.stop() == 0
    assert noted(site) == 10


def test_a_device_without_a_clock_starts_and_says_so(site: Path, require_program: Callable[[str], str]) -> None:
    """Under libfaketime in 1970 a signature with an expiry is taken, with a warning."""
    require_program("faketime")
    sign(site, 20, "--valid-days", "30")
    command = [*MONITOR, "run", str(site / "monitor.toml"), "--max-seconds", "1"]
    words = ["faketime", "-m", "1970-01-02 00:00:00", *command]
    run = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert "cannot be told" in run.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"state": ""}, "require_signature needs a place"),
        ({"model": "require_signature = true\n"}, "needs trusted_keys"),
        ({"model": 'trusted_keys = ["release.pub.pem"]\n'}, "trusted_keys alone check nothing"),
        ({"model": 'require_signature = true\ntrusted_keys = ["none.pem"]\n'}, "none.pem cannot be read"),
    ],
    ids=["no state", "no keys", "keys alone", "key missing"],
)
def test_settings_that_would_check_nothing_are_faults_of_the_configuration(
    site: Path, settings: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 78, from check as from run."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    configure(site, **settings)
    for command in (["check"], ["run", "--max-seconds", "1"]):
        result = CliRunner().invoke(cli.main, [command[0], str(site / "monitor.toml"), *command[1:]])
        assert result.exit_code == 78, result.output
        assert said in result.output


def test_check_says_who_signed_and_notes_nothing(site: Path) -> None:
    """A line with key and counter; a model that check alone has seen makes no other an older one."""
    result = CliRunner().invoke(cli.main, ["check", str(site / "monitor.toml"), "--seconds", "2"])
    assert "ok       signature: by the key" in result.output and "counter 10" in result.output
    assert not (site / "state").exists()
    unsign(site)
    result = CliRunner().invoke(cli.main, ["check", str(site / "monitor.toml"), "--seconds", "2"])
    assert result.exit_code == 65 and "there is no signature" in result.output


def test_without_the_package_the_pip_command_is_said(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 69, and nothing unsigned is loaded instead."""
    monkeypatch.setitem(sys.modules, "cryptography", None)
    result = CliRunner().invoke(cli.main, ["run", str(site / "monitor.toml"), "--max-seconds", "1"])
    assert result.exit_code == 69
    assert "pip install 'dasvdd[sign]'" in result.output


def test_without_the_setting_no_signature_is_looked_at_and_no_cryptography_loaded(site: Path) -> None:
    """The default: an unsigned model runs, and a device does not need the package."""
    configure(site, model="")
    unsign(site)
    script = (
        "import sys; from dasvdd_runtime.cli import main\n"
        f"main(['run', {str(site / 'monitor.toml')!r}, '--max-seconds', '1'], standalone_mode=False)\n"
        "sys.exit(7 if 'cryptography' in sys.modules else 0)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_the_session_is_over_what_was_verified_whatever_happens_to_the_file(site: Path) -> None:
    """The file is replaced after it was read: the scorer is the verified one."""
    from dasvdd_runtime.scorer import Scorer

    path = site / "model.onnx"
    content = path.read_bytes()
    path.write_bytes(b"something else")
    scorer = Scorer(path, provider="cpu", content=content)
    assert scorer.verify_golden() < 1e-4
