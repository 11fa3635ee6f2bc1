"""Predictions of a data set's test images, from a model file to a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from hoiclip.batches.loading import by_size
from hoiclip.contract.method import Method
from hoiclip.contract.model_file import load_detector, only
from hoiclip.core import schema
from hoiclip.core.config import load
from hoiclip.core.files import file_identity
from hoiclip.images.store import ImageStore
from hoiclip.inference.predict import PredictConfig, predict_shards
from hoiclip.parallel.device import prepare
from hoiclip.parallel.settings import settings
from hoiclip.parallel.world import World
from hoiclip.passes import Content, ShardedPass, in_order, joined_tables, table_content
from hoiclip.resume.source_code import loaded_code

IMAGES = Path("data/annotations/test/images.parquet")
STORE = Path("data/images/test")


def predict_test(
    method: type[Method], params: Path, model: Path, out: Path, resume_root: Path
) -> dict[str, Any] | None:
    """Writes `predictions.parquet` (`schema.PREDICTIONS`) into the folder `out`.

    Several processes share the images; the main one writes.

    Args:
        method: whose model file it is.
        params: the params file.
        model: the model file.
        out: folder of the result.
        resume_root: where shards of an interrupted run are kept.

    Returns:
        The numbers of images and of predictions; None in a process that only helped.

    Raises:
        HoiclipError: a param or file is wrong.
    """
    config = load(PredictConfig, "predict", params)
    world = World.of_environment()
    device = prepare(config.device, config.threads, local_rank=world.local_rank)
    detector = load_detector(model, only(method))
    images, store = schema.read_table(IMAGES, schema.IMAGES), ImageStore(STORE)
    alike = by_size(images, detector.transforms)
    # Shards of another order would be joined into nonsense, even by code that was accepted.
    key = {
        "predict": settings(config),
        "order": "by size",
        "files": file_identity([model, IMAGES, STORE]),
    }
    shared = ShardedPass(resume_root / "predict", key, loaded_code(), world.join())

    def works(shards: Sequence[range]) -> Iterator[Content]:
        for (table,) in predict_shards(detector, alike, store, config, device, shards):
            yield {"predictions": table_content(table)}

    with shared.locked():
        predictions = shared.run_on(len(images), works, _joined)
        if predictions is None:
            return None
        predictions = in_order(predictions, images)
        provenance = {
            "method": method.name,
            "model": detector.provenance,
            "scoring": asdict(detector.method.scoring),
        }
        if shared.accepted:
            provenance["accepted_code"] = shared.accepted
        schema.write_table(out / "predictions.parquet", predictions, schema.PREDICTIONS, provenance)
        shared.delete()
    return {"images": len(images), "predictions": len(predictions)}


def _joined(shards: list[Content]) -> pa.Table:
    none = {"predictions": table_content(schema.PREDICTIONS.empty_table())}
    return joined_tables("predictions")([none, *shards])
