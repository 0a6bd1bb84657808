"""docs/monitor.md against the programs: keys and their defaults, events, metrics; and exit codes of the README."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from dasvdd_runtime import errors
from dasvdd_runtime.cli import common
from dasvdd_runtime.condition.health import State
from dasvdd_runtime.configuration import config
from dasvdd_runtime.configuration.broker import BrokerTable
from dasvdd_runtime.configuration.strict_config import StrictModel
from dasvdd_runtime.endpoint.tables import HttpTable
from dasvdd_runtime.evidence.tables import EvidenceTable
from dasvdd_runtime.sinks.tables import EmailTable, MqttTable, OutboxTable, SparkplugTable, WebhookTable
from dasvdd_runtime.sources.base_tables import RunningTable
from dasvdd_runtime.sources.row_tables import RegisterTable
from dasvdd_runtime.sources.tables import KINDS
from monitor_child import MonitorChild
from mosquitto_broker import Broker, free_port
from pydantic.fields import FieldInfo
from scraping import fetch, wait_until

ROOT = Path(__file__).parents[2]
MONITOR, OPERATING, INTEGRATING, README = (
    (ROOT / name).read_text() for name in ("docs/monitor.md", "docs/operating.md", "docs/integrating.md", "README.md")
)
TABLES: dict[str, tuple[str, type[StrictModel]]] = {
    "### `[model]`": (MONITOR, config.ModelTable),
    "### `[source.running]`": (MONITOR, RunningTable),
    "### `[decision]`": (MONITOR, config.DecisionTable),
    "### `[events]`": (MONITOR, config.EventsTable),
    "### `[alarm]`": (MONITOR, config.AlarmTable),
    "### `[state]`": (MONITOR, config.StateTable),
    "### `[evidence]`": (MONITOR, EvidenceTable),
    "`[outbox]`, optional": (MONITOR, OutboxTable),
    "`[mqtt]`:": (MONITOR, MqttTable),
    "`[webhook]`,": (MONITOR, WebhookTable),
    "`[email]`,": (MONITOR, EmailTable),
    "## The page, metrics and probes": (MONITOR, HttpTable),
    "**Modbus (`modbus`)**": (OPERATING, RegisterTable),
}
"""By what stands above a table of keys: the page, and the table of monitor.toml that it is about."""


def rows_below(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below the line that begins with `heading`, without the table's own heading."""
    _, _, below = page.partition(f"\n{heading}")
    table = re.search(r"(?m)^\| .*\n\| ---.*\n((?:\|.*\n)+)", below)
    assert table is not None, heading
    return [
        [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split(" | ")]
        for line in table[1].splitlines()
    ]


def names_in(cell: str) -> list[str]:
    """What stands in back quotes."""
    return re.findall(r"`([^`]+)`", cell)


def is_default(field: FieldInfo, told: str) -> bool:
    """`told` is the default of a key, as JSON writes it; words will do where it depends on something, or is nothing."""
    if field.is_required():
        return told == "required"
    try:
        value = json.loads(re.sub(r"(?<=\d) (?=\d{3})", "", told.strip("`")))
    except json.JSONDecodeError:
        value = None
    default = field.get_default(call_default_factory=True)
    if default in (None, "", [], Path()) or isinstance(default, StrictModel):
        return told != "required" and value is None
    return bool(value == default) and isinstance(value, bool) == isinstance(default, bool)


def faults(table: type[StrictModel], told: dict[str, str]) -> list[str]:
    """Keys that are documented and not there, or there and not documented, or with another default."""
    fields = {field.alias or name: field for name, field in table.model_fields.items()}
    others = [key for key in told if key in fields and not is_default(fields[key], told[key])]
    return sorted({*told} ^ {*fields}) + [f"{key}: {told[key]}, truly {fields[key].default}" for key in others]


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_is_documented_with_its_default(heading: str) -> None:
    """A table of keys has each that the program knows, no other, and the true defaults."""
    page, table = TABLES[heading]
    told = {key: default for keys, default, *_ in rows_below(page, heading) for key in names_in(keys)}
    assert faults(table, told) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_a_source_is_documented_with_its_default(kind: str) -> None:
    """As above, for each kind of source; of keys "as in" another table the defaults stand there."""
    told = {"running": "none"}  # a table of its own
    for keys, kinds, default, _ in rows_below(MONITOR, "### `[[source]]`"):
        if kinds == "all" or kind in kinds.split(", "):
            told |= dict.fromkeys(names_in(keys), default)
    shared = {key for key, default in told.items() if default.startswith("as in [`[mqtt]`]")}
    assert shared <= {*BrokerTable.model_fields}
    assert [fault for fault in faults(KINDS[kind], told) if fault.split(":")[0] not in shared] == []


def test_the_readme_lists_every_kind_of_source() -> None:
    """In the example of a monitor.toml, in the order of the program."""
    assert f"# {' | '.join(KINDS)}\n" in README


def test_a_wrong_default_is_found() -> None:
    """The comparison above can fail: on a key too many, one too few, and a default that is not."""
    told = {"path": "required", "max_bytes": "10 000 000", "keep": "6", "score": "false"}
    found = faults(config.EventsTable, told)
    assert [fault.split(":")[0] for fault in found] == ["score", "scores", "path", "keep"]


def test_every_table_is_documented() -> None:
    """Each of monitor.toml is in docs/monitor.md and, but for sources, in TABLES; so are the keys of `sparkplug`."""
    types = {name: str(field.annotation) for name, field in config.MonitorConfig.model_fields.items()}
    known = [table.__name__ for _, table in TABLES.values()]
    assert [name for name, type in types.items() if not any(table in type for table in known)] == ["source"]
    assert [name for name in config.MonitorConfig.model_fields if f"[{name}]" not in MONITOR] == []
    assert all(f"{key} = " in MONITOR for key in SparkplugTable.model_fields)


def test_every_state_and_alert_says_what_to_do() -> None:
    """Each state of a source has a row that says what to do, but OK; so has each alert that is shipped."""
    states = {row[0]: row[3] for row in rows_below(OPERATING, "## States of a source")}
    assert {*states} == {*State}
    assert [state for state, advice in states.items() if not advice] == ["OK"]
    rules = (ROOT / "firmware_configs" / "prometheus" / "dasvdd.rules.yml").read_text()
    alerts = {names_in(row[0])[0]: row[4] for row in rows_below(INTEGRATING, "## Prometheus")}
    assert [*alerts] == re.findall(r"- alert: (\w+)", rules)
    assert all(alerts.values())


def test_every_exit_code_is_documented() -> None:
    """The README's table has each exit code of the programs, and no other."""
    told = {int(code) for row in rows_below(README, "### Exit codes") for code in row[0].split(", ")}
    constants = {**vars(errors), **vars(common)}
    assert told == {code for name, code in constants.items() if name.startswith("EXIT_")}


def events_in_the_code() -> dict[str, set[str]]:
    """Fields that are written of each kind of event, where a dictionary in the code begins with "event"."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "runtime" / "dasvdd_runtime").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Dict):
                keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
                kind = node.values[0] if keys[:1] == ["event"] else None
                if isinstance(kind, ast.Constant):
                    found.setdefault(str(kind.value), set()).update(map(str, keys[1:]))
    return found


def test_every_event_is_documented_with_its_fields() -> None:
    """The table of events has each kind that the code writes, no other, and names the fields of each."""
    told = {kind: names_in(fields) for [kind], fields in ((names_in(r[0]), r[1]) for r in rows_below(MONITOR, "## Ev"))}
    written = events_in_the_code()
    del written["calibrating"]  # of `dasvdd-monitor calibrate`, whose events nobody is given
    assert sorted(told) == sorted(written)
    shared = {"id", "source"}
    assert {kind: missing for kind in told if (missing := written[kind] - {*told[kind]} - shared)} == {}


def test_every_metric_is_documented_with_its_labels(tiny_model: Any, tmp_path: Path, broker: Broker) -> None:
    """The tables of metrics name each that a real monitor with every receiver gives, no other, and its labels."""
    tiny_model(threshold=1.0)
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 16000 * 20), 16000)
    port = free_port()
    (tmp_path / "monitor.toml").write_text(
        '[model]\npath = "model.onnx"\n[[source]]\nname = "pump"\nkind = "file"\npath = "a.wav"\npace = "real-time"\n'
        f'[http]\nlisten = "127.0.0.1:{port}"\n[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n'
        "home_assistant = true\n"
    )
    child = MonitorChild(tmp_path / "monitor.toml")
    try:
        child.wait_for("source_state")
        wait_until(lambda: "dasvdd_score{" in fetch(port, "/metrics")[1])
        given = fetch(port, "/metrics")[1]
    finally:
        child.kill()
    labels: dict[str, set[str]] = {name: set() for name in re.findall(r"(?m)^# TYPE (dasvdd_\w+)", given)}
    for name, of_sample in re.findall(r"(?m)^(dasvdd_\w+?)(?:_bucket|_sum|_count)?\{(.*)\}", given):
        labels[name] |= {*re.findall(r'(\w+)="', of_sample)} - {"le"}
    told = {}
    for heading, shared in (("| metric, each", {"source"}), ("| metric of the whole", set[str]())):
        for cells in rows_below(MONITOR.replace(f"\n{heading}", f"\n\n.\n{heading}"), ".\n"):
            for name, of_it in re.findall(r"`(dasvdd_\w+)(?:\{([\w,]+)\})?`", cells[0]):
                told[name] = {*filter(None, of_it.split(","))} | shared
    # After an hour of a device, a day of running, and while mails are held.
    unknown = {"dasvdd_clock_drift_ppm", "dasvdd_drifting", "dasvdd_outbox_held_until_timestamp_seconds"}
    assert {name: told[name] for name in told if name not in unknown} == {
        name: of_it for name, of_it in labels.items() if name not in unknown
    }
    assert unknown <= {*told} & {*labels}
