"""Recordings of a healthy machine -> model.pt, by DASVDD."""
