"""Times training steps on a machine whose cores other processes want, by how OpenMP's threads wait.

Run from the repository root: `python -m benchmarks.busy_machine [--out FILE]`.

Threads of one operation wait for each other at its end. By default GNU OpenMP's spin for a while,
each on a core that another process, or the thread waited for, may need. `short` is
`GOMP_SPINCOUNT=1000`, which the package sets unless the environment says otherwise: they spin for
microseconds and then sleep. `passive` is `OMP_WAIT_POLICY=PASSIVE`: they sleep at once.

Every run is a process of its own that takes steps of a DETR encoder; policies take turns, with 0,
1, ... other processes that compute without end. `tiny` is an encoder so small that its threads meet
every few dozen microseconds, `published` one of DETR-R50's width on images of 800 x 1066 pixels, of
which a step is long. Figures are medians of seconds.
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
from hoiclip.util.ranges import Count, CountOrZero, Threads, number

POLICIES: dict[str, dict[str, str]] = {
    "default": {},
    "short": {"GOMP_SPINCOUNT": "1000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
}
VARIABLES = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
SIZES: dict[str, dict[str, int]] = {
    "tiny": {"width": 64, "heads": 4, "feed_forward": 128, "tokens": 100},
    "published": {"width": 256, "heads": 8, "feed_forward": 2048, "tokens": 25 * 34},
}
STEPS_OF = {"tiny": 60, "published": 2}
STEPS = """
import time, torch
from torch import nn
torch.set_num_threads({threads})
torch.manual_seed(0)
layer = nn.TransformerEncoderLayer({width}, {heads}, {feed_forward}, batch_first=True)
encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
x = torch.randn(4, {tokens}, {width})
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


def seconds(policy: str, size: str, threads: int) -> float:
    # Also what importing the package has set.
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    env |= POLICIES[policy]
    code = STEPS.format(threads=threads, steps=STEPS_OF[size], **SIZES[size])
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def measure(loads: list[int], threads: int, repeats: int) -> list[dict[str, Any]]:
    times: dict[tuple[str, int, str], list[float]] = {}
    for _ in range(repeats):
        for others in loads:
            with load(others):
                for size in SIZES:
                    for policy in POLICIES:
                        took = seconds(policy, size, threads)
                        times.setdefault((size, others, policy), []).append(took)
    return [
        {
            "encoder": size,
            "other processes": others,
            **{policy: statistics.median(times[size, others, policy]) for policy in POLICIES},
        }
        for size in SIZES
        for others in loads
    ]


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    policies = " | ".join(f"{policy}, s" for policy in POLICIES)
    yield f"| Encoder | Other processes | {policies} | short, x default |"
    yield "|" + "---|" * (len(POLICIES) + 3)
    for row in rows:
        figures = " | ".join(f"{row[policy]:.2f}" for policy in POLICIES)
        ratio = row["short"] / row["default"]
        yield f"| {row['encoder']} | {row['other processes']} | {figures} | {ratio:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=number(Threads), default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=number(Count), default=5)
    parser.add_argument(
        "--others",
        type=number(CountOrZero),
        nargs="+",
        help="busy processes (default: 0 to twice the cores)",
    )
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    told = machine()
    rows = measure(options.others or [0, 1, cores, 2 * cores], options.threads, options.repeats)
    print("\n".join(table(rows)))
    if options.out:
        settings = {"threads": options.threads, "steps": STEPS_OF, "repeats": options.repeats}
        write_json(options.out, {"machine": told, **settings, "rows": rows})


if __name__ == "__main__":
    main()
