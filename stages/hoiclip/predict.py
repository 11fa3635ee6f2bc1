"""Predictions of the test images by HOICLIP."""

from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.inference.test_images import predict_test
from hoiclip.launch import launch
from hoiclip.methods.hoiclip.model.method import HoiclipMethod
from hoiclip.methods.summary import MethodSummary
from hoiclip.stage_main import run_stage

MODEL = Path("runs/hoiclip/select/model.safetensors")
OUT = Path("runs/hoiclip/predict")


def main(params: Path) -> dict | None:
    """Predicts, and gathers what the method's stages said."""
    launch()
    summary = predict_test(HoiclipMethod, params, MODEL, OUT, Path(".checkpoints"))
    if summary is None:
        return None
    stages = ("verb_vectors", "train", "select")
    MethodSummary.gather("runs", HoiclipMethod.name, HoiclipMethod.title, stages, summary).write(
        "runs"
    )
    return summary


if __name__ == "__main__":
    run_stage("hoiclip/predict", main)
