"""The monitor while it runs: captures, the scoring loop, reloads, and where events go."""
