"""Thousands of broken files: each is read or refused with one clear error, in bounded time and memory."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from dasvdd_runtime.configuration.config import load_config
from dasvdd_runtime.contract import METADATA_KEY
from dasvdd_runtime.errors import ConfigError, ModelError
from dasvdd_runtime.model_files.inspection import facts, inspect_model
from dasvdd_runtime.model_files.model_card import model_card
from dasvdd_runtime.signing.statement import read_statement
from hostile import Chance, broken_bytes, broken_tree, require_clear_errors

MODEL = Path(__file__).parents[1] / "data" / "schema_1.0" / "audio.onnx"
TOML = """
[model]
path = "model.onnx"
provider = "cpu"
name = "m"
require_signature = true
trusted_keys = ["a.pem"]
[model.decision]
threshold = 1.0
k = 2
n = 3
[[source]]
name = "pump7"
kind = "microphone"
device = "x"
channels = [0]
stall_seconds = 5
[source.running]
stop_level = -50.0
start_level = -40.0
[[source]]
name = "b"
kind = "command"
argv = ["cat", "x"]
format = "s16le"
[[source]]
name = "c"
kind = "rtsp"
url = "rtsp://host/stream"
[decision]
smoothing_seconds = 1.0
[events]
path = "events.jsonl"
max_bytes = 20000
[alarm]
latch = true
[state]
directory = "state"
[mqtt]
host = "localhost"
port = 1883
[[webhook]]
name = "w"
url = "http://localhost:9/x"
[http]
listen = "127.0.0.1:9000"
"""
TOML_VALUES = [
    *("nan", "inf", "-1", "0", "1e400", '"\\u0000"', '""', "[]", "{}", "[" * 2000, "9" * 5000, "0x" + "f" * 5000),
    *("true", "[[1]]", f'"{"a" * 100_000}"', "1979-05-27", "{a={b=1}}", '[1,"a"]', "-9223372036854775808"),
    *("[" * 300 + "]" * 300, '"http://[::1"', '["\\u0000"]'),
]
STATEMENT = {
    "schema_version": "1.0",
    "algorithm": "ed25519",
    "key_id": "0" * 16,
    "model_name": "x",
    "sha256": "0" * 64,
    "size_bytes": 5,
    "counter": 5,
    "created": "2026-01-01T00:00:00+00:00",
    "expires": None,
    "signature": "0" * 128,
}


@pytest.mark.slow
def test_broken_metadata_is_refused_or_everything_about_the_model_can_be_said(tmp_path: Path) -> None:
    """Whatever metadata is read can also be scored with, shown, and written as JSON and as a page."""
    model = onnx.load(MODEL)
    text = next(entry.value for entry in model.metadata_props if entry.key == METADATA_KEY)
    tree, path = json.loads(text), tmp_path / "m.onnx"

    def read(chance: Chance) -> None:
        if chance.random() < 0.7:
            broken = json.dumps(broken_tree(tree, chance))
        else:
            broken = broken_bytes(text.encode(), chance).decode(errors="replace")
        onnx.helper.set_model_props(model, {METADATA_KEY: broken})
        path.write_bytes(model.SerializeToString())
        found = inspect_model(path)
        facts(found), model_card(found).encode(), json.dumps(found.as_json())

    read_well, refused = require_clear_errors(read, 1000)
    assert read_well > 100 and refused > 500


@pytest.mark.slow
def test_broken_model_files_are_refused_or_read(tmp_path: Path) -> None:
    """Any bytes of the file may be wrong: graph, weights or metadata."""
    content, path = MODEL.read_bytes(), tmp_path / "m.onnx"

    def read(chance: Chance) -> None:
        path.write_bytes(broken_bytes(content, chance))
        inspect_model(path)

    assert min(require_clear_errors(read, 700)) > 50


@pytest.mark.slow
def test_broken_signatures_are_refused_or_read(tmp_path: Path) -> None:
    """Before anything in it is believed, a statement is read like any file."""
    good, path = json.dumps(STATEMENT).encode(), tmp_path / "m.sig"

    def read(chance: Chance) -> None:
        tree = json.dumps(broken_tree(STATEMENT, chance)).encode()
        path.write_bytes(tree if chance.random() < 0.5 else broken_bytes(good, chance))
        statement = read_statement(path)
        assert statement.signed_bytes() and statement.in_words and statement.created_at
        assert (statement.expires_at is None) == (statement.expires is None)

    assert min(require_clear_errors(read, 1200)) > 20


@pytest.mark.slow
def test_broken_configurations_are_refused_or_read(tmp_path: Path) -> None:
    """Bytes, or whole values that no key expects."""
    path = tmp_path / "monitor.toml"

    def read(chance: Chance) -> None:
        lines = TOML.splitlines()
        for _ in range(chance.choice([1, 2])):
            place = chance.randrange(len(lines))
            key = lines[place].partition("=")[0]
            lines[place] = f"{key}= {chance.choice(TOML_VALUES)}" if "=" in lines[place] else "[[source]]"
        values = "\n".join(lines).encode()
        path.write_bytes(values if chance.random() < 0.5 else broken_bytes(TOML.encode(), chance))
        load_config(path)

    read_well, refused = require_clear_errors(read, 1500)
    assert read_well > 10 and refused > 1000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = " + "[" * 5000, "too deep"),
        ("a = " + "9" * 5000, "not a readable TOML file"),
        ("a = 0x" + "f" * 5000, "beyond 64 bits"),
        ('a = "\\u0000"', r"U\+0000"),
        ("#" * (2**20 + 1), "larger than"),
    ],
    ids=["deep", "digits", "hexadecimal", "null", "large"],
)
def test_what_toml_allows_and_python_chokes_on_is_a_fault_of_the_configuration(
    tmp_path: Path, text: str, said: str
) -> None:
    """Found by the tests above: each was a traceback once."""
    (tmp_path / "monitor.toml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_config(tmp_path / "monitor.toml")


@pytest.mark.parametrize(
    ("old", "new"),
    [('"schema_version"', '"x": ' + "[" * 5000 + ', "schema_version"'), ('"hours":', '"hours": 1e300, "x":')],
    ids=["deep", "huge"],
)
def test_metadata_that_python_chokes_on_is_a_fault_of_the_model(tmp_path: Path, old: str, new: str) -> None:
    """Found by the tests above: each was a traceback once."""
    model = onnx.load(MODEL)
    text = next(entry.value for entry in model.metadata_props if entry.key == METADATA_KEY)
    assert old in text
    onnx.helper.set_model_props(model, {METADATA_KEY: text.replace(old, new)})
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError):
        inspect_model(tmp_path / "m.onnx")
