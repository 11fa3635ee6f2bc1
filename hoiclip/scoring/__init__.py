"""Predictions and annotations from files, of any format that this package reads, into scores."""
