"""Runs a plan, several experiments side by side, and gathers the results into one file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hoiclip.ablation import ABLATION_ROWS
from hoiclip.errors import HoiclipError
from hoiclip.experiments.plan import Experiment, ablation_plan, honesty_plan, seeds_plan
from hoiclip.progress import say
from hoiclip.schema import read_provenance
from hoiclip.util.config import read_params
from hoiclip.util.files import read_json, write_json

VOCABULARY = Path("data/vocabulary.parquet")
PLANS = {"seeds": seeds_plan, "ablation": ablation_plan, "honesty": honesty_plan}


class ExperimentError(HoiclipError):
    """An experiment's process failed."""


def plan_of(name: str, params_path: Path) -> list[Experiment]:
    """The experiments of a plan, with the lengths of `params_path`."""
    train = read_params(params_path)["train"]
    return PLANS[name](train["epochs"], train["lr_drop_epoch"])


def run_plan(experiments: list[Experiment], runs: Path, params_path: Path, jobs: int) -> None:
    """Runs what has no result yet; a finished run is kept, an interrupted one goes on.

    Args:
        experiments: to run.
        runs: folder of the result files.
        params_path: the params that overrides apply to.
        jobs: processes side by side, one thread each.

    Raises:
        ExperimentError: a process failed; the others are let finish.
    """
    waiting = [e for e in experiments if not (runs / f"{e.name}.json").exists()]
    total = len(waiting)
    running: dict[subprocess.Popen[bytes], Experiment] = {}
    failed: list[str] = []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    while waiting or running:
        while waiting and len(running) < jobs and not failed:
            experiment = waiting.pop(0)
            say(f"start {experiment.name} ({total - len(waiting)}/{total})")
            command = [sys.executable, "-m", "hoiclip.experiments", experiment.name]
            command += ["--params", str(params_path), "--runs", str(runs)]
            log = runs / f"{experiment.name}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("w") as file:
                process = subprocess.Popen(
                    command, stdout=file, stderr=subprocess.STDOUT, env=environment
                )
            running[process] = experiment
        for process in [p for p in running if p.poll() is not None]:
            experiment = running.pop(process)
            if process.returncode:
                failed.append(experiment.name)
                waiting.clear()
                say(f"failed {experiment.name}; see {runs / experiment.name}.log")
            else:
                (runs / f"{experiment.name}.log").unlink()
                value = read_json(runs / f"{experiment.name}.json")
                shown = json.dumps({k: value[k]["default"] for k in ("metrics", "metrics_free")})
                say(f"done {experiment.name} in {value['seconds']:.0f} s: {shown}")
        time.sleep(0.2)
    if failed:
        raise ExperimentError(f"experiments failed: {', '.join(failed)}; their logs are in {runs}")


def gather_ablation(experiments: list[Experiment], runs: Path, out: Path) -> None:
    """Writes the ablation's rows and data set; `free` is `verb` with the enhancement."""
    rows = []
    for value in _values(experiments, runs):
        common = {key: value[key] for key in ("length", "seed", "steps", "seconds", "machine")}
        rows.append({**common, "row": value["row"], "metrics": value["metrics"]})
        if value["row"] == "verb":
            rows.append({**common, "row": "free", "metrics": value["metrics_free"]})
    order = list(ABLATION_ROWS)
    rows.sort(key=lambda row: (row["length"], order.index(row["row"]), row["seed"]))
    write_json(out, {"dataset": read_provenance(VOCABULARY).get("source"), "rows": rows})


def gather_seeds(experiments: list[Experiment], runs: Path, out: Path) -> None:
    """Writes the default's results by seed."""
    keys = ("seed", "steps", "seconds", "cpu_seconds", "k", "machine")
    found = [
        {**{key: value[key] for key in keys}, "metrics": value["metrics_free"]}
        for value in _values(experiments, runs)
    ]
    write_json(out, {"runs": found})


HONESTY = {
    "base-random-0": (
        "No CLIP, from random weights",
        "the base row without pretrained detector, as many steps as the default",
    ),
    "verb-triple-0": ("Default, three times as long", "what more training gives"),
    "base-clip-time-0": (
        "Base with CLIP's time",
        "the base row trained longer by the CPU time that CLIP's pretraining took",
    ),
}


def gather_honesty(
    experiments: list[Experiment], crops_alone: dict[str, Any], runs: Path, out: Path
) -> None:
    """Writes what stands beside the default to judge the toy world by."""
    rows = [
        {
            "name": "CLIP on crops alone",
            "what": "the pretrained detector's boxes, each pair's crop classified by CLIP",
            "metrics": crops_alone["metrics"],
            "seconds": crops_alone["cpu_seconds"],
        }
    ]
    for value in _values(experiments, runs):
        name, what = HONESTY[f"{value['row']}-{value['length']}-{value['seed']}"]
        free = "metrics_free" if value["row"] == "verb" else "metrics"
        rows.append(
            {"name": name, "what": what, "metrics": value[free], "seconds": value["cpu_seconds"]}
        )
    write_json(out, {"rows": rows})


def _values(experiments: list[Experiment], runs: Path) -> list[dict[str, Any]]:
    return [read_json(runs / f"{experiment.name}.json") for experiment in experiments]
