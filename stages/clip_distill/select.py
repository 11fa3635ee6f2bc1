"""The last epoch's weights, with the scoring of params, in the model file; no label is read."""

from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.methods.clip_distill.last_epoch import select_last
from hoiclip.stage_main import run_stage


def main(params: Path) -> dict:
    """Takes the last epoch: to choose another would take labels."""
    return select_last(params, Path("runs/clip_distill/train"), Path("runs/clip_distill/select"))


if __name__ == "__main__":
    run_stage("clip_distill/select", main)
