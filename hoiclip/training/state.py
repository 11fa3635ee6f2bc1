"""The state of an interrupted training, so that going on equals never having stopped."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from hoiclip.errors import InputError
from hoiclip.resume.state_file import StateFile
from hoiclip.util.files import atomic_file, atomic_folder


@dataclass
class Progress:
    """Where a training stands after a whole epoch.

    Attributes:
        epoch: epochs done.
        step: optimiser steps done.
        seconds: spent so far, over all sittings.
        history: rows (step, epoch, name, value).
    """

    epoch: int
    step: int
    seconds: float
    history: list[tuple[int, float, str, float]]


class ResumeFolder:
    """Holds the state of one training; another configuration or input has another folder.

    Args:
        root: folder of all such folders.
        key: JSON mapping of data (hashes), method and optimisation, see `StateFile`.
        code: of `hoiclip.resume.source_code.loaded_code`.
    """

    def __init__(self, root: Path, key: Mapping[str, Any], code: Mapping[str, str]) -> None:
        self._file = StateFile(root, key, code)
        self.folder = self._file.folder
        self.locked = self._file.locked
        self.delete = self._file.delete

    @property
    def accepted(self) -> list[str]:
        """Files with whose changed code the training went on because it was told to; sorted."""
        return self._file.accepted

    def save(
        self,
        progress: Progress,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> None:
        """Writes the state after an epoch, all or nothing."""
        self._file.save(
            {
                "progress": vars(progress),
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "cpu_random": torch.get_rng_state(),
                "cuda_random": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            }
        )

    def keep_weights(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Keeps the weights of an epoch in a file of this name, all or nothing."""
        with atomic_file(self.folder / name) as aside:
            save_file(tensors, aside)

    def check_weights(self, names: Sequence[str]) -> None:
        """Sees to it that what was kept is there.

        Raises:
            InputError: a file is absent.
        """
        for name in names:
            if not (self.folder / name).is_file():
                raise self._file.refused(f"lacks {name}, the weights of an epoch that is done")

    def copy_weights(self, names: Sequence[str], folder: Path) -> None:
        """Puts a copy of what was kept into `folder`, in place of what was there."""
        with atomic_folder(folder) as aside:
            for name in names:
                shutil.copyfile(self.folder / name, aside / name)

    def load(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> Progress | None:
        """Restores the state into the arguments; None, and a line why, where the training starts.

        Raises:
            InputError: the file is damaged, of another version or training, or does not fit the
                arguments.
        """
        state = self._file.load()
        if state is None:
            return None
        try:
            return self._restore(state, model, optimizer, schedule)
        except InputError:
            raise
        except Exception as error:  # PyTorch raises errors of any type for what does not fit.
            told = " ".join(str(error).split())[:200]
            raise self._file.refused(f"does not fit this model ({told})") from None

    def _restore(
        self,
        state: dict,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> Progress:
        progress = Progress(**state["progress"])
        counts = (progress.epoch, progress.step)
        if not all(type(n) is int and n >= 0 for n in counts) or not math.isfinite(
            progress.seconds
        ):
            raise self._file.refused("holds a number of epochs, steps or seconds that is none")
        progress.history = [(int(s), float(e), str(k), float(v)) for s, e, k, v in progress.history]
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        for parameter, moments in optimizer.state.items():
            for name, moment in moments.items():
                if moment.shape not in ((), parameter.shape):
                    raise self._file.refused(f"does not fit this model (optimiser, {name})")
        for name, value in schedule.state_dict().items():
            # PyTorch takes whatever stands here.
            if isinstance(value, int | float) and type(state["schedule"][name]) is not type(value):
                raise self._file.refused(f"does not fit this model (schedule, {name})")
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["cpu_random"])
        if state["cuda_random"]:
            torch.cuda.set_rng_state_all(state["cuda_random"])
        return progress
