"""Processes that work together, and what each works on."""
