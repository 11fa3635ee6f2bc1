"""`hoiclip predict`: a model file over anybody's images."""

from __future__ import annotations

import argparse
from pathlib import Path

from hoiclip.entry import fail

UNREADABLE_IMAGES = 3


def add(verbs: argparse._SubParsersAction) -> None:
    """Adds the verb to the parser."""
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
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Predicts; 3 where some images could not be read."""
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
