"""Everything that pip installs on a device, in one folder: for installations without a network.

    python scripts/wheelhouse.py --device raspberry-pi-5 --extra mqtt --out wheels

Runs in a checkout on a machine with a network, of any architecture, in the virtual environment of `make setup`.
On the device:
    python3 -m pip install --no-index --find-links wheels 'dasvdd[cpu,mqtt]'
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

from dasvdd_runtime.devices.profile import DeviceProfile, load_profile, profile_names
from dasvdd_runtime.errors import EXIT_OK, DasvddError, InputMissing, Unavailable
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).parents[1]
OLDEST_GLIBC_MINOR = 17
"""No wheel of today is built for an older one."""


def main() -> int:
    """Make the wheelhouse and return the exit code."""
    parser = argparse.ArgumentParser(description="Collect the wheels of an installation without a network.")
    parser.add_argument("--device", required=True, choices=profile_names(), help="which profile")
    parser.add_argument("--out", required=True, type=Path, help="folder for the wheels")
    parser.add_argument("--extra", action="append", default=[], help="mqtt, serial, modbus, opcua, metrics, sign")
    parser.add_argument("--provider", choices=["cpu", "cuda"], help="default: the profile's")
    parser.add_argument("--python", action="append", help="such as 3.11; default: all that the device's systems bring")
    parser.add_argument("--wheel", action="append", default=[], type=Path, help="a wheel of your own")
    options = parser.parse_args()
    profile = load_profile(options.device)
    if options.provider == "cpu":
        profile = profile.on_the_cpu()
    try:
        if options.provider not in (None, profile.provider):
            raise Unavailable(f"--provider cuda: the profile {options.device} has no CUDA")
        extras = ",".join(dict.fromkeys([*profile.requirement_extras, *options.extra]))
        make(profile, options.out, extras, pythons=options.python or profile.pythons, own=options.wheel)
    except DasvddError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(
        f"on the device: INSTALL.md of `dasvdd-monitor init` says how to install it; in a virtual environment of your "
        f"own: pip install --no-index --find-links {options.out.name} 'dasvdd[{extras}]'"
    )
    return EXIT_OK


def make(profile: DeviceProfile, out: Path, extras: str, *, pythons: list[str], own: list[Path]) -> None:
    """Fill `out` with the wheels of dasvdd[`extras`] for each of `pythons`; those of `own` come first.

    Raises InputMissing for a wheel of `own` that is not there, Unavailable where a package has no wheel for the device.
    """
    for wheel in own:
        if not wheel.is_file():
            raise InputMissing(f"there is no wheel at {wheel}")
    given = {canonicalize_name(parse_wheel_filename(wheel.name)[0]) for wheel in own}
    if profile.onnxruntime_from and profile.onnxruntime not in given:
        raise Unavailable(f"{profile.onnxruntime}: give the file of its wheel with --wheel. {profile.onnxruntime_from}")
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise Unavailable(f"{out} is not empty, and older wheels in it could be installed: name a new folder")
    project = build(out)
    wanted = [f"{project}[{extras}]", *(str(shutil.copy2(wheel, out)) for wheel in own)]
    for python in pythons:
        download(profile, out, wanted, python=python)
        # pip judges markers for the Python that runs it, not for that of the device.
        while absent := missing(out, extras, profile, python=python):
            download(profile, out, [*wanted, *absent], python=python)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in sorted(out.glob("*.whl"))]
    (out / "SHA256SUMS").write_text("\n".join(lines) + "\n")
    megabytes = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    print(f"{out}: {len(lines)} wheels, {megabytes:.0f} MB, Python {' and '.join(pythons)}, {profile.architecture}")


def build(out: Path) -> Path:
    """The wheel of the checkout, in `out`. Raises DasvddError where it cannot be built."""
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(ROOT)]
    if subprocess.run([sys.executable, "-m", "pip", *words], check=False).returncode:
        raise DasvddError("the project's own wheel could not be built: see above. `make setup` installs what it needs.")
    (built,) = out.glob("dasvdd-*.whl")
    return built


def download(profile: DeviceProfile, out: Path, wanted: list[str], *, python: str) -> None:
    """The wheels of `wanted` and of what they need, into `out`. Raises Unavailable where there is none."""
    target = [word for platform in platforms(profile) for word in ("--platform", platform)]
    words = ["download", "--quiet", "--dest", str(out), "--only-binary=:all:", "--implementation", "cp"]
    words += ["--python-version", python, *target, "--constraint", str(ROOT / "constraints.txt")]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words, *wanted], stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        faults = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise Unavailable(
            f"not every package has a wheel for {profile.architecture}, glibc {profile.glibc} and Python {python}:\n  "
            + "\n  ".join(faults or [done.stderr.strip()])
            + "\nBuild that wheel on such a device (pip wheel NAME), and give its file with --wheel."
        )


def platforms(profile: DeviceProfile) -> list[str]:
    """The platform tags of wheels that the device runs, the newest first."""
    minors = range(int(profile.glibc.removeprefix("2.")), OLDEST_GLIBC_MINOR - 1, -1)
    bases = [*(f"manylinux_2_{minor}" for minor in minors), "manylinux2014", "linux"]
    return [f"{base}_{profile.architecture}" for base in bases]


def missing(folder: Path, extras: str, profile: DeviceProfile, *, python: str) -> list[str]:
    """The requirements of dasvdd[`extras`] on the device that no wheel in `folder` meets."""
    environment = {name: str(value) for name, value in default_environment().items()}
    environment |= {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": profile.architecture,
        "platform_system": "Linux",
        "sys_platform": "linux",
    }
    wheels = {str(parse_wheel_filename(path.name)[0]): path for path in folder.glob("*.whl")}
    absent: list[str] = []
    seen: set[str] = set()
    waiting = [Requirement(f"dasvdd[{extras}]")]
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        name = canonicalize_name(requirement.name)
        if name in wheels:
            waiting.extend(needed(wheels[name], requirement.extras, environment))
        else:
            requirement.marker = None
            absent.append(str(requirement))
    return absent


def needed(wheel: Path, extras: set[str], environment: dict[str, str]) -> Iterator[Requirement]:
    """What `wheel` with `extras` requires in `environment`."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(path).decode())
    for line in metadata.get_all("Requires-Dist", []):
        requirement = Requirement(line)
        if requirement.marker is None or any(
            requirement.marker.evaluate({**environment, "extra": extra}) for extra in ["", *extras]
        ):
            yield requirement


if __name__ == "__main__":
    sys.exit(main())
