"""The state of an interrupted training, so that going on equals never having stopped."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from hoiclip.core.files import atomic_file, atomic_folder
from hoiclip.errors import InputError
from hoiclip.resume.state_file import StateFile

Row = tuple[int, float, str, float]
"""Step, epoch, name and value of a figure."""


@dataclass
class Progress:
    """Where a training stands after a step.

    Attributes:
        epoch: epochs done.
        step: optimiser steps done.
        done: of them, those of the epoch that is not done.
        seconds: spent so far, over all sittings.
        history: its rows.
        sums: loss terms, summed over the epoch that is not done.
        pending: loss terms of its steps that are in no row yet.
    """

    epoch: int = 0
    step: int = 0
    done: int = 0
    seconds: float = 0.0
    history: list[Row] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    pending: list[dict[str, float]] = field(default_factory=list)

    def add(self, losses: Sequence[Mapping[str, float]], *, record: float | None) -> None:
        """Adds the loss terms of steps; where `record` states how far, in epochs, the training is,
        their means since the last record become rows."""
        for terms in losses:
            self.pending.append(dict(terms))
            for name, value in terms.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
        if record is not None and self.pending:
            for name in self.pending[0]:
                mean = sum(terms[name] for terms in self.pending) / len(self.pending)
                self.history.append((self.step, record, f"loss/{name}", mean))
            self.pending = []

    def close_epoch(self, rate: float) -> dict[str, float]:
        """Ends the epoch; its figures: mean loss terms and the rate."""
        figures = {f"loss/{name}": value / self.done for name, value in self.sums.items()}
        figures["lr"] = float(rate)
        self.epoch, self.done, self.sums = self.epoch + 1, 0, {}
        place = (self.step, float(self.epoch))
        self.history += [(*place, f"epoch/{name}", value) for name, value in figures.items()]
        return figures


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
        """Writes the state after a step, all or nothing."""
        self._file.save(
            {
                "progress": vars(progress),
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
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

    def read(self) -> dict[str, Any] | None:
        """What was saved last, for `restore`; None, and a line why, where the training starts.

        Raises:
            InputError: the file is damaged, or of another version or training.
        """
        state: dict[str, Any] | None = self._file.load()
        return state

    def restore(
        self,
        state: dict[str, Any],
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> Progress:
        """Restores what `read` gave into the other arguments.

        Raises:
            InputError: it does not fit them.
        """
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
        counts = (progress.epoch, progress.step, progress.done)
        if not all(type(n) is int and n >= 0 for n in counts) or not math.isfinite(
            progress.seconds
        ):
            raise self._file.refused("holds a number of epochs, steps or seconds that is none")
        progress.history = [(int(s), float(e), str(k), float(v)) for s, e, k, v in progress.history]
        for terms in (progress.sums, *progress.pending):
            if not all(type(value) is float for value in terms.values()):
                raise self._file.refused("holds a loss that is no number")
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
        return progress
