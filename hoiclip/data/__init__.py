"""Annotations: the tables of a partition, and rows of its instances."""
