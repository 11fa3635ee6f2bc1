"""`hoiclip measure` and `hoiclip gather`: what the plans in `sweeps/` ask of the package."""

from __future__ import annotations

import argparse
from pathlib import Path

from hoiclip.stage_main import named_path

MEASUREMENTS = ("crops", "teacher")
GATHERED = ("ablation", "seeds", "honesty", "methods", "distillation")


def add(verbs: argparse._SubParsersAction) -> None:
    """Adds the verbs to the parser."""
    text = "what CLIP on crops, or the teacher of distillation, reaches without training"
    verb = verbs.add_parser("measure", help=text, description=f"Measures {text}.")
    verb.add_argument("what", choices=MEASUREMENTS)
    verb.add_argument("--params", type=named_path, default=Path("params.yaml"))
    verb.add_argument("--out", type=named_path, required=True, help="JSON")
    verb.set_defaults(run=measure)
    text = "results of a plan's experiments into the file that the report reads"
    verb = verbs.add_parser("gather", help=text, description=f"Gathers {text}.")
    verb.add_argument("plan", choices=GATHERED)
    verb.add_argument("files", nargs="+", type=named_path, help="of results/runs/")
    verb.add_argument("--results", type=named_path, default=Path("results"))
    verb.set_defaults(run=gather)


def measure(arguments: argparse.Namespace) -> None:
    """Measures, in the project's folder, and writes the figures."""
    from hoiclip.core.files import write_json
    from hoiclip.experiments.measure import measure_crops, measure_teacher

    run = measure_crops if arguments.what == "crops" else measure_teacher
    write_json(arguments.out, run(arguments.params))
    print(arguments.out)


def gather(arguments: argparse.Namespace) -> None:
    """Gathers the files into `results/<plan>.json`."""
    from hoiclip.core.files import check_output_folder, write_json
    from hoiclip.experiments.collect import GATHERERS, read_results

    check_output_folder(arguments.results)
    out = arguments.results / f"{arguments.plan}.json"
    write_json(out, GATHERERS[arguments.plan](read_results(arguments.files)))
    print(out)
