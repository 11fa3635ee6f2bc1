"""Predictions of the test images by CLIP distillation."""

from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.inference.test_images import predict_test
from hoiclip.launch import launch
from hoiclip.methods.clip_distill.model.method import ClipDistillMethod
from hoiclip.methods.summary import MethodSummary
from hoiclip.stage_main import run_stage

MODEL = Path("runs/clip_distill/select/model.safetensors")
OUT = Path("runs/clip_distill/predict")


def main(params: Path) -> dict | None:
    """Predicts, and gathers what the method's stages said."""
    launch()
    summary = predict_test(ClipDistillMethod, params, MODEL, OUT, Path(".checkpoints"))
    if summary is None:
        return None
    stages = ("detections", "clip_scores", "train", "select")
    method = MethodSummary.gather(
        "runs", ClipDistillMethod.name, ClipDistillMethod.title, stages, summary
    )
    method.write("runs")
    return summary


if __name__ == "__main__":
    run_stage("clip_distill/predict", main)
