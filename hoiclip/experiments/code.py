"""`python -m hoiclip.experiments.code`: hashes of modules' syntax trees.

Reads a JSON list of files on standard input and writes a JSON object, file to hash, so that who
must not import this package tells its code apart by the same rule as resumed work.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hoiclip.errors import InputError
from hoiclip.resume.source_code import syntax_sha256
from hoiclip.stage_main import guarded


def tree_hashes(files: list[str]) -> dict[str, str]:
    """The hash of each file.

    Raises:
        InputError: a file is no module of Python.
    """
    found = {}
    for name in files:
        try:
            found[name] = syntax_sha256(Path(name).read_bytes())
        except (SyntaxError, ValueError) as error:
            raise InputError(name, f"no module of Python: {error}") from None
    return found


def main() -> None:
    """Standard input to standard output."""
    print(json.dumps(tree_hashes(json.load(sys.stdin))))


if __name__ == "__main__":
    sys.exit(guarded(main))
