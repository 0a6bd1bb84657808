"""`dasvdd-monitor`."""
