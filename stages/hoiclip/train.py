"""Trains HOICLIP; figures go live through DVCLive."""

from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.launch import launch
from hoiclip.methods.hoiclip.build import build_hoiclip
from hoiclip.set_prediction.files import TrainPaths
from hoiclip.set_prediction.training import train
from hoiclip.stage_main import run_stage
from stages.live import live_log

OUT = Path("runs/hoiclip/train")
PATHS = TrainPaths(verb_vectors=Path("caches/verb_vectors.parquet"))


def main(params: Path) -> dict:
    """Trains from the caches and weights, or goes on with an interrupted training."""
    launch()
    with live_log(OUT / "live") as log:
        return train(build_hoiclip, params, PATHS, OUT, Path(".checkpoints"), log)


if __name__ == "__main__":
    run_stage("hoiclip/train", main)
