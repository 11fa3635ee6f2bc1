"""Times the pipeline's graph: stage by stage, and what DVC takes where nothing is to do.

Run from the repository root, with DVC: `python -m benchmarks.pipeline [--out FILE]`. The last
commit is cloned into a temporary folder with a DVC cache of its own, so that nothing is known. It
is the toy pipeline of `make repro`, or, with `--profile smoke`, that of `make smoke`.

- `stages`: seconds of `dvc repro --single-item STAGE`, one stage after another, DVC's own included.
- `nothing to do`, `dry`: seconds of `dvc repro` and `dvc repro --dry` after that; medians.
- `version`: seconds of `dvc --version`, what it takes to start.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from hoiclip.core.files import write_json
from hoiclip.util.ranges import Count, number

ROOT = Path(__file__).resolve().parents[1]
OVERHEADS = {
    "nothing to do": ["dvc", "repro"],
    "dry": ["dvc", "repro", "--dry"],
    "version": ["dvc", "--version"],
}
_RUNNING = re.compile(r"^Running stage '([^']+)':", re.MULTILINE)


def run(command: list[str], folder: Path) -> tuple[float, str]:
    """Seconds of a command in a clone, and what it printed.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    names = {"PYTHONPATH": str(folder), "DVC_NO_ANALYTICS": "1"}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **names, "PATH": path}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    if done.returncode:
        end = (done.stdout + done.stderr).strip()[-2000:]
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{end}")
    return seconds, done.stdout


def stages_of(printed: str) -> list[str]:
    """Names of the stages that `dvc repro --dry --force` says it would run, in order."""
    return _RUNNING.findall(printed)


def measure(profile: str, repeat: int) -> dict[str, Any]:
    """Seconds of each stage, and medians of what DVC takes by `OVERHEADS`.

    Args:
        profile: of params/; an empty one leaves params.yaml as it is.
        repeat: runs of each of `OVERHEADS`.
    """
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary) / "clone"
        run(["git", "clone", "--quiet", str(ROOT), str(clone)], Path(temporary))
        if profile:
            run([sys.executable, "-m", "pipelines.profile", profile], clone)
        _, printed = run(["dvc", "repro", "--dry", "--force", "--allow-missing"], clone)
        stages: list[tuple[str, float]] = []
        for stage in stages_of(printed):
            # Without the cache of earlier runs, also where a run of the same inputs is in dvc.lock.
            seconds, _ = run(["dvc", "repro", "--force", "--single-item", stage], clone)
            stages.append((stage, seconds))
        times: dict[str, list[float]] = {name: [] for name in OVERHEADS}
        for _ in range(repeat):
            for name, command in OVERHEADS.items():
                seconds, printed = run(command, clone)
                if name == "nothing to do" and stages_of(printed):
                    raise RuntimeError(f"dvc repro had something to do: {stages_of(printed)}")
                times[name].append(seconds)
    return {"stages": stages, "dvc": {name: statistics.median(t) for name, t in times.items()}}


def table(found: dict[str, Any]) -> Iterator[str]:
    """Lines of a Markdown table of `measure`'s result."""
    yield "| Stage, or DVC with none | seconds |"
    yield "|---|---|"
    for stage, seconds in found["stages"]:
        yield f"| {stage} | {seconds:.1f} |"
    yield f"| all stages | {sum(seconds for _, seconds in found['stages']):.1f} |"
    for name, command in OVERHEADS.items():
        yield f"| `{' '.join(command)}` | {found['dvc'][name]:.2f} |"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--profile", default="", help="of params/; none by default")
    made.add_argument("--repeat", type=number(Count), default=5, help="(default: 5)")
    made.add_argument("--out", type=Path, help="JSON")
    return made


def main(arguments: list[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    told = machine()
    found = measure(options.profile, options.repeat)
    print("\n".join(table(found)))
    if options.out:
        settings = {"profile": options.profile, "repeat": options.repeat}
        write_json(options.out, {"machine": told, **settings, **found})


if __name__ == "__main__":
    main()
