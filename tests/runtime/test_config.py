"""monitor.toml."""

from __future__ import annotations

from pathlib import Path

import pytest
from dasvdd_runtime.configuration.config import DecisionTable, load_config
from dasvdd_runtime.detector import DecisionSettings
from dasvdd_runtime.errors import EXIT_CONFIG, ConfigError
from dasvdd_runtime.sources.tables import FileTable, MicrophoneTable

GOOD = """
[model]
path = "model.onnx"

[[source]]
name = "pump7"
kind = "microphone"
device = "USB mic"

[[source]]
name = "replay"
kind = "file"
path = "/data/pump.wav"
pace = "real-time"

[decision]
k = 4

[events]
path = "events.jsonl"
scores = true
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "monitor.toml"
    path.write_text(text)
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """Relative paths are taken from the TOML file's folder, absolute ones stay, and the rest has its defaults."""
    config = load_config(write(tmp_path, GOOD))
    assert config.models[0].path == tmp_path / "model.onnx"
    assert config.models[0].provider == "auto"
    assert config.events.path == tmp_path / "events.jsonl"
    assert config.events.scores
    microphone, replay = config.sources
    assert isinstance(microphone, MicrophoneTable)
    assert (microphone.name, microphone.device) == ("pump7", "USB mic")
    assert isinstance(replay, FileTable)
    assert (replay.path, replay.pace) == (Path("/data/pump.wav"), "real-time")
    assert config.decision.overrides() == {"k": 4}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('path = "model.onnx"', 'pth = "model.onnx"', "'path'"),
        ('device = "USB mic"', 'devise = "USB mic"', "'device'"),
        ("[decision]", "[decisions]", "'decision'"),
        ("k = 4", "smoothing_second = 4", "'smoothing_seconds'"),
        ('kind = "microphone"', 'kind = "microfone"', "there is no kind 'microfone'. Did you mean 'microphone'"),
        ('pace = "real-time"', 'pace = "realtime"', "real-time"),
        ('name = "replay"', 'name = "pump7"', "pump7"),
        ('name = "replay"\n', "", "name"),
        ("scores = true", "max_bytes = 5", "max_bytes"),
        ("k = 4", "threshold = -1", "threshold"),
        ("k = 4", "threshold = nan", "threshold"),
        ("[decision]", "[decision", "line 16"),
        ('kind = "file"\npath = "/data/pump.wav"\npace = "real-time"', 'kind = "stdin"', "format"),
    ],
)
def test_faults_name_the_key(tmp_path: Path, old: str, new: str, says: str) -> None:
    """Each fault is a ConfigError with exit code 78 that names what is wrong or the nearest known key."""
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, GOOD.replace(old, new)))
    assert says in str(caught.value)
    assert caught.value.exit_code == EXIT_CONFIG == 78


def test_two_stdin_sources_are_refused(tmp_path: Path) -> None:
    """There is one standard input, so a second source that wants it is an error."""
    stdin = '[[source]]\nname = "{}"\nkind = "stdin"\nformat = "csv"\n'
    with pytest.raises(ConfigError, match="only one standard input"):
        load_config(write(tmp_path, '[model]\npath = "m"\n' + stdin.format("a") + stdin.format("b")))


def test_missing_and_unreadable_files_are_configuration_errors(tmp_path: Path) -> None:
    """A service manager must not restart on a configuration that is not there or is no text."""
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "absent.toml")
    (tmp_path / "monitor.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError):
        load_config(tmp_path / "monitor.toml")


def test_no_cut_of_the_file_is_a_traceback(tmp_path: Path) -> None:
    """A configuration cut anywhere either loads or is a ConfigError, never another exception."""
    failed = 0
    for length in range(len(GOOD)):
        try:
            load_config(write(tmp_path, GOOD[:length]))
        except ConfigError:
            failed += 1
    assert failed > len(GOOD) / 2


def test_decision_overrides_replace_only_what_they_name() -> None:
    """Values that are not given stay the model's, and the threshold is one of them."""
    model = DecisionSettings(smoothing_seconds=1.5, k=2, n=4)
    settings, threshold = DecisionTable(n=6, threshold=7.5).apply(model, 3.0)
    assert settings == DecisionSettings(smoothing_seconds=1.5, k=2, n=6)
    assert threshold == 7.5
    assert DecisionTable().apply(model, 3.0) == (model, 3.0)


def test_overrides_that_contradict_the_model_are_refused() -> None:
    """k of the configuration above n of the model cannot work."""
    with pytest.raises(ConfigError, match=r"k = 5 of n = 4.*own settings are k = \d, n = \d, smoothing_seconds = "):
        DecisionTable(k=5).apply(DecisionSettings(k=2, n=4), 1.0)


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ("state/state.db", r"state.db is a file that the monitor keeps for \[state\] directory"),
        ("state/state.db-wal", "state.db-wal is a file that the monitor keeps"),
        ("outbox.db", r"outbox.db is a file that the monitor keeps for \[outbox\] folder"),
        ("state", r"is to be a file, and \[state\] directory = .*state needs a folder"),
        ("state/evidence", r"is to be a file, and \[evidence\] directory"),
        ("token", "token is a file that the monitor reads"),
        ("log", "log.1 is a file that the monitor reads"),
    ],
)
def test_events_spare_what_the_monitor_keeps(tmp_path: Path, events: str, says: str) -> None:
    """Its databases, its folders, a token, and what a rotated event file would replace; beside them all is well."""
    path = tmp_path / "monitor.toml"

    def with_events(name: str) -> Path:
        path.write_text(
            '[model]\npath = "model.onnx"\n[[source]]\nname = "a"\nkind = "csv_tail"\npath = "log.1"\n'
            '[state]\ndirectory = "state"\n[http]\nlisten = "127.0.0.1:9100"\ntoken_file = "token"\n'
            f'[[webhook]]\nurl = "http://127.0.0.1:9/x"\n[events]\npath = "{name}"\n'
        )
        return path

    with pytest.raises(ConfigError, match=says):
        load_config(with_events(events))
    for name in ("state/events.jsonl", "events.jsonl", "state/evidence/events.jsonl"):
        load_config(with_events(name))


@pytest.mark.parametrize("victim", ["model.onnx", "monitor.toml", "pump.wav"])
def test_events_never_overwrite_what_the_monitor_reads(tmp_path: Path, victim: str) -> None:
    """An events path that is the model, a recording or the configuration itself is refused."""
    path = tmp_path / "monitor.toml"
    path.write_text(
        '[model]\npath = "model.onnx"\n[[source]]\nname = "a"\nkind = "file"\npath = "pump.wav"\n'
        f'[events]\npath = "{victim}"\n'
    )
    with pytest.raises(ConfigError, match=f"{victim} is a file that the monitor reads"):
        load_config(path)
