"""Partitions that training and model selection see, cut from the train annotations."""

from dataclasses import asdict
from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip import schema
from hoiclip.config import load
from hoiclip.data.annotations import Annotations
from hoiclip.data.splits import SplitsConfig, make_splits
from hoiclip.entry import run_stage
from hoiclip.vocabulary import Vocabulary


def main(params: Path) -> dict:
    """Checks the train annotations and cuts them."""
    config = load(SplitsConfig, "splits", params)
    vocabulary = Vocabulary.read("data/vocabulary.parquet")
    source = Path("data/annotations/train")
    train = Annotations.read(source)
    train.check(source, vocabulary)
    splits = make_splits(train, vocabulary, config)
    provenance = {"splits": asdict(config)}
    splits.train.write("data/splits/train", provenance)
    splits.validation.write("data/splits/validation", provenance)
    schema.write_table("data/splits/classes.parquet", splits.classes, schema.CLASSES, provenance)
    return {"train": len(splits.train.images), "validation": len(splits.validation.images)}


if __name__ == "__main__":
    run_stage("splits", main)
