"""Formats of predictions: each file gives rows that the evaluation takes."""
