"""Other projects' predictions and annotation files: read and checked; needs no torch."""
