"""A threshold that was learned on site: when it judges, and how it comes, goes and comes back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from calibrating import OFTEN, check, command, configure, learn, make_site, run
from dasvdd_runtime.detector import DecisionSettings
from dasvdd_runtime.scorer import Scorer
from dasvdd_runtime.thresholds.choice import threshold_in_force
from dasvdd_runtime.thresholds.site_threshold import file_of, read_site_file, restore
from monitor_child import MonitorChild
from tiny_model import TinyModel
from white_noise import RATE_HZ, noise

DEFAULT = DecisionSettings()


@pytest.fixture
def site(tiny_model: TinyModel, tmp_path: Path) -> Path:
    """A machine that is healthy, and a model whose threshold is far too low for it."""
    return make_site(tiny_model, tmp_path)


def test_a_threshold_in_the_configuration_beats_both(site: Path) -> None:
    """[decision] threshold rules, and it is said that what was learned is not used; calibrate says so too."""
    learn(site)
    configure(site, "[decision]\nthreshold = 5.0\n")
    events, _ = run(site)
    assert (events[0]["thresholds"]["pump7"]["origin"], events[0]["thresholds"]["pump7"]["threshold"]) == (
        "configuration",
        5.0,
    )
    (told,) = [event for event in events if event["event"] == "site_threshold_not_used"]
    assert "configuration" in told["reason"]
    assert "[decision] sets the threshold" in command(site, "--alarms-per-day", OFTEN).stderr


def test_another_model_does_not_use_it(site: Path, tiny_model: Any) -> None:
    """With another fingerprint the model's own threshold judges; log, event and check say why."""
    learn(site)
    tiny_model(threshold=0.001, model_fingerprint="e" * 64)
    events, log = run(site)
    assert events[0]["thresholds"]["pump7"]["origin"] == "model"
    (told,) = [event for event in events if event["event"] == "site_threshold_not_used"]
    assert told["source"] == "pump7"
    assert "ffffffffffff" in told["reason"] and "eeeeeeeeeeee" in told["reason"]
    assert "WARNING" in log and "calibrated on site is not used" in log
    assert [event for event in events if event["event"] == "alarm_raised"]
    assert "warning  pump7, threshold: the one calibrated on site is not used" in check(site)


def test_another_source_does_not_use_it(site: Path) -> None:
    """A source of another name has no calibration, not even with a copy of the file under its own name."""
    learn(site)
    configure(site, name="pump8")
    assert run(site)[0][0]["thresholds"]["pump8"]["origin"] == "model"
    file_of(site / "state", "pump8").write_bytes(file_of(site / "state", "pump7").read_bytes())
    events, _ = run(site)
    assert events[0]["thresholds"]["pump8"]["origin"] == "model"
    (told,) = [event for event in events if event["event"] == "site_threshold_not_used"]
    assert "'pump7', not of 'pump8'" in told["reason"]


def test_a_decision_chain_that_changed_voids_the_rate(site: Path) -> None:
    """With another k the site's threshold still judges, but no rate is claimed."""
    learn(site)
    configure(site, "[decision]\nk = 1\n")
    chosen = run(site)[0][0]["thresholds"]["pump7"]
    assert (chosen["origin"], chosen["false_alarms_per_day"]) == ("site", None)
    assert "no longer holds" in chosen["why"]


def test_restore_swaps_exactly(site: Path) -> None:
    """The former threshold comes back and the newer one goes; again, and it is as before. The first former is none."""
    first = learn(site, "--minutes", "0.1")
    done = command(site, "--restore")
    assert done.exit_code == 0
    assert "in force again: the model's own threshold" in done.stdout
    assert f"put back: threshold {first.calibration.threshold:.5g}" in done.stdout
    assert run(site)[0][0]["thresholds"]["pump7"]["origin"] == "model"
    command(site, "--restore")
    second = learn(site, "--minutes", "0.05")
    assert second != first
    text = file_of(site / "state", "pump7").read_text()
    assert command(site, "--restore").exit_code == 0
    noted = read_site_file(site / "state", "pump7")
    assert noted is not None and (noted.current, noted.former) == (first, second)
    command(site, "--restore")
    assert file_of(site / "state", "pump7").read_text() == text


def test_restore_without_a_calibration_is_refused(site: Path) -> None:
    """Where nothing was calibrated there is nothing to bring back: exit code 65 and the next step."""
    done = command(site, "--restore")
    assert done.exit_code == 65
    assert "never calibrated" in done.stderr


def test_a_threshold_far_above_training_waits_for_a_word(site: Path, tiny_model: Any) -> None:
    """What scores four times as in training may be broken: it is kept and not in force, until --restore says it is."""
    usual = learn(site).calibration.usual_score
    command(site, "--reset")
    calibration = replace(tiny_model.metadata().calibration, threshold=0.001, usual_score=usual / 4)
    tiny_model(calibration=calibration)
    done = command(site, "--alarms-per-day", OFTEN)
    assert done.exit_code == 1
    assert "NOT in force" in done.stdout and "Was the machine healthy" in done.stdout and "4 times" in done.stderr
    assert run(site)[0][0]["thresholds"]["pump7"]["origin"] == "model"
    assert command(site, "--restore").exit_code == 0
    assert run(site)[0][0]["thresholds"]["pump7"]["origin"] == "site"


def test_reset_goes_back_to_the_models_own_threshold(site: Path) -> None:
    """Also after two calibrations, where --restore only swaps them; the newer one can be brought back."""
    learn(site, "--minutes", "0.1")
    second = learn(site, "--minutes", "0.05")
    assert "in force again: the model's own threshold" in command(site, "--reset").stdout
    assert run(site)[0][0]["thresholds"]["pump7"]["origin"] == "model"
    command(site, "--restore")
    noted = read_site_file(site / "state", "pump7")
    assert noted is not None and noted.current == second


def test_a_file_damaged_anywhere_is_never_used(site: Path) -> None:
    """Cut at any length, or with a threshold that cannot be: the model's own judges, and the fault is named."""
    learn(site)
    metadata = Scorer(site / "model.onnx", provider="cpu").metadata
    path = file_of(site / "state", "pump7")
    whole = path.read_bytes()

    def chosen() -> Any:
        return threshold_in_force(site / "state", "pump7", metadata, metadata.decision, None)

    assert chosen().origin == "site"
    spoiled = json.loads(whole)
    spoiled["current"]["calibration"]["threshold"] = -1.0
    later = json.loads(whole) | {"schema_version": "2.0"}
    cut = [whole[:length] for length in range(len(whole) - 2)]
    for content in [*cut, json.dumps(spoiled).encode(), json.dumps(later).encode(), b"\xff\xfe"]:
        path.write_bytes(content)
        found = chosen()
        assert (found.origin, found.value) == ("model", 0.001), content[-30:]
        assert found.site_not_used is not None and str(path) in found.site_not_used


def test_a_damaged_file_does_not_stop_the_monitor_nor_a_new_calibration(site: Path) -> None:
    """run says it and judges by the model's own threshold; calibrate keeps the damaged file beside the new one."""
    learn(site)
    path = file_of(site / "state", "pump7")
    path.write_text("{")
    events, log = run(site)
    assert events[0]["thresholds"]["pump7"]["origin"] == "model"
    assert "damaged" in log
    assert command(site, "--restore").exit_code == 65
    learn(site)
    assert path.with_name(path.name + ".damaged").read_text() == "{"
    assert run(site)[0][0]["thresholds"]["pump7"]["origin"] == "site"


def test_names_cannot_leave_the_directory(tmp_path: Path) -> None:
    """Whatever a source is called, its file lies in the calibration folder, one a name."""
    names = ["pump 7", "../x", "a/b", "a%2Fb", "pümpe", ".", "CON:1"]
    files = {file_of(tmp_path, name) for name in names}
    assert len(files) == len(names)
    assert {path.resolve().parent for path in files} == {tmp_path / "calibration"}


def test_sighup_takes_a_new_site_threshold_without_a_gap(site: Path) -> None:
    """The alarm of the model's threshold closes, the site's rules from then on, and not one window is missing."""
    learn(site)
    restore(site / "state", "pump7")
    soundfile.write(site / "a.wav", noise(60), RATE_HZ, subtype="FLOAT")
    source = 'kind = "file"\npath = "a.wav"\npace = "real-time"'
    child = MonitorChild(configure(site, "[events]\nscores = true\n", source=source))
    try:
        child.wait_for("alarm_raised")
        restore(site / "state", "pump7")
        child.reload()
        reloaded = child.wait_for("reloaded")
        assert reloaded["kept"] == ["pump7"]
        assert reloaded["thresholds"]["pump7"]["origin"] == "site"
        child.wait_for("alarm_open")
        child.wait_for("score", count=len(child.of_kind("score")) + 20)
        restore(site / "state", "pump7")
        child.reload()
        assert child.wait_for("reloaded", count=2)["thresholds"]["pump7"]["origin"] == "model"
        child.wait_for("alarm_raised", count=2)
        assert child.stop() == 0
    finally:
        child.kill()
    starts = [event["start_seconds"] for event in child.of_kind("score")]
    np.testing.assert_allclose(np.diff(starts), 0.05, atol=1e-6)
    (summary,) = child.of_kind("summary")
    assert summary["gaps"] == 0
