"""A captured stream -> files for training: sound as WAV, rows as CSV."""
