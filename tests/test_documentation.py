"""The documentation's links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "firmware_configs/README.md", *ROOT.glob("docs/*.md")]


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
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


def test_every_test_that_is_named_exists() -> None:
    """The table of faults names test files and functions, and each is there."""
    text = (ROOT / "docs" / "operating.md").read_text().split("## What goes wrong")[1].split("\n## ")[0]
    named = re.findall(r"(?:(\w+): )?`(test_\w+)`", text)
    file = ""
    lost = []
    for found, function in named:
        file = found or file
        path = ROOT / "tests" / "runtime" / f"test_{file}.py"
        if not path.exists() or f"def {function}(" not in path.read_text():
            lost.append(f"{file}: {function}")
    assert len(named) > 30 and lost == []
