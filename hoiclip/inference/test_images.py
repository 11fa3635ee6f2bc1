"""Predictions of a data set's test images, from a model file to a table."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from hoiclip import schema
from hoiclip.data.images import ImageStore
from hoiclip.inference.model_file import load_detector, only
from hoiclip.inference.predict import PredictConfig, predict
from hoiclip.methods.contract import Method
from hoiclip.runtime import prepare
from hoiclip.util.config import load

IMAGES = Path("data/annotations/test/images.parquet")
STORE = Path("data/images/test")


def predict_test(method: type[Method], params: Path, model: Path, out: Path) -> dict[str, Any]:
    """Writes `predictions.parquet` (`schema.PREDICTIONS`) into the folder `out`.

    Args:
        method: whose model file it is.
        params: the params file.
        model: the model file.
        out: folder of the result.

    Returns:
        The numbers of images and of predictions.

    Raises:
        HoiclipError: a param or file is wrong.
    """
    config = load(PredictConfig, "predict", params)
    device = prepare(config.device, config.threads)
    detector = load_detector(model, only(method))
    images = schema.read_table(IMAGES, schema.IMAGES)
    (predictions,) = predict(detector, images, ImageStore(STORE), config, device)
    provenance = {
        "method": method.name,
        "model": detector.provenance,
        "scoring": asdict(detector.method.scoring),
    }
    schema.write_table(out / "predictions.parquet", predictions, schema.PREDICTIONS, provenance)
    return {"images": len(images), "predictions": len(predictions)}
