"""HOICLIP: human-object-interaction detection with knowledge transfer from CLIP."""

import os

# Threads that wait sleep, unless the environment says otherwise: spinning, they hold cores that
# other processes need. OpenMP reads it once, when PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
