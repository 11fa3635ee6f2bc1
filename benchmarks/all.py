"""Runs the benchmarks of whole methods, of the pass over crops and of the pipeline, one by one.

Run from the repository root: `make benchmarks`, or `python -m benchmarks.all --out FOLDER`, which
writes `methods.json`, `crops.json` and, where DVC is installed, `pipeline.json` (date, hardware,
versions, load, figures), and the same as tables in `results.md`. `--only` with no name writes that
page anew from the files. `--quick` takes tiny networks and images, and the smoke profile, to see
that it runs; its figures mean nothing.

Each part is a process of its own, so that none has the memory of another; a part that fails is
named at the end, with exit code 1, and the others stand.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import crops, methods, pipeline
from hoiclip.core.files import atomic_file, read_json

PARTS = {
    "methods": "Training steps and inference at the published sizes",
    "crops": "Crops behind the verb vectors",
    "pipeline": "The pipeline, stage by stage",
}
_QUICK = {
    "methods": ["--scale", "tiny", "--repeat", "1", "--turn", "0", "--threads", "1"],
    "crops": ["--scale", "tiny", "--repeat", "1", "--images", "4", "--threads", "1"],
    "pipeline": ["--repeat", "1", "--profile", "smoke"],
}


def tables(name: str, found: dict[str, Any]) -> Iterator[str]:
    """Lines of the table of a part from its JSON."""
    if name == "methods":
        yield from methods.table(found["results"])
    elif name == "crops":
        yield from crops.table(found["crops per second"])
    else:
        yield from pipeline.table(found)


def page(parts: dict[str, dict[str, Any]]) -> str:
    """The Markdown page of all parts, by their JSON."""
    lines = ["# Benchmarks", ""]
    for name, found in parts.items():
        told = ", ".join(f"{key} {value}" for key, value in found["machine"].items())
        lines += [f"## {PARTS[name]}", "", f"`python -m benchmarks.{name}`; {told}.", ""]
        lines += [*tables(name, found), ""]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    options = parser.parse_args(arguments)
    failed = []
    for name in options.only:
        beside = Path(sys.executable).parent / "dvc"
        if name == "pipeline" and not (shutil.which("dvc") or beside.exists()):
            print("DVC is not installed: the pipeline is left out", file=sys.stderr)
            continue
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        command += ["--out", str(options.out / f"{name}.json")]
        done = subprocess.run(command + (_QUICK[name] if options.quick else []), check=False)
        failed += [name] * (done.returncode != 0)
    made = [name for name in PARTS if (options.out / f"{name}.json").exists()]
    with atomic_file(options.out / "results.md") as aside:
        found = {name: read_json(options.out / f"{name}.json") for name in made}
        aside.write_text(page(found), encoding="utf-8")
    if failed:
        print(f"error: {', '.join(failed)} failed; see above", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
