"""The cases of one process, and a kept one again."""

from __future__ import annotations

import json
import random
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import inputs
import open_clip
import torch
from case import Case
from checkpoint_inputs import CLIP
from doors import DOORS
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis.errors import FlakyStrategyDefinition
from meeting import check, keep, limit_memory, workplace

REAL_SHARE = 1 / 300
"""Of the inputs of the command line, which go through it in a process of their own."""


def prepare() -> None:
    """Makes open_clip know a small model."""
    torch.set_num_threads(1)
    real, known = open_clip.get_model_config, {"tiny": json.dumps(CLIP)}
    open_clip.get_model_config = lambda name: (
        json.loads(known[name]) if name in known else real(name)
    )
    warnings.simplefilter("ignore")


def run_chunk(seed: int, count: int, kinds: list[str] | None, failures: Path) -> dict:
    """Counts, valid ones, failures and the slowest input by kind."""
    prepare()
    chosen = {name: inputs.KINDS[name] for name in kinds or inputs.KINDS}
    total, left = sum(share for share, _ in chosen.values()), count
    counts, valid, found, slowest = Counter(), Counter(), Counter(), {}
    with workplace() as work:
        limit_memory()
        for place, (kind, (share, strategy)) in enumerate(chosen.items(), 1):
            number = left if place == len(chosen) else round(count * share / total)
            left -= number
            meet = meeter(kind, work, seed, counts, valid, found, slowest, failures)
            while (missing := number - counts[kind]) > 0:
                # Hypothesis ends early where it believes that it has seen everything.
                run = settings(
                    max_examples=missing,
                    deadline=None,
                    database=None,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )(given(strategy())(meet))
                # Of equal tensors, torch.save's older form does not always make equal bytes, which
                # Hypothesis takes for a fault of the strategy; what it met until then counts.
                before = counts[kind]
                try:
                    hypothesis_seed(seed * 100 + before)(run)()
                except FlakyStrategyDefinition:
                    if counts[kind] == before:
                        raise
    return {"counts": counts, "valid": valid, "failures": found, "slowest": slowest}


def meeter(kind, work, seed, counts, valid, found, slowest, failures) -> Callable:
    """Meets an input and counts it, and where it was taken for valid."""

    def meet(case) -> None:
        counts[kind] += 1
        real = random.Random(f"{seed} {kind} {counts[kind]}").random() < REAL_SHARE
        started = time.process_time()
        door = DOORS["process" if real else case.door]

        def counted(case) -> int:
            code = door(case)
            valid[kind] += code == 0
            return code

        problem = check(case, work, counted)
        seconds = time.process_time() - started
        slowest[kind] = round(max(seconds, slowest.get(kind, 0.0)), 2)
        if problem is not None:
            found[f"{kind}: {problem.splitlines()[-1][:300]}"] += 1
            keep(case, problem, failures)

    return meet


def replay(folder: Path) -> str | None:
    """What is wrong with a case that `meeting.keep` kept, now."""
    prepare()
    described = json.loads((folder / "case.json").read_text())
    files = {
        name: (folder / "files" / place).read_bytes() for place, name in described["files"].items()
    }
    case = Case(**(described | {"files": files}))
    with workplace() as work:
        limit_memory()
        return check(case, work, DOORS[case.door])
