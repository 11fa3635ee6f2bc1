"""Makes one step again and again, in a process of several: `python steps_alone.py OUT.json`."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import torch
from torch import Tensor, nn

from hoiclip.parallel.world import World
from hoiclip.training.engine import Engine

WIDTH = 300
ORDER = (3, 0, 2, 1)
"""In which layers are used: not that in which they are registered."""


class Layers:
    """What the engine knows of a method."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in ORDER)
        self.device = torch.device("cpu")

    def training_step(self, batch: Tensor, features: None, counts: object) -> dict[str, Tensor]:
        for layer in ORDER:
            batch = batch + self.network[layer](batch).relu()
        return {"loss": batch.pow(2).mean()}

    def loss_counts(self, batch: Tensor) -> Tensor:
        return torch.ones(1)


def main(out: Path) -> None:
    """Writes a hash of all gradients for each of three steps of rate 0."""
    torch.set_num_threads(1)
    world = World.of_environment().join()
    method, hashes = Layers(), []
    optimizer = torch.optim.SGD(method.network.parameters(), lr=0.0)
    config = SimpleNamespace(compile=False, seed=0, clip_norm=1.0, precision="float32")
    engine = Engine(method, lambda batch: None, optimizer, config, world)
    torch.manual_seed(world.rank)
    batch = torch.randn(16, WIDTH)

    def note(parameters, _: float) -> None:
        bits = b"".join(parameter.grad.numpy().tobytes() for parameter in parameters)
        hashes.append(hashlib.sha256(bits).hexdigest())

    with patch.object(nn.utils, "clip_grad_norm_", note):
        for step in range(3):
            engine.step([batch], step)
    if world.is_main:
        out.write_text(json.dumps(hashes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
