"""Processes that work together, as torchrun starts them."""
