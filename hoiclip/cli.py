"""The command line: `hoiclip VERB`. The pipeline's stages are run by DVC instead."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from hoiclip.entry import fail
from hoiclip.errors import HoiclipError

UNREADABLE_IMAGES = 3


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


def _predict(arguments: argparse.Namespace) -> int:
    from hoiclip.photos import predict_photos
    from hoiclip.prediction import NmsConfig, PredictConfig

    config = PredictConfig(
        device=arguments.device,
        threads=arguments.threads,
        batch_size=arguments.batch_size,
        top_k=arguments.top_k,
        nms=NmsConfig(threshold=0.7, human_power=1.0, object_power=0.5, plus_one_extents=False),
        enhancement_k=arguments.enhancement_k,
        sweep_k=[],
        enhancement_weight=1.0,
        enhancement_kind="cosine",
    )
    errors = predict_photos(
        arguments.weights,
        arguments.images,
        arguments.out,
        config,
        k=arguments.enhancement_k,
        least_score=arguments.least_score,
        pictures=not arguments.no_pictures,
    )
    for error in errors:
        fail(error)
    print(arguments.out)
    return UNREADABLE_IMAGES if errors else 0


def _evaluate(arguments: argparse.Namespace) -> None:
    from hoiclip import schema
    from hoiclip.data.annotations import Annotations
    from hoiclip.evaluation.hico import evaluate_hico
    from hoiclip.evaluation.outputs import metrics, write_outputs
    from hoiclip.files import write_json
    from hoiclip.vocabulary import Vocabulary

    vocabulary = Vocabulary.read(arguments.vocabulary)
    annotations = Annotations.read(arguments.annotations)
    annotations.check(arguments.annotations, vocabulary)
    result = evaluate_hico(
        schema.read_table(arguments.predictions, schema.PREDICTIONS),
        annotations.images,
        annotations.instances,
        annotations.interactions,
        vocabulary,
        schema.read_table(arguments.classes, schema.CLASSES),
        arguments.protocol,
    )
    found = metrics(result)
    if arguments.out is not None:
        write_outputs(arguments.out, result, {"protocol": arguments.protocol})
        write_json(arguments.out / "metrics.json", found)
    print(json.dumps(found, indent=2))


def _convert(arguments: argparse.Namespace) -> None:
    from hoiclip.convert.sniff import convert

    print(convert(arguments.source, arguments.out, arguments.kind, arguments.setting).summary())


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
    _add_predict(verbs)
    _add_evaluate(verbs)
    _add_convert(verbs)
    return parser


def _add_predict(verbs: argparse._SubParsersAction) -> None:
    text = "detect interactions in images with a model file"
    verb = verbs.add_parser(
        "predict",
        help=text,
        description=f"{text[0].upper()}{text[1:]}. Exit code {UNREADABLE_IMAGES}: some images "
        "could not be read; they are listed, the others are predicted.",
    )
    verb.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="file or folder")
    verb.add_argument("--weights", type=Path, required=True, help="model.safetensors")
    verb.add_argument("--out", type=Path, required=True, help="folder for the results")
    verb.add_argument("--least-score", type=float, default=1.0, help="in JSON and pictures")
    verb.add_argument("--enhancement-k", type=int, default=10, help="0: without CLIP's enhancement")
    verb.add_argument("--top-k", type=int, default=100, help="rows per image before NMS")
    verb.add_argument("--batch-size", type=int, default=8)
    verb.add_argument("--threads", type=int, default=2)
    verb.add_argument("--device", choices=("cpu", "cuda", "auto"), default="auto")
    verb.add_argument("--no-pictures", action="store_true")
    verb.set_defaults(run=_predict)


def _add_evaluate(verbs: argparse._SubParsersAction) -> None:
    text = "mean average precision of a predictions table"
    verb = verbs.add_parser("evaluate", help=text, description=f"Prints the {text}, in percent.")
    verb.add_argument("predictions", type=Path, help="predictions.parquet (docs/architecture.md)")
    verb.add_argument("annotations", type=Path, help="folder of a partition's tables")
    verb.add_argument("--vocabulary", type=Path, default=Path("data/vocabulary.parquet"))
    verb.add_argument("--classes", type=Path, default=Path("data/splits/classes.parquet"))
    verb.add_argument("--protocol", choices=("hico", "hoiclip", "pocket"), default="hico")
    verb.add_argument("--out", type=Path, help="folder for metrics.json and per-class tables")
    verb.set_defaults(run=_evaluate)


def _add_convert(verbs: argparse._SubParsersAction) -> None:
    text = "make a released checkpoint a file of this project"
    verb = verbs.add_parser("convert", help=text, description=f"{text[0].upper()}{text[1:]}.")
    verb.add_argument("source", type=Path, help="HOICLIP's or DETR's .pth, or verb.pth")
    verb.add_argument("out", type=Path, help=".safetensors, or .parquet for verb vectors")
    verb.add_argument("--kind", choices=("official", "detr", "verb"), help="default: found out")
    verb.add_argument("--setting", help="e.g. default, rare_first, vcoco; default: found out")
    verb.set_defaults(run=_convert)


def main(argv: list[str] | None = None) -> int:
    """Runs a verb; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        return arguments.run(arguments) or 0
    except HoiclipError as error:
        if arguments.debug:
            raise
        return fail(error)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
