"""Checks of values from outside, and what they say."""
