"""What tests read of a monitor's HTTP endpoint."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families


def fetch(port: int, path: str, *, token: str = "", host: str = "127.0.0.1") -> tuple[int, str]:
    """Status and body of what the monitor answers."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"http://{host}:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Samples:
    """What Prometheus' own parser reads in a text."""

    def __init__(self, text: str) -> None:
        self.all = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """The one value of `name` with `labels`."""
        (found,) = [sample.value for sample in self.all if (sample.name, sample.labels) == (f"dasvdd_{name}", labels)]
        return float(found)


def wait_until(true: Callable[[], Any], *, seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)
    return found
