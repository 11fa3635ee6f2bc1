"""Predictions and annotations in, average precision out; needs neither torch nor a model."""
