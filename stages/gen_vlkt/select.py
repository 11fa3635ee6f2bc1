"""The weights that are best on validation, in GEN-VLKT's model file."""

from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.inference.selection import select_from_files
from hoiclip.methods.gen_vlkt.model.method import GenVlktMethod
from hoiclip.stage_main import run_stage


def main(params: Path) -> dict:
    """Scores the epochs that training kept."""
    return select_from_files(
        GenVlktMethod, params, Path("runs/gen_vlkt/train"), Path("runs/gen_vlkt/select")
    )


if __name__ == "__main__":
    run_stage("gen_vlkt/select", main)
