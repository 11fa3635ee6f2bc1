"""Predictions of the test images by GEN-VLKT."""

from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.inference.test_images import predict_test
from hoiclip.launch import launch
from hoiclip.methods.gen_vlkt.model.method import GenVlktMethod
from hoiclip.methods.summary import MethodSummary
from hoiclip.stage_main import run_stage

MODEL = Path("runs/gen_vlkt/select/model.safetensors")
OUT = Path("runs/gen_vlkt/predict")


def main(params: Path) -> dict | None:
    """Predicts, and gathers what the method's stages said."""
    launch()
    summary = predict_test(GenVlktMethod, params, MODEL, OUT, Path(".checkpoints"))
    if summary is None:
        return None
    name, title = GenVlktMethod.name, GenVlktMethod.title
    MethodSummary.gather("runs", name, title, ("train", "select"), summary).write("runs")
    return summary


if __name__ == "__main__":
    run_stage("gen_vlkt/predict", main)
