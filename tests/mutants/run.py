"""Breaks the code on purpose, one line at a time; the tests named with each breakage must notice.

    python tests/mutants/run.py [NUMBER ...]

`mutants.json` lists the breakages: file, exact old text, new text, why it matters, and the tests.
Each is applied to a copy of the project, so the working tree stays as it is. Exits with 1 if a
breakage goes unnoticed, its text is not found exactly once, or the tests fail without it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = (
    "hoiclip", "stages", "pipelines", "methods", "tests", "docs", "weights", "params", "sweeps",
    "deploy",
)  # fmt: skip
FILES = ("params.yaml", "dvc.yaml", "pyproject.toml")


def run_tests(folder: Path, tests: list[str]) -> int:
    """Exit code of pytest in `folder` on one thread: 0 passed, 1 failed, others are no verdict."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, check=False
    ).returncode


def verdict(folder: Path, mutant: dict) -> str:
    """`caught`, or why not."""
    path = folder / mutant["file"]
    source = path.read_text(encoding="utf-8")
    if source.count(mutant["old"]) != 1:
        return f"text found {source.count(mutant['old'])} times"
    path.write_text(source.replace(mutant["old"], mutant["new"]), encoding="utf-8")
    try:
        code = run_tests(folder, mutant["tests"])
    finally:
        path.write_text(source, encoding="utf-8")
    return {0: "survived", 1: "caught"}.get(code, f"pytest exited with {code}")


def main() -> int:
    """Runs the mutants whose numbers are given, or all, and prints one line for each."""
    mutants = json.loads(Path(__file__).with_name("mutants.json").read_text(encoding="utf-8"))
    chosen = [int(number) for number in sys.argv[1:]] or range(1, len(mutants) + 1)
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "project"
        ignored = shutil.ignore_patterns("__pycache__")
        for name in COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        for name in FILES:
            shutil.copy(ROOT / name, folder / name)
        tests = sorted({test for number in chosen for test in mutants[number - 1]["tests"]})
        if code := run_tests(folder, tests):
            print(f"error: without any mutant pytest exits with {code}: {' '.join(tests)}")
            return 1
        for number in chosen:
            mutant = mutants[number - 1]
            found = verdict(folder, mutant)
            failures += found != "caught"
            print(f"{number:3}  {found:24}  {mutant['file']:36}  {mutant['why']}", flush=True)
    print(f"{len(chosen) - failures} of {len(chosen)} caught")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
