"""`hoiclip evaluate`: predictions and annotations in, average precision out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add(verbs: argparse._SubParsersAction) -> None:
    """Adds the verb to the parser."""
    text = "mean average precision of a predictions table"
    verb = verbs.add_parser("evaluate", help=text, description=f"Prints the {text}, in percent.")
    verb.add_argument("predictions", type=Path, help="predictions.parquet (docs/architecture.md)")
    verb.add_argument("annotations", type=Path, help="folder of a partition's tables")
    verb.add_argument("--vocabulary", type=Path, default=Path("data/vocabulary.parquet"))
    verb.add_argument("--classes", type=Path, default=Path("data/splits/classes.parquet"))
    verb.add_argument("--protocol", choices=("hico", "hoiclip", "pocket"), default="hico")
    verb.add_argument("--out", type=Path, help="folder for metrics.json and per-class tables")
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Scores the predictions and prints the metrics as JSON."""
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
