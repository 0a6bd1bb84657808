"""What outlives a restart: the state directory and its database."""
