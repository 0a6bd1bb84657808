"""The documentation's links, commands, settings, configurations and paths: what can be typed or opened is there."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import tomli_w
from dasvdd_runtime.configuration.config import load_config
from dasvdd_runtime.errors import ConfigError
from dasvdd_train.config import TrainConfig
from documented import FENCE, SPAN, blocks, command_lines, complaint, options, spans

ROOT = Path(__file__).parents[1]
GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "firmware_configs/README.md", *ROOT.glob("docs/*.md")]
PAGES = [*GUIDES, ROOT / "CHANGELOG.md", *ROOT.glob("firmware_configs/devices/*/INSTALL.md")]
FOLDERS = ("docs", "scripts", "benchmarks", "tests", "firmware_configs", "runtime", "train", "export")
ELSEWHERE = {"docker", "pip", "apt-get", "curl", "paplay", "tensorboard", "promtool", "mosquitto_sub", "mosquitto_pub"}
"""Programs of others, whose options are theirs."""

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pages
def test_every_link_leads_somewhere(page: Path) -> None:
    """Each link to a file of the project, and to a heading in one, finds it."""
    lost = []
    for target, heading in re.findall(r"\]\(([^)#\s]*)(?:#([^)]+))?\)", page.read_text()):
        if target.startswith("http"):
            continue
        file = (page.parent / target).resolve() if target else page
        headings = re.findall(r"(?m)^#+ (.*)$", file.read_text()) if file.suffix == ".md" and file.exists() else []
        if not file.exists() or (heading and heading not in map(anchor, headings)):
            lost.append(f"{target}#{heading}")
    assert lost == []


@pages
def test_every_command_is_one_that_its_program_takes(page: Path) -> None:
    """Each command and option of a dasvdd program is there, with a value of its type and what it requires."""
    assert [fault for fault in map(complaint, command_lines(page.read_text())) if fault] == []


def test_the_commands_of_shipped_files_are_there() -> None:
    """A command named in a configuration, a unit, a rule or a dashboard is known, with its options."""
    faults = []
    for path in ROOT.glob("firmware_configs/**/*"):
        if path.suffix in (".toml", ".service", ".conf", ".yml", ".rules"):
            named = r"dasvdd-monitor (?!says)[a-z-]+(?: --[a-z-]+)?"
            faults += [complaint(line) for line in re.findall(named, path.read_text())]
    assert len(faults) > 10
    assert set(faults) == {""}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("dasvdd-train DATA --outt runs/pump7", "No such option"),
        ("dasvdd-train DATA --epochs --out runs/pump7", "takes no further"),
        ("dasvdd-train DATA --holdout tails", "'tails' is not one of"),
        ("sudo /opt/dasvdd/bin/dasvdd-monitor chekc monitor.toml", "no such command"),
        ("dasvdd-monitor init -x --device NAME", "No such option"),
        ("dasvdd-monitor run monitor.toml another.toml", "another.toml"),
        ("dasvdd-sign sign model.onnx --key K.pem --count 3", "No such option"),
    ],
)
def test_a_command_that_is_wrong_is_noticed(line: str, words: str) -> None:
    """A misspelt option, command or value, a missing value and a superfluous argument are faults."""
    assert words in complaint(line)


@pages
def test_every_option_exists(page: Path) -> None:
    """An option named by itself is of one of the programs, or of the script or benchmark of the same span."""
    scripts = "".join(path.read_text() for folder in ("scripts", "benchmarks") for path in (ROOT / folder).glob("*.py"))
    known, lost = options(), []
    text = page.read_text()
    scripted = [line for body in blocks(text, "sh", "") for line in body.splitlines() if line.startswith("python ")]
    for span in spans(text) + scripted:
        if set(span.split()) & ELSEWHERE:
            continue
        for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", span):
            if option not in known and f'"{option}"' not in scripts:
                lost.append(span)
    assert lost == []


@pages
def test_every_target_of_make_exists(page: Path) -> None:
    """`make demo` and its like are in the Makefile."""
    text = page.read_text()
    lines = [*spans(text), *(line for body in blocks(text, "sh", "") for line in body.splitlines())]
    targets = {line.split()[1] for line in lines if re.match(r"make [a-z]", line)}
    assert targets <= set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text()))


def test_every_setting_of_the_training_has_its_row() -> None:
    """The table of docs/training.md has each key of the configuration, and no other."""
    rows = re.findall(r"(?m)^\| `([a-z_]+\.[a-z_0-9]+)` \|", (ROOT / "docs/training.md").read_text())
    assert sorted(rows) == sorted(TrainConfig().flat())


@pages
def test_every_setting_exists(page: Path) -> None:
    """What stands in backticks as section.key, or after --set, is a setting of the training."""
    sections = "|".join(TrainConfig.model_fields)
    named = re.findall(rf"(?:`|dasvdd-train[^`\n]*--set '?)((?:{sections})\.[a-z_]+)(?:`| ?=)", page.read_text())
    files = (".html", ".conf", ".toml")
    assert [name for name in named if name not in TrainConfig().flat() and not name.endswith(files)] == []


def configurations() -> list[tuple[str, str]]:
    """Page and text of each TOML block."""
    return [(page.name, body) for page in GUIDES for body in blocks(page.read_text(), "toml") if "[project" not in body]


def load(folder: Path, body: str) -> None:
    """Load a monitor.toml of which the block may be a part, as the monitor does."""
    tables = {"model": {"path": "model.onnx"}, "source": [{"name": "pump7", "kind": "microphone"}]} | tomllib.loads(
        body
    )
    (folder / "monitor.toml").write_bytes(tomli_w.dumps(tables).encode())
    load_config(folder / "monitor.toml")


@pytest.mark.parametrize(("page", "body"), configurations(), ids=lambda value: value[:12])
def test_every_configuration_is_one_that_the_monitor_reads(page: str, body: str, tmp_path: Path) -> None:
    """Each TOML block, completed by a model and a source where it shows a part, is taken by the monitor's reader."""
    load(tmp_path, body)


def test_a_configuration_that_is_wrong_is_noticed(tmp_path: Path) -> None:
    """A misspelt key in a block is a fault."""
    with pytest.raises(ConfigError, match="listn"):
        load(tmp_path, '[http]\nlistn = "127.0.0.1:9464"')


def test_every_json_example_is_json() -> None:
    """Each object in backticks parses, once ID and NAME are filled in."""
    found = [span for page in GUIDES for span in spans(page.read_text()) if span.startswith('{"')]
    assert len(found) >= 5
    for example in found:
        json.loads(re.sub(r"(?<!\")\b[A-Z]+\b(?!\")", '"x"', example))


@pages
def test_every_path_of_the_project_exists(page: Path) -> None:
    """A path that begins with one of the project's folders is there; NAME stands for any name."""
    text = page.read_text()
    code = " ".join([*SPAN.findall(FENCE.sub("", text)), *(body for _, body in FENCE.findall(text))])
    named = re.findall(rf"(?<![\w./-])((?:{'|'.join(FOLDERS)})/[\w./-]*)", code)
    lost = [path for path in named if not list(ROOT.glob(re.sub(r"\b[A-Z]+\b", "*", path).rstrip("/.")))]
    assert lost == []


def test_every_test_that_is_named_exists() -> None:
    """The table of faults names test files and functions, and each is there."""
    text = (ROOT / "docs" / "operating.md").read_text().split("## Faults, reactions")[1].split("\n## ")[0]
    named = re.findall(r"(?:(\w+): )?`(test_\w+)`", text)
    file = ""
    lost = []
    for found, function in named:
        file = found or file
        path = ROOT / "tests" / "runtime" / f"test_{file}.py"
        if not path.exists() or f"def {function}(" not in path.read_text():
            lost.append(f"{file}: {function}")
    assert len(named) > 30 and lost == []


def test_every_test_that_contributing_names_exists() -> None:
    """What is said to fail when a step is forgotten is a test."""
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "CONTRIBUTING.md").read_text()))
    code = "".join(path.read_text() for path in ROOT.glob("tests/**/test_*.py"))
    assert len(named) > 8 and [name for name in sorted(named) if f"def {name}(" not in code] == []
