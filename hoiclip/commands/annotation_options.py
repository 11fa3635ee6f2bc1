"""Options of the verbs that read annotations of any kind."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hoiclip.formats.registry import ANNOTATION_FORMATS
from hoiclip.stage_main import named_path

if TYPE_CHECKING:
    from hoiclip.formats.annotations.source import SourceOptions


def add_annotation_options(verb: argparse.ArgumentParser) -> None:
    """Adds what an annotation file does not say itself."""
    verb.add_argument(
        "--kind",
        choices=tuple(ANNOTATION_FORMATS),
        help="of the annotations; found out",
    )
    verb.add_argument(
        "--vocabulary",
        help="hico_det, vcoco, a .json of your own or a vocabulary.parquet; default: the data "
        "set's, or the one beside a partition's folder",
    )
    verb.add_argument(
        "--partition", choices=("train", "test"), help="of anno_bbox.mat; default: test"
    )
    verb.add_argument(
        "--images", type=named_path, help="folder of images, for sizes that are not stated"
    )
    verb.add_argument(
        "--coco", type=named_path, nargs="+", default=[], help="COCO's instances files, for V-COCO"
    )
    verb.add_argument(
        "--image-ids", type=named_path, help="vcoco_*.ids; default: all labelled images"
    )
    verb.add_argument(
        "--annotation-numbering",
        choices=(
            "coco", "one-based", "zero-based", "coco-verbs-from-0", "one-based-verbs-from-0",
            "zero-based-verbs-from-1",
        ),
        help="of the classes in HOIA annotations; found out where only one fits",
    )  # fmt: skip
    verb.add_argument(
        "--drop-unknown",
        action="store_true",
        help="leave out annotations outside the vocabulary instead of refusing them",
    )


def given_for_files(arguments: argparse.Namespace) -> list[str]:
    """Flags that were given and say something of files, as no folder of a partition needs."""
    names = ("partition", "images", "coco", "image_ids", "drop_unknown")
    return [f"--{name.replace('_', '-')}" for name in names if getattr(arguments, name)]


def source_options(arguments: argparse.Namespace, *, sizes_needed: bool = False) -> SourceOptions:
    """The options as `formats.annotations.reading` takes them."""
    from hoiclip.formats.annotations.source import SourceOptions

    return SourceOptions(
        kind=arguments.kind,
        vocabulary=arguments.vocabulary,
        partition=arguments.partition or "test",
        images=arguments.images,
        coco=tuple(arguments.coco),
        image_ids=arguments.image_ids,
        numbering=arguments.annotation_numbering,
        drop_unknown=arguments.drop_unknown,
        sizes_needed=sizes_needed,
    )
