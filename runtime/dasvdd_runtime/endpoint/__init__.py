"""The monitor's HTTP endpoint: the page, `/metrics`, `/healthz`, `/readyz`."""
