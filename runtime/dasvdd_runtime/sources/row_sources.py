"""Tables of row sources -> sources. Each kind's module is imported only where it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Source
from .row_tables import CsvTailTable, ModbusTable, MqttTopicsTable, OpcUaTable, PolledTable, RowsTable, SerialTable

if TYPE_CHECKING:
    from .polled import PolledDevice


def row_source_at(table: RowsTable, *, sample_rate_hz: float, channel_names: list[str]) -> Source:
    """The source that `table` describes. Raises Unavailable where its package is not installed."""
    if isinstance(table, MqttTopicsTable):
        from .mqtt import MqttSource

        return MqttSource(table, sample_rate_hz=sample_rate_hz, channel_names=channel_names)
    if isinstance(table, SerialTable):
        from .serial_port import SerialSource

        return SerialSource(table, sample_rate_hz=sample_rate_hz, channel_names=channel_names)
    if isinstance(table, PolledTable):
        from .polled import PolledSource

        device = _device(table, channel_names)
        return PolledSource(device, table, sample_rate_hz=sample_rate_hz, channel_names=channel_names)
    assert isinstance(table, CsvTailTable)
    from .csv_tail import CsvTailSource

    return CsvTailSource(table, sample_rate_hz=sample_rate_hz, channel_names=channel_names)


def _device(table: PolledTable, channel_names: list[str]) -> PolledDevice:
    if isinstance(table, ModbusTable):
        from .modbus import ModbusDevice

        return ModbusDevice(table, channel_names)
    assert isinstance(table, OpcUaTable)
    from .opcua import OpcUaDevice

    return OpcUaDevice(table, channel_names)
