"""`hoiclip predict`: a model file over anybody's images, or over a partition of a data set."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from typing import Annotated, Any

from hoiclip.errors import InputError
from hoiclip.stage_main import fail, named_path
from hoiclip.util.ranges import (
    BatchSize,
    Count,
    Device,
    Power,
    Probability,
    Range,
    Threads,
    Weight,
    Workers,
    number,
)

UNREADABLE_IMAGES = 3
Millions = Annotated[float, Range(0, 100_000, above=True)]  # of pixels or bytes


def add(verbs: argparse._SubParsersAction) -> None:
    """Adds the verb to the parser."""
    text = "detect interactions in images with a model file"
    verb = verbs.add_parser(
        "predict",
        help=text,
        description=f"{text[0].upper()}{text[1:]}. Exit code {UNREADABLE_IMAGES}: some images "
        "could not be read; they are listed, the others are predicted.",
    )
    verb.add_argument("images", nargs="+", type=named_path, metavar="IMAGE", help="file or folder")
    verb.add_argument("--weights", type=named_path, required=True, help="model.safetensors")
    verb.add_argument("--out", type=named_path, required=True, help="folder for the results")
    verb.add_argument(
        "--partition",
        type=named_path,
        help="folder of a partition's tables: predict its images, which are in the folder IMAGE, "
        "under its image ids, to be scored with `hoiclip evaluate`",
    )
    verb.add_argument(
        "--least-score",
        type=number(Weight),
        help="of rows in JSON and pictures; the method's own, which is printed",
    )
    verb.add_argument("--batch-size", type=number(BatchSize), default=8)
    verb.add_argument("--threads", type=number(Threads), default=2)
    verb.add_argument(
        "--workers",
        type=number(Workers),
        default=0,
        help="processes that read images beside the one that computes; 0 reads in it",
    )
    verb.add_argument("--device", type=number(Device), default="auto")
    verb.add_argument("--no-pictures", action="store_true")
    verb.add_argument(
        "--max-megapixels",
        type=number(Millions),
        default=200,
        help="largest image that is decoded; 200",
    )
    verb.add_argument(
        "--max-megabytes",
        type=number(Millions),
        default=200,
        help="largest file that is read; 200",
    )
    scores = verb.add_argument_group(
        "scores", "What is not given is as the model file states it, else as said here."
    )
    scores.add_argument(
        "--scoring",
        action="append",
        default=[],
        type=_key_and_value,
        metavar="KEY=VALUE",
        help="how the model's method joins a score, may be repeated; what was used is printed, and "
        "a KEY that it does not have is answered by those that it has",
    )
    scores.add_argument("--top-k", type=number(Count), help="rows per image before NMS, 100")
    scores.add_argument("--nms-threshold", type=number(Probability), help="0.7; 0: without NMS")
    scores.add_argument("--nms-human-power", type=number(Power), help="1")
    scores.add_argument("--nms-object-power", type=number(Power), help="0.5")
    scores.add_argument(
        "--nms-plus-one-extents",
        action=argparse.BooleanOptionalAction,
        help="whether boxes end one pixel later in NMS; no",
    )
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Predicts; 3 where some images could not be read."""
    from hoiclip.core.files import check_output_folder
    from hoiclip.errors import ParamsError
    from hoiclip.images.store import Limits
    from hoiclip.inference.image_folder import Model, predict_image_files, predict_partition
    from hoiclip.inference.predict import PredictConfig
    from hoiclip.pairs.pair_nms import PAPER_NMS
    from hoiclip.printable import printable

    if arguments.partition is not None and len(arguments.images) > 1:
        raise ParamsError("--partition: give one IMAGE, the folder of the partition's images")
    if arguments.partition is not None and (
        arguments.no_pictures or arguments.least_score is not None
    ):
        problem = "writes every row and no pictures; leave out --least-score and --no-pictures"
        raise ParamsError(f"--partition: {problem}")
    check_output_folder(arguments.out)
    config = PredictConfig(
        device=arguments.device,
        threads=arguments.threads,
        batch_size=arguments.batch_size,
        workers=arguments.workers,
        top_k=100,
        nms=PAPER_NMS,
    )
    limits = Limits(
        pixels=max(1, round(arguments.max_megapixels * 1e6)),
        bytes=max(1, round(arguments.max_megabytes * 1e6)),
    )
    model = Model.load(arguments.weights, config, _asked_scores(arguments), dict(arguments.scoring))
    errors: list[InputError] = []
    passed_over = ""
    if arguments.partition is not None:
        predict_partition(model, arguments.images[0], arguments.partition, arguments.out, limits)
    else:
        errors, passed_over = predict_image_files(
            model,
            arguments.images,
            arguments.out,
            least_score=arguments.least_score,
            pictures=not arguments.no_pictures,
            limits=limits,
        )
    if passed_over:
        print(printable(passed_over), file=sys.stderr)
    for error in errors:
        fail(error)
    print(printable(model.used(arguments.least_score)))
    print(printable(str(arguments.out)))
    return UNREADABLE_IMAGES if errors else 0


def _key_and_value(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r}, expected KEY=VALUE")
    for kind in (int, float):
        with suppress(ValueError):
            return key, kind(value)
    return key, value


def _asked_scores(arguments: argparse.Namespace) -> dict[str, Any]:
    """The score settings that the command line gives, as `hoiclip.inference.predict` names them."""
    asked = {
        "top_k": arguments.top_k,
        "nms": _given(
            {
                "threshold": arguments.nms_threshold,
                "human_power": arguments.nms_human_power,
                "object_power": arguments.nms_object_power,
                "plus_one_extents": arguments.nms_plus_one_extents,
            }
        ),
    }
    return _given(asked)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
