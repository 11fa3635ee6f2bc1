"""The training loop: epochs, kept weights, exact resume. It knows the contract of methods alone."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import pyarrow as pa
import torch
from torch.utils.data import DataLoader, Dataset

from hoiclip import schema
from hoiclip.errors import NonFiniteLossError, ParamsError
from hoiclip.methods.contract import FrozenFeatures, Method, TrainingBatch, TrainingData
from hoiclip.progress import say, track
from hoiclip.resume.source_code import loaded_code
from hoiclip.resume.state_file import settings
from hoiclip.runtime import prepare
from hoiclip.training.config import OptimizationConfig
from hoiclip.training.optimizer import build_optimizer
from hoiclip.training.state import Progress, ResumeFolder
from hoiclip.util.files import file_identity

STEPS_PER_RECORD = 20
BatchT = TypeVar("BatchT", bound=TrainingBatch)
ConfigT = TypeVar("ConfigT", bound=OptimizationConfig)
Features = Callable[[TrainingBatch], FrozenFeatures | None]
Log = Callable[[int, dict[str, float]], None]


def start(config: OptimizationConfig, section: str, images: int, where: str) -> torch.device:
    """Sets device, threads and seed for a training.

    Args:
        config: optimisation.
        section: of params that it is, for messages.
        images: to learn from, without those held out.
        where: they come from, for messages.

    Raises:
        ParamsError: there are fewer images than a batch has.
    """
    if images < config.batch_size:
        problem = f"{where} has {images} images to learn from, which make no whole batch"
        raise ParamsError(f"{section}.batch_size: {config.batch_size}, but {problem}")
    return prepare(config.device, config.threads, config.seed)


def weights_name(epoch: int) -> str:
    """Name of the file that keeps the weights of an epoch, from 1."""
    return f"epoch-{epoch:04d}.safetensors"


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a training ends with.

    Attributes:
        steps: optimiser steps.
        seconds: over all sittings.
        provenance: what decided the weights, for the model file's header.
    """

    steps: int
    seconds: float
    provenance: dict[str, Any]


class Trainer(Generic[BatchT, ConfigT]):
    """Trains a method's network.

    Args:
        method: on the device already, ready to train.
        data: what it learns from.
        features: gives the features by frozen towers of a batch.
        config: optimisation.
        section: of params that it is, for messages.
        inputs: files whose content decides the result.
        resume_root: where the state of an interrupted training is kept.
        log: called after each epoch with its number and figures by name.
    """

    def __init__(
        self,
        method: Method[BatchT, ConfigT, Any],
        data: TrainingData[BatchT],
        features: Features,
        config: ConfigT,
        section: str,
        inputs: list[Path],
        resume_root: Path,
        log: Log,
    ) -> None:
        self.method, self.data, self.features = method, data, features
        self.network = method.network
        self.config, self.section, self.log = config, section, log
        self.optimizer, self.schedule = build_optimizer(method.parameter_groups(config), config)
        self.key = {
            "method": method.name,
            "network": settings(method.config),
            "optimization": settings(config),
        }
        key = {**self.key, "files": file_identity(inputs)}
        self.resume = ResumeFolder(resume_root, key, loaded_code())

    def run(self, out: Path) -> Trained:
        """Trains to the end, going on where an interrupted run of the same inputs stopped.

        The method's network is then as after the last epoch. Writes `history.parquet` and, into
        `weights`, a file of the network's tensors for each epoch kept, into the folder `out`. The
        state of the training stays until `finish`.

        Raises:
            InputError: the interrupted run's state is damaged, or another process is at it.
            NonFiniteLossError: a loss is not a finite number.
        """
        with self.resume.locked():
            progress = self.resume.load(self.network, self.optimizer, self.schedule)
            if progress is None:
                progress = Progress(0, 0, 0.0, history=[])
            else:
                self.resume.check_weights(self._kept(progress.epoch))
                say(f"going on after epoch {progress.epoch} of {self.config.epochs}")
                self._log_again(progress)
            while progress.epoch < self.config.epochs:
                self._epoch(progress)
            return self._finish(progress, out)

    def _kept(self, done: int) -> list[str]:
        """Names of the files of weights that `done` epochs have left."""
        every, last = self.config.keep_every, self.config.epochs
        epochs = range(1, done + 1)
        return [weights_name(e) for e in epochs if e == last or (every and e % every == 0)]

    def _log_again(self, progress: Progress) -> None:
        """Gives the log the epochs of earlier sittings, whose live files may be gone."""
        epochs: dict[int, dict[str, float]] = {}
        for _, epoch, name, value in progress.history:
            if name.startswith("epoch/"):
                epochs.setdefault(int(epoch), {})[name.removeprefix("epoch/")] = value
        for epoch, figures in epochs.items():
            self.log(epoch, figures)

    def _epoch(self, progress: Progress) -> None:
        started = time.monotonic()
        figures = self._steps(progress)
        progress.epoch += 1
        self.schedule.step()
        record = (progress.step, float(progress.epoch))
        progress.history += [(*record, f"epoch/{k}", v) for k, v in figures.items()]
        if weights_name(progress.epoch) in self._kept(progress.epoch):
            state = {k: v.cpu().contiguous() for k, v in self.network.state_dict().items()}
            self.resume.keep_weights(weights_name(progress.epoch), state)
        progress.seconds += time.monotonic() - started
        self.resume.save(progress, self.network, self.optimizer, self.schedule)
        self.log(progress.epoch, figures)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        say(f"epoch {progress.epoch}/{self.config.epochs}  {shown}  {progress.seconds:.0f} s")

    def _loader(self, epoch: int) -> DataLoader[Any]:
        order = torch.Generator().manual_seed(self.config.seed * 100_003 + epoch)
        self.data.epoch = epoch
        return DataLoader(
            # It needs no more of a data set than the contract says, but asks for this type.
            cast("Dataset[Any]", self.data),
            self.config.batch_size,
            shuffle=True,
            generator=order,
            num_workers=self.config.workers,
            collate_fn=self.data.collate,
            drop_last=True,
        )

    def _steps(self, progress: Progress) -> dict[str, float]:
        """One epoch; means of the losses over it, and the rate."""
        self.network.train()
        loader = self._loader(progress.epoch)
        sums: dict[str, float] = {}
        recent: list[dict[str, float]] = []
        for done, batch in enumerate(track(loader, f"epoch {progress.epoch + 1}"), 1):
            losses = self._step(batch, progress)
            progress.step += 1
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value
            recent.append(losses)
            if len(recent) == STEPS_PER_RECORD or done == len(loader):
                place = (progress.step, progress.epoch + done / len(loader))
                for name in losses:
                    mean = sum(step[name] for step in recent) / len(recent)
                    progress.history.append((*place, f"loss/{name}", mean))
                recent = []
        means = {f"loss/{name}": value / len(loader) for name, value in sums.items()}
        return {**means, "lr": float(self.schedule.get_last_lr()[0])}

    def _step(self, batch: BatchT, progress: Progress) -> dict[str, float]:
        losses = self.method.training_step(batch, self.features(batch))
        total = reduce(torch.add, losses.values())
        values = {name: value.item() for name, value in {**losses, "total": total}.items()}
        if not torch.isfinite(total):
            names = ", ".join(self.data.file_names[index] for index in batch.indices[:4])
            raise NonFiniteLossError(
                f"epoch {progress.epoch + 1}, step {progress.step + 1}: the loss is not finite "
                f"({values}), first images {names}. "
                f"Lower {self.section}.lr or {self.section}.clip_norm"
            )
        total.backward()
        if self.config.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm)
        self.optimizer.step()
        # Here, not before the backward pass: the next forward pass needs the memory.
        self.optimizer.zero_grad(set_to_none=True)
        return values

    def _finish(self, progress: Progress, out: Path) -> Trained:
        self.resume.copy_weights(self._kept(progress.epoch), out / "weights")
        columns = [pa.array(column) for column in zip(*progress.history, strict=True)]
        history = pa.table(columns, names=schema.HISTORY.names)
        steps = {"steps": progress.step}
        schema.write_table(out / "history.parquet", history, schema.HISTORY, steps)
        provenance: dict[str, Any] = {
            "training": self.key,
            "epoch": progress.epoch,
            "steps": progress.step,
        }
        if self.resume.accepted:
            provenance["accepted_code"] = self.resume.accepted
        return Trained(progress.step, round(progress.seconds, 1), provenance)

    def finish(self) -> None:
        """Removes the state of the training, once its results are where they belong."""
        self.resume.delete()
