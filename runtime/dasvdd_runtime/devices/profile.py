"""What is known of a kind of device: `firmware_configs/devices/<name>/device.toml`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import Field

from ..configuration.strict_config import StrictModel, read_toml, validate
from ..errors import ConfigError, nearest

_BESIDE_THE_MODULE = Path(str(files("dasvdd_runtime"))) / "firmware_configs"
_IN_THE_CHECKOUT = Path(__file__).parents[3] / "firmware_configs"


class DeviceProfile(StrictModel):
    """The facts of one kind of device."""

    title: str
    architecture: Literal["x86_64", "aarch64"]
    system: str
    """The operating systems that are meant."""
    glibc: str = Field(pattern=r"^2\.\d+$")
    """The oldest glibc of these systems: it limits which wheels run."""
    pythons: list[str] = Field(min_length=1)
    """Versions of Python that these systems bring, such as "3.11"."""
    python_from: str
    """Where a Python that is new enough comes from, in words."""
    provider: Literal["cpu", "cuda"]
    threads: int = Field(ge=1)
    """For one run of the model."""
    variant: Literal["fp32", "fp16", "int8"] = "fp32"
    """Precision of the networks that an export for it takes, where the model bears it."""
    onnxruntime: Literal["onnxruntime", "onnxruntime-gpu"]
    """The package."""
    onnxruntime_from: str = ""
    """Where its wheel comes from, in words, if it must be had elsewhere than from the package index."""
    extras: list[str] = Field(default_factory=list)
    """Of the distribution, besides those that follow from the package and the source."""
    service: Literal["systemd", "container"]
    run_on_hardware: bool
    """The whole installation was run on such a device."""
    tried: str
    """What of it was run, and where, in words."""

    def on_the_cpu(self) -> DeviceProfile:
        """The same device without its GPU."""
        return self.model_copy(update={"provider": "cpu", "onnxruntime": "onnxruntime", "onnxruntime_from": ""})

    @property
    def requirement_extras(self) -> list[str]:
        """The extras of the distribution that every installation on this device needs."""
        return ["gpu" if self.onnxruntime == "onnxruntime-gpu" else "cpu", *self.extras]


def profiles_folder() -> Path:
    """`firmware_configs`: beside the module where the wheel put it, else that of the checkout.

    Raises ConfigError where it is in neither.
    """
    for folder in (_BESIDE_THE_MODULE, _IN_THE_CHECKOUT):
        if (folder / "devices").is_dir():
            return folder
    raise ConfigError(f"there are no profiles in {_BESIDE_THE_MODULE} or {_IN_THE_CHECKOUT}: install dasvdd again")


def profile_names() -> list[str]:
    """The devices with a profile, sorted."""
    return sorted(path.parent.name for path in (profiles_folder() / "devices").glob("*/device.toml"))


def load_profile(name: str) -> DeviceProfile:
    """The profile of the device `name`. Raises ConfigError for one that is not known, with the nearest."""
    names = profile_names()
    if name not in names:
        raise ConfigError(f"there is no profile '{name}'.{nearest(name, names)} There are: {', '.join(names)}")
    path = profiles_folder() / "devices" / name / "device.toml"
    return validate(DeviceProfile, read_toml(path), origin=str(path))


def template(device: str, file: str) -> str:
    """The text of `file` of the device's folder, or of the one that all devices share."""
    own = profiles_folder() / "devices" / device / file
    return (own if own.exists() else own.parents[1] / "common" / file).read_text(encoding="utf-8")
