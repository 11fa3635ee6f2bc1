"""Other projects' predictions and annotation files: read, checked, scored; needs no torch."""
