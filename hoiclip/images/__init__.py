"""The image files of a partition, decoded."""
