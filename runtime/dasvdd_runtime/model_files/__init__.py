"""Model files: opening them, and what is in them."""
