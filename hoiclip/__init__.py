"""HOICLIP: human-object-interaction detection with knowledge transfer from CLIP."""
