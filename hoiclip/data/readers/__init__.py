"""Readers of the files that HOI data come in: each gives the schema's tables and a report."""
