"""Trains as a stage does, in a process of its own: `python train_alone.py WHAT.json`."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from unittest.mock import patch

from torch import nn
from torch.nn.utils import clip_grad_norm_

from hoiclip.methods.gen_vlkt.build import build_gen_vlkt
from hoiclip.methods.hoiclip.build import build_hoiclip
from hoiclip.set_prediction import training
from hoiclip.set_prediction.files import TrainPaths

BUILDS = {"hoiclip": build_hoiclip, "gen_vlkt": build_gen_vlkt}


def main(what: dict) -> None:
    """Trains, and writes the norm of each step's gradients over all sittings: AdamW takes the same
    steps by gradients that are all too large or too small.

    Where `what` names a step under `stop`, the process is told to stop in it.
    """
    file = Path(what["out"]).with_name("norms.json")
    norms: list[float] = json.loads(file.read_text()) if file.exists() else []

    def clip(*arguments):
        norms.append(float(clip_grad_norm_(*arguments)))
        if len(norms) == what.get("stop"):
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        with patch.object(nn.utils, "clip_grad_norm_", clip):
            _train(what)
    finally:
        if os.environ.get("RANK", "0") == "0":
            file.write_text(json.dumps(norms))


def _train(what: dict) -> None:
    paths = TrainPaths(**{name: Path(path) for name, path in what["paths"].items() if path})
    training.train(
        BUILDS[what["method"]], Path(what["params"]), paths, Path(what["out"]),
        Path(what["resume"]), lambda epoch, figures: None,
    )  # fmt: skip


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
