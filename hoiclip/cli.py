"""The command line: `hoiclip VERB`. The pipeline's stages are run by DVC instead."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hoiclip.entry import fail
from hoiclip.errors import HoiclipError


def _experiments(arguments: argparse.Namespace) -> None:
    from hoiclip.config import load
    from hoiclip.experiments.collect import (
        gather_ablation,
        gather_honesty,
        gather_seeds,
        plan_of,
        run_plan,
    )
    from hoiclip.experiments.crops_alone import score_crops_alone
    from hoiclip.model.config import ModelConfig
    from hoiclip.weights import WeightsConfig

    experiments = plan_of(arguments.verb, arguments.params)
    runs, out = arguments.results / "runs", arguments.results / f"{arguments.verb}.json"
    run_plan(experiments, runs, arguments.params, arguments.jobs)
    if arguments.verb == "ablation":
        gather_ablation(experiments, runs, out)
    elif arguments.verb == "seeds":
        gather_seeds(experiments, runs, out)
    else:
        weights = load(WeightsConfig, "weights", arguments.params)
        model = load(ModelConfig, "model", arguments.params)
        embeddings = Path("caches/text_embeddings.parquet")
        alone = score_crops_alone(weights, model, Path("data"), embeddings)
        gather_honesty(experiments, alone, runs, out)
    print(out)


EXPERIMENTS = {
    "seeds": "the default over three seeds",
    "ablation": "the rows of the paper's ablation over three seeds",
    "honesty": "what the toy world gives without CLIP, to CLIP alone, and with more time",
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of every verb."""
    parser = argparse.ArgumentParser(prog="hoiclip", description="HOICLIP's command line.")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, text in EXPERIMENTS.items():
        verb = verbs.add_parser(name, help=text, description=f"Runs {text}; resumable.")
        verb.add_argument("--params", type=Path, default=Path("params.yaml"))
        verb.add_argument("--results", type=Path, default=Path("results"))
        verb.add_argument("--jobs", type=int, default=2, help="trainings side by side")
        verb.set_defaults(run=_experiments)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs a verb; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except HoiclipError as error:
        if arguments.debug:
            raise
        return fail(error)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
