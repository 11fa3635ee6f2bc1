"""Trains the student of CLIP distillation without a label; figures go live through DVCLive."""

from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.launch import launch
from hoiclip.methods.clip_distill.caches.inputs import DistillPaths
from hoiclip.methods.clip_distill.training import train
from hoiclip.stage_main import run_stage
from stages.live import live_log

OUT = Path("runs/clip_distill/train")


def main(params: Path) -> dict:
    """Trains from the caches and weights, or goes on with an interrupted training."""
    launch()
    with live_log(OUT / "live") as log:
        return train(params, DistillPaths.of_project(), OUT, Path(".checkpoints"), log)


if __name__ == "__main__":
    run_stage("clip_distill/train", main)
