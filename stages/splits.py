"""Partitions that training and model selection see, cut from the train annotations."""

from dataclasses import asdict, replace
from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.core import schema
from hoiclip.core.config import load, read_params
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.errors import ParamsError
from hoiclip.inside import check_inside
from hoiclip.splits.splits import SplitsConfig, make_splits
from hoiclip.stage_main import run_stage


def fraction_file(config: SplitsConfig, params: Path) -> str | None:
    """Path of `splits.fraction_file`, which is relative to `dataset.raw`; ParamsError outside."""
    if config.fraction_file is None:
        return None
    dataset = read_params(params).get("dataset")
    raw = dataset.get("raw") if isinstance(dataset, dict) else None
    if not isinstance(raw, str):
        raise ParamsError(f"{params}: dataset.raw: {raw!r}, expected a folder")
    try:
        check_inside("splits.fraction_file", config.fraction_file, raw)
    except ValueError as error:
        raise ParamsError(f"{params}: {error}") from None
    return str(Path(raw, config.fraction_file))


def main(params: Path) -> dict:
    """Checks the train annotations and cuts them."""
    config = load(SplitsConfig, "splits", params)
    path = fraction_file(config, params)
    vocabulary = Vocabulary.read("data/vocabulary.parquet")
    source = Path("data/annotations/train")
    train = Annotations.read(source)
    train.check(source, vocabulary)
    splits = make_splits(train, vocabulary, replace(config, fraction_file=path))
    provenance = {"splits": asdict(config)}
    splits.train.write("data/splits/train", provenance)
    splits.validation.write("data/splits/validation", provenance)
    schema.write_table("data/splits/classes.parquet", splits.classes, schema.CLASSES, provenance)
    return {"train": len(splits.train.images), "validation": len(splits.validation.images)}


if __name__ == "__main__":
    run_stage("splits", main)
