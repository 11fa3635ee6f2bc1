"""Times training steps on a machine whose cores other processes want, by how OpenMP's threads wait.

Run from the repository root: `python -m benchmarks.busy_machine [--out FILE]`.

Threads of one operation wait for each other at its end. By default GNU OpenMP's spin for a while,
each on a core that another process, or the thread waited for, may need. `passive` is
`OMP_WAIT_POLICY=PASSIVE`, which the package sets unless the environment has it: they sleep.

Every run is a process of its own that takes `--steps` steps of a small DETR encoder; policies take
turns, with 0, 1, ... other processes that compute without end. Figures are medians of seconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from hoiclip.core.files import write_json
from hoiclip.util.ranges import Count, Threads, number

# `default` takes back what importing the package sets.
POLICIES = {"default": "", "passive": "PASSIVE"}
VARIABLE = "OMP_WAIT_POLICY"
STEPS = """
import time, torch
from torch import nn
torch.set_num_threads({threads})
torch.manual_seed(0)
layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
x = torch.randn(4, 100, 64)
encoder(x).sum().backward()
start = time.perf_counter()
for _ in range({steps}):
    encoder(x).square().sum().backward()
print(time.perf_counter() - start)
"""


@contextmanager
def load(processes: int) -> Iterator[None]:
    others = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)
    ]
    try:
        time.sleep(0.3)
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def seconds(policy: str, threads: int, steps: int) -> float:
    env = {name: value for name, value in os.environ.items() if name != VARIABLE}
    if POLICIES[policy]:
        env[VARIABLE] = POLICIES[policy]
    code = STEPS.format(threads=threads, steps=steps)
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def measure(loads: list[int], threads: int, steps: int, repeats: int) -> list[dict[str, Any]]:
    times: dict[tuple[int, str], list[float]] = {}
    for _ in range(repeats):
        for others in loads:
            with load(others):
                for policy in POLICIES:
                    took = seconds(policy, threads, steps)
                    times.setdefault((others, policy), []).append(took)
    return [
        {"other processes": others, **{p: statistics.median(times[others, p]) for p in POLICIES}}
        for others in loads
    ]


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "| Other processes | " + " | ".join(f"{policy}, s" for policy in POLICIES) + " | ratio |"
    yield "|" + "---|" * (len(POLICIES) + 2)
    for row in rows:
        figures = " | ".join(f"{row[policy]:.2f}" for policy in POLICIES)
        ratio = row["passive"] / row["default"]
        yield f"| {row['other processes']} | {figures} | {ratio:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=number(Threads), default=os.cpu_count() or 1)
    parser.add_argument("--steps", type=number(Count), default=100)
    parser.add_argument("--repeats", type=number(Count), default=5)
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    told = machine()
    rows = measure([0, 1, cores, 2 * cores], options.threads, options.steps, options.repeats)
    print("\n".join(table(rows)))
    if options.out:
        settings = {"threads": options.threads, "steps": options.steps, "repeats": options.repeats}
        write_json(options.out, {"machine": told, **settings, "rows": rows})


if __name__ == "__main__":
    main()
