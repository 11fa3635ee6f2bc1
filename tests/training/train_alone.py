"""Trains as a stage does, in a process of its own: `python train_alone.py WHAT.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hoiclip.methods.gen_vlkt.build import build_gen_vlkt
from hoiclip.methods.hoiclip.build import build_hoiclip
from hoiclip.set_prediction import training
from hoiclip.set_prediction.files import TrainPaths

BUILDS = {"hoiclip": build_hoiclip, "gen_vlkt": build_gen_vlkt}


def main(what: dict) -> None:
    paths = TrainPaths(**{name: Path(path) for name, path in what["paths"].items() if path})
    training.train(
        BUILDS[what["method"]], Path(what["params"]), paths, Path(what["out"]),
        Path(what["resume"]), lambda epoch, figures: None,
    )  # fmt: skip


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
