"""HOICLIP: human-object-interaction detection with knowledge transfer from CLIP."""

import os

# Threads that wait for each other spin for some microseconds and then sleep, unless the environment
# says otherwise: as long as between two short operations, and not so long, by default milliseconds,
# that they hold cores which other processes need. OpenMP reads it once, when PyTorch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
