"""Which channels, rate and units a recording has: of the source, of the command line, or of a model."""

from __future__ import annotations

from typing import Any

import click
import pytest
from dasvdd_runtime.cli.record_choice import choose
from dasvdd_runtime.configuration.config import MonitorConfig
from dasvdd_runtime.errors import ConfigError

MODBUS = {"kind": "modbus", "host": "h", "registers": [{"name": "I", "address": 0, "unit": "A"}]}


def test_a_device_that_names_its_channels_needs_only_a_rate() -> None:
    """Registers and nodes are the channels, with their units; a `poll_seconds` tells the rate to give."""
    wanted = choose(table(MODBUS), None, rate_hz=2.0, channels=None)
    assert (wanted.channel_names, wanted.units, wanted.sample_rate_hz) == (["I"], ["A"], 2.0)
    opcua = table({"kind": "opcua", "url": "opc.tcp://h:1", "nodes": {"a": "i=1", "b": "i=2"}})
    assert choose(opcua, None, rate_hz=2.0, channels=None).channel_names == ["a", "b"]
    with pytest.raises(click.UsageError, match=r"--rate 0\.5"):
        choose(table(MODBUS | {"poll_seconds": 2.0}), None, rate_hz=None, channels=None)


def test_channels_of_the_configuration_are_picked_and_may_be_renamed() -> None:
    """By name the source gives these alone, by number all up to the last; --channels says what they are called."""
    named = choose(table({"kind": "iio", "device": "d", "channels": ["accel_z"]}), None, rate_hz=10, channels="z")
    assert (named.source_names, named.places, named.channel_names) == (["accel_z"], [0], ["z"])
    numbered = choose(table({"kind": "stdin", "format": "csv", "channels": [2, 0]}), None, rate_hz=10, channels="a,b")
    assert (numbered.source_names, numbered.places) == (["column 1", "column 2", "column 3"], [2, 0])
    with pytest.raises(click.UsageError, match="numbers must be equal"):
        choose(table({"kind": "stdin", "format": "csv", "channels": [2, 0]}), None, rate_hz=10, channels="a")


def test_floats_of_a_pipe_are_rows_where_their_channels_have_names() -> None:
    """Else, or by a number of channels, they are sound; a model that is there decides."""
    floats = table({"kind": "stdin", "format": "f32le"})
    kinds = [choose(floats, None, rate_hz=8000, channels=channels).kind for channels in (None, "2", "x,y")]
    assert kinds == ["audio", "audio", "sensor"]


def test_sound_for_a_model_of_sensors_is_refused(tiny_model: Any) -> None:
    """Its rate and channels would mean nothing."""
    model = tiny_model.metadata(kind="sensor", channels=2)
    with pytest.raises(ConfigError, match="judges sensors"):
        choose(table({"kind": "microphone"}), model, rate_hz=None, channels=None)


def table(source: dict[str, Any]) -> Any:
    """The table of a source called fan."""
    config = {"model": {"path": "m"}, "source": [{"name": "fan"} | source]}
    return MonitorConfig.model_validate(config).sources[0]
