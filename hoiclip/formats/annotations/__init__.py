"""Formats of annotations: each reader gives the schema's tables and what it left out."""
