"""What a line or message holds."""

from __future__ import annotations

import pytest
from dasvdd_runtime.sources.payloads import PayloadError, Reading, read_csv


@pytest.mark.parametrize("time_at", [3, 5, 98])
def test_a_time_beyond_the_last_value_is_a_fault_of_the_line(time_at: int) -> None:
    """Both numbers are told; the source is not opened again for it."""
    with pytest.raises(PayloadError, match=f"3 values, none of which is time_column = {time_at + 1}:"):
        read_csv(b"1,2,3", 2, time_at=time_at)
    assert read_csv(b"1,2,3", 2, time_at=2) == Reading([1, 2], [0, 1], "3")
