"""Which threshold judges a source, and how one is learned on site."""
