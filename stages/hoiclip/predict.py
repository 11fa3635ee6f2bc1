"""Predictions of the test images; the enhancement's k is chosen on validation."""

from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip import schema
from hoiclip.config import load
from hoiclip.data.annotations import Annotations
from hoiclip.data.images import ImageStore
from hoiclip.entry import run_stage
from hoiclip.files import write_json
from hoiclip.method_summary import MethodSummary
from hoiclip.model_file import load_detector
from hoiclip.prediction import PredictConfig, as_stated, choose_k, predict
from hoiclip.runtime import prepare

OUT = Path("runs/hoiclip/predict")
MODEL = Path("runs/hoiclip/train/model.safetensors")


def main(params: Path) -> dict:
    """Chooses k where it is open, then predicts."""
    config = load(PredictConfig, "predict", params)
    device = prepare(config.device, config.threads)
    detector = load_detector(MODEL)
    config = as_stated(config, detector.scores)
    k, sweep = config.enhancement_k, {}
    if config.sweep_k:
        validation = Annotations.read("data/splits/validation")
        classes = schema.read_table("data/splits/classes.parquet", schema.CLASSES)
        sweep = choose_k(
            detector, validation, ImageStore("data/images/train"), classes, config, device
        )
        k = sweep["best"] if k is None else k
    images = schema.read_table("data/annotations/test/images.parquet", schema.IMAGES)
    store = ImageStore("data/images/test")
    (predictions,) = predict(detector, images, store, config, [k], device)
    provenance = {"model": detector.provenance, "enhancement_k": k}
    schema.write_table(OUT / "predictions.parquet", predictions, schema.PREDICTIONS, provenance)
    write_json(OUT / "enhancement.json", {"k": k, "validation": sweep})
    summary = {"images": len(images), "predictions": len(predictions)}
    stages = ("verb_vectors", "train")
    MethodSummary.gather("runs", "hoiclip", "HOICLIP", stages, summary).write("runs")
    return summary


if __name__ == "__main__":
    run_stage("hoiclip/predict", main)
