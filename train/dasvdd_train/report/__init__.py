"""The training report: figures, tables and one self-contained page."""
