"""monitor.toml: its tables, checked, and what they name: paths, secrets, hosts, brokers."""
