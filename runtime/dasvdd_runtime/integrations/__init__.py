"""What makes the monitor part of a larger system: Home Assistant, Sparkplug B."""
