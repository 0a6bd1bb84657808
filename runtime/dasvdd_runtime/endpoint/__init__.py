"""The monitor's HTTP endpoint: `/metrics`, `/healthz`, `/readyz`."""
