"""Scored pairs of an image: the best of them, and which suppress each other."""
