"""Matching and average precision by each protocol."""
