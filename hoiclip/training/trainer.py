"""The training loop: epochs, kept weights, exact resume. It knows the contract of methods alone."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa
import torch

from hoiclip.contract.learning import TrainingBatch, TrainingData, TrainingFiles
from hoiclip.contract.method import Method
from hoiclip.core import schema
from hoiclip.core.files import file_identity
from hoiclip.errors import ParamsError
from hoiclip.parallel.device import kind_of, prepare
from hoiclip.parallel.settings import settings
from hoiclip.parallel.world import World
from hoiclip.progress import say, track
from hoiclip.resume.source_code import loaded_code
from hoiclip.training.batches import Aspects, BatchOrder
from hoiclip.training.config import OptimizationConfig
from hoiclip.training.engine import Engine, Features
from hoiclip.training.interruption import (
    Interruption,
    longest_wait,
    most_per_process,
    seconds_between_saves,
)
from hoiclip.training.labels import check_no_labels
from hoiclip.training.loading import Batches
from hoiclip.training.optimizer import build_optimizer
from hoiclip.training.records import STEPS_PER_RECORD, Recent
from hoiclip.training.state import Progress, ResumeFolder

BatchT = TypeVar("BatchT", bound=TrainingBatch)
ConfigT = TypeVar("ConfigT", bound=OptimizationConfig)
Log = Callable[[int, dict[str, float]], None]


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a training runs, and what it is called there.

    Attributes:
        section: of params that it is, for messages.
        device: of this process.
        world: all processes.
    """

    section: str
    device: torch.device
    world: World


def start(config: OptimizationConfig, section: str, images: int, where: str) -> Place:
    """Sets device, threads and seed for a training, and joins the processes.

    Args:
        config: optimisation.
        section: of params that it is, for messages.
        images: to learn from, without those held out.
        where: they come from, for messages.

    Raises:
        ParamsError: there are fewer images than a batch has, or fewer images in a batch than
            processes.
    """
    world = World.of_environment()
    if images < config.batch_size:
        problem = f"{where} has {images} images to learn from, which make no whole batch"
        raise ParamsError(f"{section}.batch_size: {config.batch_size}, but {problem}")
    if config.batch_size < world.size:
        problem = f"{world.size} processes share a batch. Start fewer"
        raise ParamsError(f"{section}.batch_size: {config.batch_size}, but {problem}")
    device = prepare(config.device, config.threads, config.seed, world.local_rank)
    return Place(section, device, world.join(longest_wait()))


def weights_name(epoch: int) -> str:
    """Name of the file that keeps the weights of an epoch, from 1."""
    return f"epoch-{epoch:04d}.safetensors"


def accepted_in_inputs(inputs: Iterable[Path]) -> dict[str, list[str]]:
    """By cache, the files with whose changed code the pass that made it went on; without the caches
    that say of none."""
    tables = [path for path in inputs if path.suffix == ".parquet"]
    said = {str(path): schema.read_provenance(path).get("accepted_code") for path in tables}
    return {path: files for path, files in said.items() if files}


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
        place: of `start`.
        inputs: files whose content decides the result.
        resume_root: where the state of an interrupted training is kept.
        log: called after each epoch, in the main process, with its number and figures by name.
        aspects: makes batches of images of like shapes; None makes them at random.
    """

    def __init__(
        self,
        method: Method[BatchT, ConfigT, Any],
        data: TrainingData[BatchT],
        features: Features,
        config: ConfigT,
        place: Place,
        inputs: TrainingFiles,
        resume_root: Path,
        log: Log,
        aspects: Aspects | None = None,
    ) -> None:
        if not method.uses_labels:
            check_no_labels(inputs.files(), method.title)
        self.method, self.data, self.features = method, data, features
        self.network = method.network
        self.config, self.world, self.log = config, place.world, log
        self.section = place.section
        self.optimizer, self.schedule = build_optimizer(method.parameter_groups(config), config)
        self.order = BatchOrder(
            len(data),
            config.batch_size,
            config.seed,
            self.world.rank,
            self.world.size,
            most_per_process(),
            aspects,
        )
        self.key = {
            "method": method.name,
            "network": settings(method.config),
            "optimization": settings(config),
        }
        key = {**self.key, "files": file_identity(inputs.files())}
        self.resume = ResumeFolder(resume_root, key, loaded_code())
        self.accepted_in_inputs = accepted_in_inputs(inputs.files())

    def run(self, out: Path) -> Trained:
        """Trains to the end, going on where an interrupted run of the same inputs stopped.

        The method's network is then as after the last epoch. The main process writes
        `history.parquet` and, into `weights`, a file of the network's tensors for each epoch kept,
        into the folder `out`. The state of the training stays until `finish`.

        Raises:
            InputError: the interrupted run's state is damaged, or another process is at it.
            StoppedError: it was told to stop; the state is saved.
            NonFiniteLossError: a loss is not a finite number.
        """
        with self.resume.locked() if self.world.is_main else nullcontext():
            progress = self._begin()
            engine: Engine[BatchT] = Engine(
                self.method, self.features, self.optimizer, self.config, self.world
            )
            with Interruption(self.world, seconds_between_saves()) as interruption:
                batches = Batches(
                    self.data,
                    self.order,
                    self.config,
                    self.method.device,
                    progress.epoch,
                    progress.done,
                )
                while progress.epoch < self.config.epochs:
                    self._epoch(engine, batches, progress, interruption)
            return self._finish(progress, out)

    def _begin(self) -> Progress:
        """What was saved last, in every process, or the beginning."""
        state = self.world.of_main(self.resume.read() if self.world.is_main else None)
        if state is None:
            return Progress()
        progress = self.resume.restore(state, self.network, self.optimizer, self.schedule)
        if self.world.is_main:
            self.resume.check_weights(self._kept(progress.epoch))
        within = f" and {progress.done} steps" if progress.done else ""
        say(f"going on after epoch {progress.epoch} of {self.config.epochs}{within}")
        self._log_again(progress)
        return progress

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
            self._tell(epoch, figures)

    def _tell(self, epoch: int, figures: dict[str, float]) -> None:
        if self.world.is_main:
            self.log(epoch, figures)

    def _epoch(
        self,
        engine: Engine[BatchT],
        batches: Batches[BatchT],
        progress: Progress,
        interruption: Interruption,
    ) -> None:
        started, waited = time.monotonic(), batches.waited
        self.network.train()
        recent = Recent(self.world, self.section, self.data.file_names)
        steps = range(progress.done, self.order.steps)
        for _ in track(steps, f"epoch {progress.epoch + 1}"):
            parts = next(batches)
            recent.add(engine.step(parts, progress.step), parts)
            progress.step += 1
            progress.done += 1
            ended = progress.done == self.order.steps
            if recorded := ended or progress.done % STEPS_PER_RECORD == 0:
                # Here alone the processor waits for the device.
                far = progress.epoch + progress.done / self.order.steps
                progress.add(recent.read(progress), record=far)
            if interruption.due(recorded) and not ended:
                progress.add(recent.read(progress), record=None)
                self._save(progress, started)
                started = time.monotonic()
                interruption.saved(progress.step)
        figures = progress.close_epoch(float(self.schedule.get_last_lr()[0]))
        self.schedule.step()
        if weights_name(progress.epoch) in self._kept(progress.epoch) and self.world.is_main:
            state = {k: v.cpu().contiguous() for k, v in self.network.state_dict().items()}
            self.resume.keep_weights(weights_name(progress.epoch), state)
        spent = time.monotonic() - started
        self._save(progress, started)
        interruption.saved(progress.step)
        self._tell(progress.epoch, figures)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        share = (batches.waited - waited) / max(spent, 1e-9)
        say(
            f"epoch {progress.epoch}/{self.config.epochs}  {shown}  "
            f"{progress.seconds:.0f} s, {share:.0%} of this epoch's waiting for data"
        )

    def _save(self, progress: Progress, since: float) -> None:
        progress.seconds += time.monotonic() - since
        if self.world.is_main:
            self.resume.save(progress, self.network, self.optimizer, self.schedule)

    def _finish(self, progress: Progress, out: Path) -> Trained:
        if self.world.is_main:
            self.resume.copy_weights(self._kept(progress.epoch), out / "weights")
            columns = [pa.array(column) for column in zip(*progress.history, strict=True)]
            history = pa.table(columns, names=schema.HISTORY.names)
            steps = {"steps": progress.step}
            schema.write_table(out / "history.parquet", history, schema.HISTORY, steps)
        provenance: dict[str, Any] = {
            "training": self.key,
            "epoch": progress.epoch,
            "steps": progress.step,
            # With the same of these the same training gives the same bits.
            "made_on": {
                "device": kind_of(self.method.device),
                "processes": self.world.size,
                "threads": self.config.threads,
            },
        }
        if self.resume.accepted:
            provenance["accepted_code"] = self.resume.accepted
        if self.accepted_in_inputs:
            provenance["accepted_code_of_inputs"] = self.accepted_in_inputs
        return Trained(progress.step, round(progress.seconds, 1), provenance)

    def finish(self) -> None:
        """Removes the state of the training, once its results are where they belong."""
        if self.world.is_main:
            self.resume.delete()
