"""The stream form in the monitor: the plain form's scores for every source, over gaps; another's file is left alone."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
from click.testing import CliRunner
from dasvdd_export.export import export
from dasvdd_runtime import Scorer, cli
from dasvdd_runtime.contract import decode, encode
from dasvdd_runtime.errors import ModelError
from dasvdd_runtime.pipeline import DecisionRule, Pipeline
from dasvdd_runtime.running.scoring import score_waiting
from dasvdd_runtime.scorer import WindowScorer
from dasvdd_runtime.signing import cli as sign_cli
from dasvdd_runtime.stream_scorer import StreamScorer
from dasvdd_runtime.windows import StreamMemory, Waiting, Window
from make_tiny_models import AUDIO_RATE_HZ
from monitor_child import MONITOR, MonitorChild

Events = list[dict[str, Any]]


@pytest.fixture(scope="module", params=["audio", "sensor"])
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_run: Callable[..., Path]
) -> Path:
    """A model of each kind with both forms."""
    folder = tiny_run(request.param, tmp_path_factory.mktemp(request.param))
    export(folder / "model.pt", folder / "model.onnx", calibration_data=None, false_alarms_per_day=None, stream=True)
    return folder


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory, tiny_run: Callable[..., Path]) -> Path:
    """An audio model with both forms, and a recording in which the tone changes, gaps of silence in it."""
    folder = tiny_run("audio", tmp_path_factory.mktemp("site"))
    export(folder / "model.pt", folder / "model.onnx", calibration_data=None, false_alarms_per_day=None, stream=True)
    time = np.arange(60 * AUDIO_RATE_HZ) / AUDIO_RATE_HZ
    samples = 0.2 * np.sin(2 * np.pi * np.where(time < 30, 440, 900) * time)
    samples += 0.02 * np.random.default_rng(3).standard_normal(len(time))
    samples[20 * AUDIO_RATE_HZ : 21 * AUDIO_RATE_HZ] = 0
    soundfile.write(folder / "faulty.wav", samples, AUDIO_RATE_HZ, subtype="FLOAT")
    return folder


def configure(site: Path, extra: str = "", model: str = "") -> Path:
    (site / "monitor.toml").write_text(
        f'[model]\npath = "model.onnx"\nprovider = "cpu"\n{model}[events]\nscores = true\n'
        f'[[source]]\nname = "pump7"\nkind = "file"\npath = "faulty.wav"\n{extra}'
    )
    return site / "monitor.toml"


def site_of(audio: Path, folder: Path) -> Path:
    """A folder with both forms and the recording."""
    for name in ("model.onnx", "model.stream.onnx", "faulty.wav"):
        shutil.copy(audio / name, folder / name)
    configure(folder)
    return folder


def replay(site: Path) -> tuple[Events, str]:
    """The events of a replay by the real program, and what it logged."""
    done = subprocess.run([*MONITOR, "run", str(site / "monitor.toml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def fed_at_random(scorer: WindowScorer, metadata: Any, seed: int) -> list[Events]:
    """Score events of three sources that share `scorer`, fed in blocks of random sizes with gaps, NaN and silence."""
    random = np.random.default_rng(seed)
    rule = DecisionRule(metadata.calibration.threshold, metadata.decision, metadata.calibration.usual_score)
    lines = [Pipeline(name=str(i), metadata=metadata, scorer=scorer, rule=rule, report_scores=True) for i in range(3)]
    caused: dict[str, Events] = {line.name: [] for line in lines}

    def emit(events: Events) -> None:
        for event in events:
            if event["event"] == "score":
                caused[event["source"]].append(event)

    for _ in range(60):
        for line in lines:
            size = int(random.integers(1, 2 * metadata.window_samples))
            block = (0.1 * random.standard_normal((size, metadata.channels))).astype(np.float32)
            luck = random.uniform()
            if luck < 0.1:
                line.gap(lost=int(random.integers(0, 3)) * metadata.window_hop_samples)
            elif luck < 0.15:
                line.gap(dropped=17)
            elif luck < 0.2:
                block[size // 2] = np.nan
            elif luck < 0.25:
                block[:] = 0
            line.cut(block)
        score_waiting([line for line in lines if random.uniform() < 0.7], emit)
    score_waiting(lines, emit)
    return list(caused.values())


@pytest.mark.parametrize("seed", range(4))
def test_sources_score_as_with_the_plain_form_over_gaps_and_faults(run: Path, seed: int) -> None:
    """The same windows of every source are scored, to 1e-5, whatever blocks, gaps, NaN and silence come."""
    plain = Scorer(run / "model.onnx", provider="cpu")
    stream = StreamScorer(run / "model.stream.onnx", provider="cpu")
    expected = fed_at_random(plain, plain.metadata, seed)
    found = fed_at_random(stream, plain.metadata, seed)
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours) > 50
        assert [event["start_seconds"] for event in ours] == [event["start_seconds"] for event in theirs]
        scores = ([event["score"] for event in events] for events in (ours, theirs))
        np.testing.assert_allclose(*scores, rtol=1e-5)


def test_sources_in_one_batch_cost_one_row_each(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that go on take one run of a row a stream, of a hop's samples; a new one takes a whole window's hops."""
    scorer = StreamScorer(run / "model.stream.onnx", provider="cpu")
    m, rows = scorer.metadata, list[int]()
    inner = StreamScorer._run

    def counted(self: StreamScorer, inputs: Any, called_for: Any) -> Any:
        rows.append(len(inputs["state"]))
        return inner(self, inputs, called_for)

    monkeypatch.setattr(StreamScorer, "_run", counted)
    window = np.zeros((m.window_samples, m.channels), np.float32)
    memories = [StreamMemory() for _ in range(5)]
    scorer.score([Waiting(Window(0, window), memory) for memory in memories])
    lead_in = -(-m.window_samples // m.window_hop_samples)
    assert rows == [5] * lead_in
    rows.clear()
    hop = m.window_hop_samples
    scorer.score([Waiting(Window(hop, window), memory) for memory in memories[1:]])
    assert rows == [4]
    rows.clear()
    scorer.score([Waiting(Window(2 * hop, window), memory) for memory in memories])
    assert rows == [5] + [1] * (lead_in - 1)


def test_a_run_that_fails_leaves_no_state_to_go_on_from(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure the next window is gone through from its first sample."""
    scorer = StreamScorer(run / "model.stream.onnx", provider="cpu")
    m, memory = scorer.metadata, StreamMemory()
    random = np.random.default_rng(0)
    samples = (0.1 * random.standard_normal((3 * m.window_samples, m.channels))).astype(np.float32)
    hop = m.window_hop_samples
    windows = [Window(i * hop, samples[i * hop : i * hop + m.window_samples]) for i in range(3)]
    scorer.score([Waiting(windows[0], memory)])
    with monkeypatch.context() as patched:
        patched.setattr(scorer, "_session", None)
        with pytest.raises(Exception, match="failed on"):
            scorer.score([Waiting(windows[1], memory)])
    found = scorer.score([Waiting(windows[1], memory)]).score
    expected = scorer.score([Waiting(windows[1], StreamMemory())]).score
    np.testing.assert_array_equal(found, expected)


def test_replay_gives_the_same_events_with_both_forms(audio: Path, tmp_path: Path) -> None:
    """Alarms, states and scores of a recording with a fault and a silent second are those of the plain form."""
    site = site_of(audio, tmp_path)
    with_stream, _ = replay(site)
    (site / "model.stream.onnx").unlink()
    with_plain, _ = replay(site)
    assert [event["models"]["model"]["form"] for event in (with_stream[0], with_plain[0])] == ["stream", "plain"]
    assert any(event["event"] == "alarm_raised" for event in with_plain)
    assert len(with_stream) == len(with_plain)
    for ours, theirs in zip(with_stream[1:], with_plain[1:], strict=True):
        by_blocks = {"stream_seconds"} if theirs["event"] == "source_state" else set[str]()  # told a block at a time
        for name in theirs.keys() - {"id", "time", "alarm"} - by_blocks:
            if isinstance(theirs[name], float):
                assert ours[name] == pytest.approx(theirs[name], rel=1e-5), name
            elif name != "bands":
                assert ours[name] == theirs[name], name


def damaged(site: Path, tmp_path: Path) -> None:
    """Half of it."""
    path = site / "model.stream.onnx"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def plain_in_its_place(site: Path, tmp_path: Path) -> None:
    """The plain form under its name."""
    shutil.copy(site / "model.onnx", site / "model.stream.onnx")


def rewritten(site: Path, **update: Any) -> None:
    """The stream form with other metadata."""
    path = site / "model.stream.onnx"
    graph = onnx.load(path)
    metadata, _ = decode({entry.key: entry.value for entry in graph.metadata_props})
    onnx.helper.set_model_props(graph, encode(metadata.model_copy(update=update)))
    path.write_bytes(graph.SerializeToString())


def stale(site: Path, tmp_path: Path) -> None:
    """As beside a model.onnx that was trained and exported anew."""
    rewritten(site, model_fingerprint="0" * 64)


def of_a_longer_window(site: Path, tmp_path: Path) -> None:
    """The same model.pt, other windows."""
    rewritten(site, window_samples=8000)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (damaged, "cannot be opened"),
        (plain_in_its_place, "is the plain form"),
        (stale, "do not belong together"),
        (of_a_longer_window, "its window in samples is 8000"),
    ],
)
def test_a_file_that_cannot_be_used_is_left_alone_loudly(audio: Path, tmp_path: Path, spoil: Any, said: str) -> None:
    """The plain form scores, and log and first event say why."""
    site = site_of(audio, tmp_path)
    spoil(site, tmp_path)
    events, logged = replay(site)
    model = events[0]["models"]["model"]
    assert model["form"] == "plain"
    assert said in model["stream_not_used"]
    assert "WARNING" in logged and "model.stream.onnx is not used" in logged
    assert any(event["event"] == "score" for event in events)


def test_reload_takes_up_a_stream_form_and_leaves_it(audio: Path, tmp_path: Path) -> None:
    """SIGHUP after the file was copied there scores with it, and after it was removed with the plain form again."""
    site = site_of(audio, tmp_path)
    (site / "model.stream.onnx").unlink()
    configure(site, 'pace = "real-time"\n')
    child = MonitorChild(site / "monitor.toml")
    try:
        child.wait_for("score")
        shutil.copy(audio / "model.stream.onnx", site / "model.stream.onnx")
        child.reload()
        assert child.wait_for("reloaded")["models"]["model"]["form"] == "stream"
        before = len(child.of_kind("score"))
        child.wait_for("score", count=before + 3)
        (site / "model.stream.onnx").unlink()
        child.reload()
        assert child.wait_for("reloaded", count=2)["models"]["model"]["form"] == "plain"
        child.wait_for("score", count=len(child.of_kind("score")) + 2)
    finally:
        child.kill()


def test_plain_form_is_asked_for_where_windows_are_scored(audio: Path) -> None:
    """`score` and Scorer refuse a stream form and name the other file; `inspect` and `verify` know it."""
    path = audio / "model.stream.onnx"
    with pytest.raises(ModelError, match=r"Name the plain form, model\.onnx"):
        Scorer(path, provider="cpu")
    runner = CliRunner()
    assert runner.invoke(cli.main, ["score", str(path), str(audio / "faulty.wav")]).exit_code == 65
    shown = runner.invoke(cli.main, ["inspect", str(path)])
    assert shown.exit_code == 0 and "follows a stream by 0.248 s" in shown.output and "sequences" in shown.output
    verified = runner.invoke(cli.main, ["verify", str(path)])
    assert verified.exit_code == 0, verified.output


def test_golden_sequences_that_do_not_repeat_are_refused(audio: Path, tmp_path: Path) -> None:
    """A file whose stored scores are off by 1 % is not trusted."""
    site = site_of(audio, tmp_path)
    info = StreamScorer(site / "model.stream.onnx", provider="cpu").metadata.stream
    assert info is not None
    scores = [[score * 1.01 for score in row] for row in info.golden.scores]
    golden = info.golden.model_copy(update={"scores": scores})
    rewritten(site, stream=info.model_copy(update={"golden": golden}))
    with pytest.raises(ModelError, match="golden window"):
        StreamScorer(site / "model.stream.onnx", provider="cpu").verify_golden()


def test_a_stream_form_needs_a_signature_of_its_own(audio: Path, tmp_path: Path) -> None:
    """With require_signature it is used once it is signed; unsigned, altered or older, the monitor does not start."""
    site = site_of(audio, tmp_path)

    def dasvdd_sign(*arguments: str | Path) -> None:
        result = CliRunner().invoke(sign_cli.main, list(map(str, arguments)))
        assert result.exit_code == 0, result.output

    def sign(name: str, counter: int) -> None:
        dasvdd_sign("sign", site / name, "--key", site / "release.pem", "--counter", str(counter))

    dasvdd_sign("keygen", site / "release.pem")
    sign("model.onnx", 10)
    configure(
        site,
        '[state]\ndirectory = "state"\n',
        model='require_signature = true\ntrusted_keys = ["release.pub.pem"]\n',
    )

    def refused() -> str:
        done = subprocess.run(
            [*MONITOR, "run", str(site / "monitor.toml")], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (65, ""), done.stderr
        return done.stderr

    assert "model.stream.onnx.sig" in refused()
    sign("model.stream.onnx", 20)
    events, _ = replay(site)
    assert events[0]["models"]["model"]["form"] == "stream"
    sign("model.stream.onnx", 19)
    assert "counter 19, and this monitor has run 20" in refused()
    sign("model.stream.onnx", 20)
    rewritten(site, name="altered")
    assert "not the file that was signed" in refused()


def test_check_says_which_form_scores(audio: Path, tmp_path: Path) -> None:
    """ok where it is used, a warning where another's file lies there, and the speed of the form that scores."""
    site = site_of(audio, tmp_path)
    said = CliRunner().invoke(cli.main, ["check", str(site / "monitor.toml"), "--seconds", "2"]).output
    assert "ok       stream form: scores the golden windows" in said
    stale(site, tmp_path)
    said = CliRunner().invoke(cli.main, ["check", str(site / "monitor.toml"), "--seconds", "2"]).output
    assert "warning  stream form: not used, the plain form scores" in said
    assert "speed: a window takes" in said
