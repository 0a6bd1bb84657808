"""Draw docs/page.png: the monitor's page during an alarm, in a real Chromium.  python scripts/page_picture.py"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests" / "data"))

import page_scenes as scenes  # noqa: E402  # it is beside the tests
from chromium import Chromium  # noqa: E402
from evidence_scenes import keep_clip  # noqa: E402


def main() -> None:
    """Write the picture."""
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("there is no chromium: sudo apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        clips = Path(folder) / "clips"
        heard = keep_clip(clips, "audio", "pump7")
        alarms = [scenes.alarm("pump7", ago_seconds=180, id=heard), scenes.alarm("gearbox 2", ago_seconds=500)]
        served = scenes.served(scenes.an_alarm, Path(folder), alarms=alarms, evidence=clips)
        with served as scene, Chromium(program) as browser:
            browser.show(scene.url, width=1280)
            browser.wait_for("document.querySelector('.card canvas')?.getAttribute('aria-label')")
            browser.evaluate("document.querySelector('.evidence details').open = true")
            browser.wait_for("document.querySelector('audio')?.readyState > 0")
            time.sleep(1)
            browser.picture(ROOT / "docs" / "page.png")


if __name__ == "__main__":
    main()
