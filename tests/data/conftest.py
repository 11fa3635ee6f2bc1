"""Layouts of source files, shared with the readers' tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "readers"))
