"""Damaged inputs of every kind: each gives a valid result or one typed line, and nothing else.

    python tests/fuzz/run.py [--inputs 50000] [--seed 0] [--jobs 2] [--log tests/fuzz/log.json]
    python tests/fuzz/run.py --replay FOLDER

Meets each input as the command line does, in the process, and some through the real command. A
failure is an exception that is no `HoiclipError`, a message that is not one line, an output left
behind by an error, a file outside the case's folder, too much time or memory, or a crash. It is
kept under `--failures`, and `--replay` runs it again. Inputs depend on the seed and their number.
The log counts those that were valid all the same, so that it shows how deep the damage goes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).resolve().parents[2]
MODULES = (
    "",
    "tests",
    "tests/convert",
    "tests/formats/annotations",
    "tests/formats/predictions",
    "tests/methods/clip_distill",
    "tests/methods/gen_vlkt",
    "tests/evaluation",
    "tests/scoring",
    "tests/fuzz",
)
CHUNK = 500
"""Inputs of one process: what a crash costs."""
PACKAGES = ("hypothesis", "numpy", "open_clip_torch", "pillow", "pyarrow", "safetensors", "torch")


def main(argv: list[str] | None = None) -> int:
    """Runs all chunks, or one, or a case again; 1 where anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", help="default: all")
    parser.add_argument("--log", type=Path, help="where to write counts, times and versions")
    parser.add_argument("--failures", type=Path, default=ROOT / "tests/fuzz/failures")
    parser.add_argument("--replay", type=Path, help="folder of a failure")
    parser.add_argument("--chunk", nargs=2, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.replay is None and arguments.chunk is None:
        return run_all(arguments)
    sys.path[:0] = [str(ROOT / folder) for folder in MODULES]
    import chunk_of_cases

    if arguments.replay is not None:
        problem = chunk_of_cases.replay(arguments.replay.resolve())
        print(problem or "passes")
        return 0 if problem is None else 1
    seed, count = arguments.chunk
    found = chunk_of_cases.run_chunk(seed, count, arguments.kinds, arguments.failures.resolve())
    print(json.dumps(found))
    return 0


def run_all(arguments: argparse.Namespace) -> int:
    """Chunks in processes of their own, `jobs` at a time."""
    started = time.monotonic()
    sizes = [CHUNK] * (arguments.inputs // CHUNK)
    sizes += [rest] if (rest := arguments.inputs % CHUNK) else []

    def one(number: int) -> dict:
        command = [sys.executable, __file__, "--failures", str(arguments.failures.resolve())]
        command += ["--chunk", str(arguments.seed * 1_000_000 + number), str(sizes[number])]
        command += ["--kinds", *arguments.kinds] if arguments.kinds else []
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False,
        )  # fmt: skip
        if done.returncode == 0:
            return json.loads(done.stdout.splitlines()[-1])
        how = f"chunk {number} died with exit code {done.returncode}"
        return {
            "counts": {},
            "valid": {},
            "failures": {f"{how}: {done.stderr[-3000:]}": 1},
            "slowest": {},
        }

    counts, valid, failures, slowest = Counter(), Counter(), Counter(), {}
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for number, found in enumerate(pool.map(one, range(len(sizes))), 1):
            counts.update(found["counts"])
            valid.update(found["valid"])
            failures.update(found["failures"])
            for kind, seconds in found["slowest"].items():
                slowest[kind] = max(seconds, slowest.get(kind, 0.0))
            print(f"{number}/{len(sizes)}: {sum(failures.values())} failures", flush=True)
    log = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": arguments.seed,
        "inputs": sum(counts.values()),
        "counts": dict(sorted(counts.items())),
        "valid": dict(sorted(valid.items())),
        "slowest_seconds": dict(sorted(slowest.items())),
        "failures": dict(failures.most_common()),
        "seconds": round(time.monotonic() - started),
        "jobs": arguments.jobs,
        "machine": machine(),
    }
    text = json.dumps(log, indent=2, ensure_ascii=False)
    print(text)
    if arguments.log is not None:
        arguments.log.write_text(text + "\n", encoding="utf-8")
    if failures:
        print(f"inputs are in {arguments.failures}; run one again with --replay FOLDER")
    return 0 if not failures and sum(counts.values()) == arguments.inputs else 1


def machine() -> dict:
    """What the run depends on besides the seed."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


if __name__ == "__main__":
    sys.exit(main())
