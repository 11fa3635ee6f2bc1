"""The weights that are best on validation, in GEN-VLKT's model file."""

from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.entry import run_stage
from hoiclip.methods.gen_vlkt.method import GenVlktMethod
from hoiclip.selection import select_from_files


def main(params: Path) -> dict:
    """Scores the epochs that training kept."""
    return select_from_files(
        GenVlktMethod, params, Path("runs/gen_vlkt/train"), Path("runs/gen_vlkt/select")
    )


if __name__ == "__main__":
    run_stage("gen_vlkt/select", main)
