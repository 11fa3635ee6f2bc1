"""`hoiclip evaluate`: predictions and annotations in, average precision out."""

from __future__ import annotations

import argparse
import json
import sys
from typing import get_args

from hoiclip.commands.annotation_options import (
    add_annotation_options,
    given_for_files,
    source_options,
)
from hoiclip.evaluation.ap.protocols import ProtocolName, RecallSteps
from hoiclip.formats.registry import PREDICTION_FORMATS
from hoiclip.stage_main import named_path


def add(verbs: argparse._SubParsersAction) -> None:
    """Adds the verb to the parser."""
    text = "mean average precision of anybody's predictions"
    verb = verbs.add_parser(
        "evaluate",
        help=text,
        description=f"Prints the {text}, in percent: JSON, or a table on a terminal. "
        "docs/evaluation.md describes the formats and the protocols.",
    )
    verb.add_argument(
        "predictions", type=named_path, help="Parquet, JSON of HOIA or V-COCO, or Matlab's folder"
    )
    verb.add_argument(
        "annotations",
        type=named_path,
        help="folder of a partition, or a file of HICO-DET or V-COCO",
    )
    verb.add_argument(
        "--protocol",
        choices=get_args(ProtocolName),
        help="default: vcoco for V-COCO, else hico",
    )
    verb.add_argument(
        "--recall-steps",
        choices=get_args(RecallSteps),
        help="of the AP of HOI classes; default: the protocol's own",
    )
    verb.add_argument(
        "--format",
        choices=tuple(PREDICTION_FORMATS),
        help="of the predictions; found out",
    )
    verb.add_argument(
        "--numbering",
        choices=(
            "hoia", "zero-based", "hoi", "hoi-category", "coco", "one-based", "coco-verbs-from-0",
            "one-based-verbs-from-0", "zero-based-verbs-from-1",
        ),
        help="of the classes in HOIA predictions; found out where only one fits",
    )  # fmt: skip
    verb.add_argument(
        "--boxes",
        choices=("inclusive", "continuous"),
        help="whether x2, y2 are the last pixel inside or the edge behind it; default: continuous "
        "for Parquet, else inclusive",
    )
    verb.add_argument(
        "--classes", type=named_path, help="classes.parquet, which tells rare classes"
    )
    add_annotation_options(verb)
    verb.add_argument("--out", type=named_path, help="folder for metrics.json and tables per class")
    verb.add_argument("--diagnosis", action="store_true", help="say where the rest of the AP goes")
    verb.set_defaults(run=run, refuse=verb.error)


def run(arguments: argparse.Namespace) -> None:
    """Scores the predictions; prints the metrics and writes what is asked for."""
    from hoiclip.commands.summary import metrics_text
    from hoiclip.core.files import check_output_folder
    from hoiclip.formats.detection import annotations_in
    from hoiclip.progress import say
    from hoiclip.scoring.score import Request, score

    given, kind = given_for_files(arguments), arguments.kind
    if given and (kind or annotations_in(arguments.annotations)) == "partition":
        arguments.refuse(
            f"{arguments.annotations} is a partition's folder, of which {', '.join(given)} "
            f"{'changes' if len(given) == 1 else 'change'} nothing. Leave "
            f"{'it' if len(given) == 1 else 'them'} out, or name the annotation file"
        )
    out = arguments.out
    if out is not None:
        check_output_folder(out)
    evaluation = score(
        Request(
            predictions=arguments.predictions,
            annotations=arguments.annotations,
            source=source_options(arguments),
            protocol=arguments.protocol,
            format=arguments.format,
            numbering=arguments.numbering,
            boxes=arguments.boxes,
            classes=arguments.classes,
            diagnosis=arguments.diagnosis,
            recall_steps=arguments.recall_steps,
        )
    )
    if out is not None:
        evaluation.write(out)
    for note in evaluation.notes:
        say(f"note: {note}")
    found, diagnosis = evaluation.metrics(), evaluation.diagnosis
    if sys.stdout.isatty():
        print(metrics_text(found, diagnosis))
    else:
        more = {} if diagnosis is None else {"diagnosis": diagnosis}
        print(json.dumps(found | more, indent=2))
