"""Partitions to learn from, to choose by and to test on; fractions and unseen classes."""
