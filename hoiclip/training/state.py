"""The state of an interrupted training, so that going on equals never having stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hoiclip.files import atomic_file


@dataclass
class Progress:
    """Where a training stands after a whole epoch.

    Attributes:
        epoch: epochs done.
        step: optimiser steps done.
        seconds: spent so far, over all sittings.
        best: highest validation mAP in percent, and its epoch.
        history: rows (step, epoch, name, value).
    """

    epoch: int
    step: int
    seconds: float
    best: tuple[float, int]
    history: list[tuple[int, float, str, float]]


class ResumeFolder:
    """Holds the state of one training; another configuration or input has another folder.

    Args:
        root: folder of all such folders.
        identity: JSON value that decides the result of the training: params and input hashes.
    """

    def __init__(self, root: Path, identity: Any) -> None:
        text = json.dumps(identity, sort_keys=True)
        self.folder = root / hashlib.sha256(text.encode()).hexdigest()[:16]
        self._state = self.folder / "state.pt"
        self.best_weights = self.folder / "best.pt"

    def save(
        self,
        progress: Progress,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> None:
        """Writes the state after an epoch, all or nothing."""
        state = {
            "progress": vars(progress),
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "cpu_random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        with atomic_file(self._state) as aside:
            torch.save(state, aside)

    def load(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> Progress | None:
        """Restores the state into the arguments; None where there is nothing to go on from."""
        if not self._state.exists():
            return None
        state = torch.load(self._state, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["cpu_random"])
        if state["cuda_random"]:
            torch.cuda.set_rng_state_all(state["cuda_random"])
        return Progress(**state["progress"])

    def save_best(self, model: torch.nn.Module) -> None:
        """Keeps the present weights as the best so far."""
        with atomic_file(self.best_weights) as aside:
            torch.save(model.state_dict(), aside)

    def delete(self) -> None:
        """Removes the folder after success."""
        shutil.rmtree(self.folder, ignore_errors=True)
