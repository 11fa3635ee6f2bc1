"""`hoiclip seeds`, `ablation`, `honesty`, `distillation`: comparisons of several trainings."""

from __future__ import annotations

import argparse
from pathlib import Path

from hoiclip.util.ranges import Threads, number
from hoiclip.util.stage_main import named_path

EXPERIMENTS = {
    "seeds": "the default over three seeds",
    "ablation": "the rows of the paper's ablation over three seeds",
    "honesty": "what the toy world gives without CLIP, to CLIP alone, and with more time",
}


def add(verbs: argparse._SubParsersAction) -> None:
    """Adds the verbs to the parser."""
    for name, text in EXPERIMENTS.items():
        verb = verbs.add_parser(name, help=text, description=f"Runs {text}; resumable.")
        verb.add_argument("--params", type=named_path, default=Path("params.yaml"))
        verb.add_argument("--results", type=named_path, default=Path("results"))
        verb.add_argument("--jobs", type=number(Threads), default=2, help="trainings side by side")
        verb.set_defaults(run=run)
    text = "label-free distillation of the toy world beside its teacher and CLIP on crops"
    verb = verbs.add_parser("distillation", help=text, description=f"Runs {text}; resumable.")
    verb.add_argument("--params", type=named_path, default=Path("params.yaml"))
    verb.add_argument("--results", type=named_path, default=Path("results"))
    verb.add_argument("--students", nargs="*", help="those to train; all")
    verb.set_defaults(run=run_distillation)


def run(arguments: argparse.Namespace) -> None:
    """Runs what has no result yet and gathers the results into one file."""
    from hoiclip.experiments.collect import (
        gather_ablation,
        gather_honesty,
        gather_seeds,
        plan_of,
        run_plan,
    )
    from hoiclip.experiments.crops_alone import score_crops_alone
    from hoiclip.experiments.run import PATHS
    from hoiclip.model.config import SetPredictionConfig
    from hoiclip.util.config import load
    from hoiclip.util.files import check_output_folder

    check_output_folder(arguments.results)
    experiments = plan_of(arguments.verb, arguments.params)
    runs, out = arguments.results / "runs", arguments.results / f"{arguments.verb}.json"
    run_plan(experiments, runs, arguments.params, arguments.jobs)
    if arguments.verb == "ablation":
        gather_ablation(experiments, runs, out)
    elif arguments.verb == "seeds":
        gather_seeds(experiments, runs, out)
    else:
        model = load(SetPredictionConfig, "model", arguments.params)
        gather_honesty(experiments, score_crops_alone(PATHS, model, Path("data")), runs, out)
    print(out)


def run_distillation(arguments: argparse.Namespace) -> None:
    """Runs what has no result yet and gathers the rows into one file."""
    from hoiclip.experiments import distillation
    from hoiclip.util.files import check_output_folder

    check_output_folder(arguments.results)
    runs, out = arguments.results / "runs", arguments.results / "distillation.json"
    distillation.run_distillation(arguments.params, runs, out, arguments.students)
    print(out)
