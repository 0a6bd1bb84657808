"""`dasvdd-sign` and what a signature promises: OpenSSL agrees with it, and no change of any byte passes."""

from __future__ import annotations

import base64
import json
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from dasvdd_runtime.errors import DasvddError, SignatureError
from dasvdd_runtime.signing.cli import main
from dasvdd_runtime.signing.ran_before import RanBefore, note_ran, read_ran_before
from dasvdd_runtime.signing.signed_model import read_signed_model
from dasvdd_runtime.signing.trust import RanLast

PASSPHRASE = "correct horse battery"


def program(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def must(*arguments: str | Path) -> Result:
    result = program(*arguments)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def signed(tiny_model: Any, tmp_path: Path) -> Path:
    """A folder with a signed model and the pair release.pem, release.pub.pem."""
    tiny_model()
    must("keygen", tmp_path / "release.pem")
    must("sign", tmp_path / "model.onnx", "--key", tmp_path / "release.pem", "--counter", "5")
    return tmp_path


def load(folder: Path, *, before: RanBefore | None = None, now: datetime | None = None) -> bytes:
    """The model's content as a monitor would take it, at the time `now`."""
    content, _ = read_signed_model(
        folder / "model.onnx",
        [folder / "release.pub.pem"],
        name="model",
        before=before or RanBefore(),
        clock=lambda: now or datetime.now(UTC),
    )
    return content


def test_a_signed_model_is_verified_and_read(signed: Path) -> None:
    """What is given is the file, byte for byte, and the program says by which key and counter."""
    assert load(signed) == (signed / "model.onnx").read_bytes()
    said = must("verify", signed / "model.onnx", "--trusted", signed / "release.pub.pem").stdout
    assert "counter 5, for ever" in said


def test_openssl_verifies_the_same_signature(signed: Path, require_program: Callable[[str], str]) -> None:
    """The documented bytes, built here from the file alone, verify with OpenSSL and the public key."""
    statement = json.loads((signed / "model.onnx.sig").read_text())
    (signed / "signature").write_bytes(bytes.fromhex(statement.pop("signature")))
    canonical = json.dumps(statement, sort_keys=True, separators=(",", ":")).encode("ascii")
    (signed / "message").write_bytes(b"dasvdd model signature\n" + canonical)
    words = "pkeyutl -verify -pubin -inkey release.pub.pem -rawin -in message -sigfile signature"
    verified = subprocess.run([require_program("openssl"), *words.split()], cwd=signed, capture_output=True, text=True)
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_name", "other"),
        ("sha256", "0" * 64),
        ("size_bytes", 7),
        ("counter", 6),
        ("created", "2020-01-01T00:00:00+00:00"),
        ("expires", "2999-01-01T00:00:00+00:00"),
        ("signature", "0" * 128),
    ],
)
def test_every_field_is_covered_by_the_signature(signed: Path, field: str, value: object) -> None:
    """A field that is changed, and nothing else, is told as altered."""
    path = signed / "model.onnx.sig"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(SignatureError, match="altered or damaged"):
        load(signed)


@pytest.mark.parametrize("field", ["schema_version", "algorithm", "expires"])
def test_a_field_that_was_left_out_is_not_filled_in(signed: Path, field: str) -> None:
    """What was signed is what stands in the file, also where the value that is usual would verify."""
    path = signed / "model.onnx.sig"
    fields = json.loads(path.read_text())
    del fields[field]
    path.write_text(json.dumps(fields))
    with pytest.raises(SignatureError, match=field):
        load(signed)


def test_another_layout_of_the_same_statement_verifies(signed: Path) -> None:
    """The signature is over what the JSON says, and not over its spaces and order."""
    path = signed / "model.onnx.sig"
    path.write_text(json.dumps(dict(sorted(json.loads(path.read_text()).items(), reverse=True)), indent=7))
    assert load(signed)


def test_a_model_with_any_byte_changed_is_refused(signed: Path) -> None:
    """At two hundred places, and with a byte more or less."""
    path = signed / "model.onnx"
    good = path.read_bytes()
    changed = [good + b"\0", good[:-1]]
    for place in np.random.default_rng(0).integers(0, len(good), 200):
        changed.append(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    for content in changed:
        path.write_bytes(content)
        with pytest.raises(SignatureError, match="not the file that was signed"):
            load(signed)


def test_a_signature_cut_at_any_length_is_refused(signed: Path) -> None:
    """No part of it is taken for the whole."""
    path = signed / "model.onnx.sig"
    whole = path.read_bytes().rstrip()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SignatureError, match=r"model\.onnx\.sig"):
            load(signed)


@pytest.mark.parametrize(
    "content",
    [b"[" * 10_000, b"{}" + b" " * 20_000, b'{"counter": ' + b"9" * 9000 + b"}", b"\xff\xfe", b"null"],
    ids=["nested", "large", "huge number", "not text", "null"],
)
def test_a_hostile_signature_is_one_clear_error(signed: Path, content: bytes) -> None:
    """Nested, large, huge numbers, no text: SignatureError."""
    (signed / "model.onnx.sig").write_bytes(content)
    with pytest.raises(SignatureError):
        load(signed)


def test_an_unknown_field_is_refused_though_it_is_signed_by_nobody(signed: Path) -> None:
    """A field that this version does not know could promise anything."""
    path = signed / "model.onnx.sig"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"note": "trust me"}))
    with pytest.raises(SignatureError, match="note"):
        load(signed)


def test_the_wrong_one_of_two_files_is_told_by_its_name(signed: Path) -> None:
    """The public key in the place of the private one, whose mode is no matter, and what is no model: exit code 65."""
    public = program("sign", signed / "model.onnx", "--key", signed / "release.pub.pem")
    assert public.exit_code == 65 and f"{signed / 'release.pub.pem'} is a public key" in public.output
    (signed / "model.pt").write_bytes(bytes(1000))
    no_model = program("sign", signed / "model.pt", "--key", signed / "release.pem")
    assert no_model.exit_code == 65 and f"{signed / 'model.pt'} (1000 bytes) cannot be opened" in no_model.output
    assert "/proc" not in no_model.output


def test_an_unsigned_model_and_an_unknown_key_are_refused(signed: Path) -> None:
    """Without a signature, and with one of a key that is not trusted: both are said."""
    must("keygen", signed / "other.pem")
    must("sign", signed / "model.onnx", "--key", signed / "other.pem")
    with pytest.raises(SignatureError, match="not trusted here"):
        load(signed)
    (signed / "model.onnx.sig").unlink()
    with pytest.raises(SignatureError, match="there is no signature"):
        load(signed)


def test_a_forged_key_id_does_not_help(signed: Path) -> None:
    """A statement of another key that bears the trusted key's id is told as altered."""
    trusted = json.loads((signed / "model.onnx.sig").read_text())["key_id"]
    must("keygen", signed / "other.pem")
    must("sign", signed / "model.onnx", "--key", signed / "other.pem")
    forged = json.loads((signed / "model.onnx.sig").read_text()) | {"key_id": trusted}
    (signed / "model.onnx.sig").write_text(json.dumps(forged))
    with pytest.raises(SignatureError, match="altered"):
        load(signed)


def ran(counter: int, *, sha256: str = "0" * 64, created: datetime = datetime(2020, 1, 1, tzinfo=UTC)) -> RanBefore:
    return RanBefore(models={"model": RanLast(counter=counter, sha256=sha256, created=created)})


def test_an_older_model_is_refused_and_the_same_or_a_newer_one_is_not(signed: Path) -> None:
    """Signed with 5: refused after 6, and after 5 of another file; taken after 4, and after 5 of this file."""
    sha256 = json.loads((signed / "model.onnx.sig").read_text())["sha256"]
    for before, said in [(ran(6), "counter 5, and this monitor has run 6"), (ran(5), "another file")]:
        with pytest.raises(SignatureError, match=said):
            load(signed, before=before)
    assert load(signed, before=ran(4))
    assert load(signed, before=ran(5, sha256=sha256))


def test_the_default_counter_is_the_time_and_so_grows(signed: Path) -> None:
    """Two signatures made at different seconds need no thought about counters."""
    before = int(datetime.now(UTC).timestamp())
    must("sign", signed / "model.onnx", "--key", signed / "release.pem")
    assert before <= json.loads((signed / "model.onnx.sig").read_text())["counter"] <= before + 60


def test_an_expired_signature_is_refused_with_both_times(signed: Path) -> None:
    """Valid for two days: taken tomorrow, refused in three days with the time of each."""
    must("sign", signed / "model.onnx", "--key", signed / "release.pem", "--valid-days", "2")
    now = datetime.now(UTC)
    assert load(signed, now=now + timedelta(days=1))
    with pytest.raises(SignatureError, match=r"expired at 2\d{3}-.* set the clock"):
        load(signed, now=now + timedelta(days=3))


def test_a_clock_that_is_not_set_neither_refuses_nor_is_silent(signed: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In 1970 by the clock a signature of today is taken, and the log says that its expiry cannot be told."""
    must("sign", signed / "model.onnx", "--key", signed / "release.pem", "--valid-days", "2")
    assert load(signed, now=datetime(1970, 1, 1, tzinfo=UTC))
    assert "cannot be told" in caplog.text


def test_a_clock_that_is_not_set_tells_nothing_about_signatures_that_never_expire(
    signed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No warning where no time matters."""
    assert load(signed, now=datetime(1970, 1, 1, tzinfo=UTC))
    assert caplog.text == ""


def test_a_clock_that_was_set_back_does_not_bring_an_expired_signature_back(signed: Path) -> None:
    """A newer signature that ran here shows that the time of expiry is past, whatever the clock says."""
    must("sign", signed / "model.onnx", "--key", signed / "release.pem", "--valid-days", "2")
    later = datetime.now(UTC) + timedelta(days=30)
    with pytest.raises(SignatureError, match="expired"):
        load(signed, before=ran(1, created=later), now=datetime(1970, 1, 1, tzinfo=UTC))


def test_what_ran_is_kept_by_name_and_a_damaged_note_is_refused(tmp_path: Path) -> None:
    """Two models are noted beside each other; a file that cannot be read is no licence for older models."""
    note_ran(tmp_path, ran(5).models)
    note_ran(tmp_path, {"fan": ran(7).models["model"]})
    assert {name: last.counter for name, last in read_ran_before(tmp_path).models.items()} == {"model": 5, "fan": 7}
    path = tmp_path / "signatures.json"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(SignatureError, match="remove that file"):
        read_ran_before(tmp_path)


def test_the_private_key_is_for_its_owner_alone(signed: Path) -> None:
    """Mode 0600 whatever the umask; one that others may read signs nothing until that is mended."""
    key = signed / "release.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.chmod(0o640)
    result = program("sign", signed / "model.onnx", "--key", key)
    assert result.exit_code == 65 and f"chmod 600 {key}" in result.output


def test_no_key_is_ever_overwritten(signed: Path) -> None:
    """A second keygen of the same name changes nothing."""
    before = (signed / "release.pem").read_bytes()
    assert program("keygen", signed / "release.pem").exit_code == 1
    assert (signed / "release.pem").read_bytes() == before


def test_a_passphrase_from_a_file_or_the_environment_and_never_in_the_output(
    signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An encrypted key signs with its passphrase, not with another or none; no output has it or the key's bytes."""
    (signed / "passphrase").write_text(PASSPHRASE + "\n")
    (signed / "wrong").write_text("battery staple")
    monkeypatch.setenv("SIGN_PASSPHRASE", PASSPHRASE)
    key, model = signed / "safe.pem", signed / "model.onnx"
    results = [must("keygen", key, "--passphrase-file", signed / "passphrase")]
    assert b"ENCRYPTED PRIVATE KEY" in key.read_bytes()
    results.append(must("sign", model, "--key", key, "--passphrase-env", "SIGN_PASSPHRASE"))
    for options, said in [
        ([], "has a passphrase"),
        (["--passphrase-file", signed / "wrong"], "another passphrase"),
        (["--passphrase-env", "NOT_SET"], "--passphrase-env: the environment variable NOT_SET is not set"),
        (["--passphrase-env", "HOME", "--passphrase-file", signed / "wrong"], "give one of them"),
    ]:
        result = program("sign", model, "--key", key, *options)
        assert result.exit_code != 0 and said in result.output
        results.append(result)
    results.append(program("sign", model, "--key", signed / "release.pem", "--passphrase-file", signed / "passphrase"))
    assert "has no passphrase" in results[-1].output
    secrets = [
        PASSPHRASE,
        *key.read_text().splitlines()[1:-1],
        *(signed / "release.pem").read_text().splitlines()[1:-1],
    ]
    assert not [secret for secret in secrets for result in results if secret in result.output]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: (folder / "release.pem").read_bytes(), "is a private key"),
        (lambda folder: b"not a key", "no public key in PEM"),
        (lambda folder: (folder / "release.pub.pem").read_bytes()[:60], "no public key in PEM"),
        (lambda folder: base64.b64encode(b"x" * 3000), "no public key in PEM"),
    ],
    ids=["private", "text", "cut", "base64"],
)
def test_a_trusted_key_that_cannot_be_used_is_a_fault_of_the_configuration(
    signed: Path, make: Callable[[Path], bytes], said: str
) -> None:
    """Exit code 78, and the file is named."""
    (signed / "bad.pem").write_bytes(make(signed))
    result = program("verify", signed / "model.onnx", "--trusted", signed / "bad.pem")
    assert result.exit_code == 78 and said in result.output and "bad.pem" in result.output


def test_keys_of_another_kind_are_refused(signed: Path, require_program: Callable[[str], str]) -> None:
    """An RSA pair that OpenSSL made neither signs nor is trusted."""
    openssl = require_program("openssl")
    for words in ("genrsa -out rsa.pem 2048", "rsa -in rsa.pem -pubout -out rsa.pub.pem"):
        subprocess.run([openssl, *words.split()], cwd=signed, check=True, capture_output=True)
    (signed / "rsa.pem").chmod(0o600)
    assert "not of Ed25519" in program("sign", signed / "model.onnx", "--key", signed / "rsa.pem").output
    assert "not of Ed25519" in program("verify", signed / "model.onnx", "--trusted", signed / "rsa.pub.pem").output


def test_a_model_that_is_wrong_is_not_signed(signed: Path, tiny_model: Any) -> None:
    """Golden windows that do not repeat, and weights in another file: nothing is written."""
    (signed / "model.onnx.sig").unlink()
    golden = tiny_model.metadata().golden
    tiny_model(golden=golden.model_copy(update={"scores": [1.0, 2.0, 3.0]}))
    assert "golden window" in program("sign", signed / "model.onnx", "--key", signed / "release.pem").output
    model = onnx.load(tiny_model())
    tensor = model.graph.initializer[3]
    value = onnx.numpy_helper.to_array(tensor).tobytes()
    (signed / "weights.bin").write_bytes(value)
    tensor.ClearField("float_data")
    tensor.raw_data = value
    onnx.external_data_helper.set_external_data(tensor, "weights.bin", length=len(value))
    tensor.ClearField("raw_data")
    (signed / "model.onnx").write_bytes(model.SerializeToString())
    assert program("sign", signed / "model.onnx", "--key", signed / "release.pem").exit_code == 65
    assert not (signed / "model.onnx.sig").exists()


@pytest.mark.parametrize(("missing", "exit_code"), [("model.onnx", 66), ("release.pem", 66)])
def test_what_is_not_there_exits_with_66(signed: Path, missing: str, exit_code: int) -> None:
    """No model, no key."""
    (signed / missing).unlink()
    assert program("sign", signed / "model.onnx", "--key", signed / "release.pem").exit_code == exit_code


def test_every_refusal_is_a_model_error_with_exit_code_65() -> None:
    """A service manager sees one code for a model that is not to be trusted."""
    assert SignatureError("x").exit_code == 65 and isinstance(SignatureError("x"), DasvddError)
