"""Layouts of annotation files, shared with the tests of formats."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "formats/annotations"))
