"""The alert rules and the dashboard that are shipped, against Prometheus' own tools and what a monitor really emits."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from monitor_child import MonitorChild
from mosquitto_broker import free_port
from scraping import fetch, wait_until

FOLDER = Path(__file__).parents[2] / "firmware_configs"
RULES = FOLDER / "prometheus" / "dasvdd.rules.yml"
DASHBOARD = FOLDER / "grafana" / "dasvdd.json"
RATE_HZ = 16000
Emitted = dict[str, set[str]]
"""Metrics by name, each with its labels."""


def emitted(text: str) -> Emitted:
    """Every metric that `text`, an exposition, declares, with the labels of its samples."""
    found: Emitted = {}
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        parts = [f"{name}_{part}" for part in ("bucket", "sum", "count")] if kind == "histogram" else [name]
        found |= {part: set() for part in parts}
    for name, labels in re.findall(r"^(\w+)\{(.*)\} ", text, re.MULTILINE):
        found[name] |= set(re.findall(r"(\w+)=\"", labels))
    return found


def unknown(queries: list[str], known: Emitted) -> list[str]:
    """The metrics in `queries` that are not `known`, and the labels that a metric does not have."""
    faults = []
    for query in queries:
        for name, labels in re.findall(r"\b((?:dasvdd|process|up)(?:_\w+)?)\b(?:\{([^}]*)\})?", query):
            if name not in known and name != "up":
                faults.append(name)
            used = set(re.findall(r"(\w+)\s*[=!]~?", labels)) - {"job", "instance"}
            if known.get(name):
                faults += [f"{name}{{{label}}}" for label in sorted(used - known[name])]
    return faults


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def dashboard_queries() -> list[str]:
    """The queries of the dashboard, with its variables filled in as Grafana does."""
    texts = [target["expr"] for panel in panels() for target in panel["targets"]]
    variables = {"$instance": ".*", "$source": ".*", "$__rate_interval": "1m"}
    return [re.sub(r"\$\w+", lambda found: variables[found[0]], text) for text in texts]


def rules_text() -> str:
    """The rules without their comments and texts for people."""
    lines = RULES.read_text().splitlines()
    return "\n".join(line for line in lines if not re.match(r"\s*(#|summary:|description:|- name:|- alert:)", line))


@pytest.fixture
def monitor(tiny_model: Any, tmp_path: Path) -> Iterator[tuple[MonitorChild, int]]:
    """A monitor in alarm, with an outbox that nobody empties, and the port of its metrics."""
    tiny_model(threshold=0.02)
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, 120 * RATE_HZ).astype(np.float32)
    samples[RATE_HZ:] *= 8
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ)
    port = free_port()
    (tmp_path / "monitor.toml").write_text(
        '[model]\npath = "model.onnx"\n'
        '[[source]]\nname = "pump"\nkind = "file"\npath = "a.wav"\npace = "real-time"\n'
        f'[http]\nlisten = "127.0.0.1:{port}"\n[webhook]\nurl = "http://127.0.0.1:{free_port()}/x"\n'
    )
    child = MonitorChild(tmp_path / "monitor.toml")
    child.wait_for("alarm_raised")
    yield child, port
    child.kill()


def run(*words: str | Path) -> str:
    """Standard output of a program that must succeed."""
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_configuration_and_rules(require_program: Callable[[str], str]) -> None:
    """`promtool` finds no fault in the scrape example and the rules, and every rule alerts when its test says so."""
    promtool = require_program("promtool")
    run(promtool, "check", "config", FOLDER / "prometheus" / "prometheus.yml")
    run(promtool, "check", "rules", RULES)
    run(promtool, "test", "rules", FOLDER / "prometheus" / "dasvdd.rules.test.yml")
    alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    tested = set(re.findall(r"alertname: (\w+)", (FOLDER / "prometheus" / "dasvdd.rules.test.yml").read_text()))
    assert alerts == tested


def test_every_metric_in_rules_and_dashboard_is_one_that_a_monitor_emits(monitor: tuple[MonitorChild, int]) -> None:
    """Names and labels are those of a real monitor's /metrics; a metric or a label that it does not have is found."""
    known = emitted(fetch(monitor[1], "/metrics")[1])
    queries = [rules_text(), *dashboard_queries()]
    assert unknown(queries, known) == []
    assert unknown(['dasvdd_scores{source="pump"} > dasvdd_alarm_open{sorce="pump"}'], known) == [
        "dasvdd_scores",
        "dasvdd_alarm_open{sorce}",
    ]


def test_dashboard_panels_have_places_ids_and_queries_of_their_own() -> None:
    """No two panels overlap or share an id, none leaves the 24 columns, and all use the data source that is chosen."""
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not taken & cells and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
    assert len({panel["id"] for panel in panels()}) == len(panels())


@pytest.mark.slow
def test_a_real_prometheus_raises_the_alarm_and_answers_the_dashboard(
    monitor: tuple[MonitorChild, int], tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    """With the shipped configuration (faster, on our ports) the alert fires, no rule fails, each query is answered."""
    web = free_port()
    example = (FOLDER / "prometheus" / "prometheus.yml").read_text()
    assert "127.0.0.1:9464" in example and "15s" in example
    (tmp_path / "prometheus.yml").write_text(
        example.replace("127.0.0.1:9464", f"127.0.0.1:{monitor[1]}").replace("15s", "1s")
    )
    (tmp_path / RULES.name).write_text(RULES.read_text())
    command = [require_program("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{web}"], stdout=log, stderr=log, cwd=tmp_path
        )

    def answer(path: str) -> Any:
        try:
            status, body = fetch(web, f"/api/v1/{path}")
        except OSError:
            return None
        assert status in (200, 503), body
        return json.loads(body)["data"] if status == 200 else None

    def firing() -> Any:
        alerts = (answer("alerts") or {"alerts": []})["alerts"]
        return [a for a in alerts if a["labels"]["alertname"] == "DasvddAlarm" and a["state"] == "firing"]

    try:
        (alert,) = wait_until(firing, seconds=40)
        assert alert["labels"]["source"] == "pump" and alert["annotations"]["summary"] == "pump sounds different"
        rules = [rule for group in answer("rules")["groups"] for rule in group["rules"]]
        wait_until(lambda: all(r["health"] == "ok" for g in answer("rules")["groups"] for r in g["rules"]))
        assert len(rules) == RULES.read_text().count("- alert:")
        for query in dashboard_queries():
            path = f"query?query={urllib.parse.quote(query)}"
            answers = answer(path)["result"]
            assert answers or wait_until(lambda path=path: answer(path)["result"]), query  # type: ignore[misc]
    finally:
        process.kill()
        process.wait()
