"""The weights and the k of the enhancement that are best on validation, in HOICLIP's model file."""

from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.inference.selection import select_from_files
from hoiclip.methods.hoiclip.model.method import HoiclipMethod
from hoiclip.stage_main import run_stage


def main(params: Path) -> dict:
    """Scores the epochs that training kept."""
    return select_from_files(
        HoiclipMethod, params, Path("runs/hoiclip/train"), Path("runs/hoiclip/select")
    )


if __name__ == "__main__":
    run_stage("hoiclip/select", main)
