"""Trains GEN-VLKT; figures go live through DVCLive."""

from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.launch import launch
from hoiclip.methods.gen_vlkt.build import build_gen_vlkt
from hoiclip.set_prediction.files import TrainPaths
from hoiclip.set_prediction.training import train
from hoiclip.stage_main import run_stage
from stages.live import live_log

OUT = Path("runs/gen_vlkt/train")
PATHS = TrainPaths()


def main(params: Path) -> dict:
    """Trains from the caches and weights, or goes on with an interrupted training."""
    launch()
    with live_log(OUT / "live") as log:
        return train(build_gen_vlkt, params, PATHS, OUT, Path(".checkpoints"), log)


if __name__ == "__main__":
    run_stage("gen_vlkt/train", main)
