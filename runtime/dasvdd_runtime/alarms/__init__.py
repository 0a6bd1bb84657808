"""What becomes of an alarm: its life, who answered it, who is not to be called."""
