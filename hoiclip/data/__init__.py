"""Annotations, images, splits and batches."""
