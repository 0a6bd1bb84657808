"""What is wrong in a monitor.toml, in words that name the key, the value and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from dasvdd_runtime.configuration.config import load_config
from dasvdd_runtime.errors import ConfigError

HEAD = '[model]\npath = "m.onnx"\n'
SOURCE = '[[source]]\nname = "p"\nkind = "microphone"\n'
OPCUA = '[[source]]\nname = "p"\nkind = "opcua"\nurl = "opc.tcp://plc:4840"\nnodes = {x = "ns=2;i=1"}\n'

FAULTS = [
    (HEAD + SOURCE + '[events]\nkeep = "many"', "events.keep: must be a whole number (given: 'many')"),
    (HEAD + SOURCE + "[events]\nkeep = 2.5", "events.keep: must be a whole number (given: 2.5)"),
    (HEAD + SOURCE + "[events]\nkeep = 2024-01-01", "events.keep: must be a whole number (given: 2024-01-01)"),
    (HEAD + SOURCE + "[events]\nmax_bytes = 0", "events.max_bytes: must be at least 10000 (given: 0)"),
    (HEAD + SOURCE + '[events]\nscores = "maybe"', "events.scores: must be true or false (given: 'maybe')"),
    (HEAD + SOURCE + '[decision]\nk = "3 of 5"', "decision.k: must be a whole number (given: '3 of 5')"),
    (HEAD + SOURCE + "[decision]\nthreshold = -1", "decision.threshold: must be above 0 (given: -1)"),
    (HEAD + SOURCE + "[decision]\nthreshold = nan", "decision.threshold: must be a finite number (given: nan)"),
    (HEAD + SOURCE + "[decision]\nthreshold = true", "decision.threshold: must be a number (given: true)"),
    (HEAD + SOURCE + '[decision]\nthreshold = "118"', "decision.threshold: must be a number (given: '118')"),
    (HEAD + SOURCE + "[alarm]\nlatch = 1", "alarm.latch: must be true or false (given: 1)"),
    (HEAD + SOURCE + 'stall_seconds = "5"', "source 'p'.stall_seconds: must be a number (given: '5')"),
    (
        HEAD + SOURCE + "[source.running]\nstop_level = true",
        "source 'p'.running.stop_level: must be a number (given: true)",
    ),
    (HEAD + SOURCE + "channels = [true]", "source 'p'.channels, entry 1: must be a number (given: true)"),
    ("decision = 3\n" + HEAD + SOURCE, "decision: must be a table, [decision] with its keys below it (given: 3)"),
    ('model = "m.onnx"\n' + SOURCE, "model: must be a table, [model] with its keys below it (given: 'm.onnx')"),
    (
        HEAD + 'provider = "gpu"\n' + SOURCE,
        "model.provider: provider 'gpu' is not known. Did you mean 'cuda'? Known: cpu, cuda,",
    ),
    ("[model]\npath = 7\n" + SOURCE, "model.path: must be a path, a text in quotes (given: 7)"),
    (HEAD + SOURCE.replace('"p"', "7"), "source 1.name: must be a text in quotes (given: 7)"),
    (HEAD + SOURCE.replace('"p"', '""'), "source 1.name: must not be empty (given: '')"),
    (HEAD + SOURCE + 'stall_seconds = "5 s"', "source 'p'.stall_seconds: must be a number (given: '5 s')"),
    (HEAD + SOURCE + "stall_seconds = -1", "source 'p'.stall_seconds: must be above 0 (given: -1)"),
    (HEAD + SOURCE + "stal_seconds = 5", "source 'p': unknown key 'stal_seconds'. Did you mean 'stall_seconds'?"),
    (HEAD + SOURCE + 'channels = "left"', "source 'p'.channels: must be a list in square brackets (given: 'left')"),
    (
        HEAD + SOURCE + "channels = [0, -1]",
        "source 'p'.channels, entry 2: must be at least 0 or must be a text in quotes (given: -1)",
    ),
    (
        HEAD + SOURCE + "channels = [[1]]",
        "source 'p'.channels, entry 1: must be a whole number or must be a text in quotes (given: [1])",
    ),
    (HEAD + SOURCE + "running = true", "source 'p'.running: must be a table, [source.running] with its keys below it"),
    (HEAD + SOURCE.replace('kind = "microphone"', ""), "source 'p': the key 'kind' is missing"),
    (HEAD + SOURCE.replace('name = "p"', ""), "source 1: the key 'name' is missing"),
    (HEAD, "the key 'source' is missing"),
    (SOURCE, "the key 'model' is missing"),
    (HEAD + SOURCE + '[evnets]\npath = "x"', "unknown key 'evnets'. Did you mean 'events'?"),
    (HEAD + OPCUA.replace("opc.tcp", "http"), "source 'p'.url: must have the form"),
    (HEAD + OPCUA + 'fill = "spline"', "source 'p'.fill: must be 'hold' or 'linear' (given: 'spline')"),
]


@pytest.mark.parametrize(("text", "said"), FAULTS, ids=[said.partition(" (")[0] for _, said in FAULTS])
def test_a_fault_is_worded_for_people(tmp_path: Path, text: str, said: str) -> None:
    """One line with the key as it is in the file, what must stand there and what does; nothing of the library's."""
    path = tmp_path / "monitor.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    for foreign in ("Input", "valid", "pydantic", "Table", "constrained", "microphone."):
        assert foreign not in message.replace(str(path), ""), message


def test_every_fault_is_told(tmp_path: Path) -> None:
    """Two faults are two lines."""
    path = tmp_path / "monitor.toml"
    for text in (HEAD + SOURCE + "stall_seconds = -1\n[decision]\nthreshold = -1", "", HEAD + SOURCE + "a = 1\nb = 1"):
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load_config(path)
        assert len(str(caught.value).splitlines()) == 2


def test_a_lone_source_is_a_list_of_one(tmp_path: Path) -> None:
    """`[source]` is what a person writes who has one machine; it means the same as `[[source]]`."""
    path = tmp_path / "monitor.toml"
    path.write_text(HEAD + SOURCE.replace("[[source]]", "[source]"))
    assert [table.name for table in load_config(path).sources] == ["p"]


def test_a_text_without_quotes_is_told_by_its_line(tmp_path: Path) -> None:
    """What TOML itself refuses is named with its place, and with what was most likely forgotten."""
    path = tmp_path / "monitor.toml"
    path.write_text("[model]\npath = m.onnx\n" + SOURCE)
    with pytest.raises(ConfigError, match=r"line 2, column 8.*A text stands in quotes"):
        load_config(path)


def test_a_file_that_cannot_be_read_is_no_fault_of_its_content(tmp_path: Path) -> None:
    """A folder in its place is told as what it is, without the system's number."""
    with pytest.raises(ConfigError, match=r": cannot be read: Is a directory\. It must be a file"):
        load_config(tmp_path)
