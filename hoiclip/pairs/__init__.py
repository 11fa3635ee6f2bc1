"""Overlap of boxes, and which pairs of an image suppress each other. NumPy only."""
