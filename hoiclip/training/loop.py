"""The training loop: epochs, validation, best weights, exact resume."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import DataLoader

import hoiclip
from hoiclip import schema
from hoiclip.errors import NonFiniteLossError, ParamsError
from hoiclip.evaluation.hico import evaluate_hico
from hoiclip.evaluation.outputs import metrics
from hoiclip.files import file_identity, write_json
from hoiclip.model.config import ModelConfig
from hoiclip.model_file import Detector
from hoiclip.prediction import PredictConfig, predict
from hoiclip.progress import say, track
from hoiclip.runtime import prepare
from hoiclip.set_prediction.criterion import Criterion
from hoiclip.set_prediction.dataset import LabelledBatch, TrainingDataset
from hoiclip.set_prediction.matcher import HungarianMatcher
from hoiclip.training.clip_features import CachedFeatures, ComputedFeatures
from hoiclip.training.config import TrainConfig
from hoiclip.training.inputs import TrainData, TrainPaths, build_detector
from hoiclip.training.optimizer import build_optimizer
from hoiclip.training.state import Progress, ResumeFolder

STEPS_PER_RECORD = 20


class Trainer:
    """Trains a detector.

    Args:
        paths: data, caches and pretrained weights.
        model_config: the network.
        config: optimisation.
        predict_config: how validation predicts; its enhancement is left out.
        resume_root: where the state of an interrupted training is kept.
        log: called after each epoch with its epoch number and figures by name.
    """

    def __init__(
        self,
        paths: TrainPaths,
        model_config: ModelConfig,
        config: TrainConfig,
        predict_config: PredictConfig,
        resume_root: Path,
        log: Callable[[int, dict[str, float]], None],
    ) -> None:
        self.config, self.predict_config, self.log = config, predict_config, log
        self.device = prepare(config.device, config.threads, config.seed)
        self.data = TrainData.read(paths)
        images = len(self.data.train.images)
        if images < config.batch_size:
            problem = f"{paths.train} has {images} images, which make no whole batch"
            raise ParamsError(f"train.batch_size: {config.batch_size}, but {problem}")
        self.detector = build_detector(
            paths,
            self.data.vocabulary,
            model_config,
            config.transforms,
            warm_start=config.warm_start,
            inference_scale=self.data.median_shorter_side,
        )
        self.model = self.detector.model.to(self.device)
        vocabulary = self.data.vocabulary
        num_object_logits = len(self.model.object_classifier.classifier.table)
        self.criterion = Criterion(
            config.loss,
            HungarianMatcher(config.matching),
            num_object_logits,
            torch.from_numpy(self.data.seen),
        ).to(self.device)
        cached = config.transforms.only_flips
        self.dataset = TrainingDataset(
            self.data.train,
            self.data.store,
            vocabulary,
            config.transforms,
            max_boxes=model_config.num_queries,
            seed=config.seed,
            clip_view=None if cached else self.detector.clip.preprocess,
        )
        self.clip_features = (
            CachedFeatures(
                self.detector.clip, self.data.store, self.dataset.file_names, self.device
            )
            if cached
            else ComputedFeatures(self.detector.clip, self.device)
        )
        self.optimizer, self.schedule = build_optimizer(self.model, config)
        configs = (model_config, config, predict_config)
        self.identity = {
            "params": [dataclasses.asdict(c) for c in configs],
            "files": file_identity(list(vars(paths).values())),
            "code": file_identity([Path(hoiclip.__file__).parent]),
        }
        self.resume = ResumeFolder(resume_root, self.identity)

    def run(self, out: Path) -> dict[str, Any]:
        """Trains to the end, going on where an interrupted run of the same inputs stopped.

        Writes `model.safetensors`, `history.parquet` and `summary.json` into `out`.

        Raises:
            InputError: the interrupted run's state is damaged, or another process is at it.
            NonFiniteLossError: a loss is not a finite number.
        """
        with self.resume.locked():
            return self._run(out)

    def _run(self, out: Path) -> dict[str, Any]:
        progress = self.resume.load(self.model, self.optimizer, self.schedule)
        if progress is None:
            progress = Progress(0, 0, 0.0, best=(-1.0, 0), best_weights=None, history=[])
        else:
            say(f"going on after epoch {progress.epoch} of {self.config.epochs}")
            self._log_again(progress)
        while progress.epoch < self.config.epochs:
            started = time.monotonic()
            figures = self._epoch(progress)
            progress.epoch += 1
            self.schedule.step()
            last = progress.epoch == self.config.epochs
            if last or progress.epoch % self.config.validate_every == 0:
                figures |= self._validate(progress)
            record = (progress.step, float(progress.epoch))
            progress.history += [(*record, f"epoch/{k}", v) for k, v in figures.items()]
            progress.seconds += time.monotonic() - started
            self.resume.save(progress, self.model, self.optimizer, self.schedule)
            self.log(progress.epoch, figures)
            shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
            say(f"epoch {progress.epoch}/{self.config.epochs}  {shown}  {progress.seconds:.0f} s")
        return self._finish(progress, out)

    def _log_again(self, progress: Progress) -> None:
        """Gives the log the epochs of earlier sittings, whose live files may be gone."""
        epochs: dict[int, dict[str, float]] = {}
        for _, epoch, name, value in progress.history:
            if name.startswith("epoch/"):
                epochs.setdefault(int(epoch), {})[name.removeprefix("epoch/")] = value
        for epoch, figures in epochs.items():
            self.log(epoch, figures)

    def _loader(self, epoch: int) -> DataLoader:
        order = torch.Generator().manual_seed(self.config.seed * 100_003 + epoch)
        self.dataset.epoch = epoch
        return DataLoader(
            self.dataset,
            self.config.batch_size,
            shuffle=True,
            generator=order,
            num_workers=self.config.workers,
            collate_fn=self.dataset.collate,
            drop_last=True,
        )

    def _epoch(self, progress: Progress) -> dict[str, float]:
        self.model.train()
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
        return {**means, "lr": self.schedule.get_last_lr()[0]}

    def _step(self, batch: LabelledBatch, progress: Progress) -> dict[str, float]:
        clip = self.clip_features(batch)
        mask = None if batch.padding_mask is None else batch.padding_mask.to(self.device)
        images = batch.images.to(self.device, non_blocking=True)
        outputs = self.model(images, mask, clip.tokens, clip.global_feature)
        losses: dict[str, Tensor] = self.criterion(outputs, batch.targets.to(self.device))
        values = {name: value.item() for name, value in losses.items()}
        if not torch.isfinite(losses["total"]):
            names = ", ".join(self.dataset.file_names[index] for index in batch.indices[:4])
            raise NonFiniteLossError(
                f"epoch {progress.epoch + 1}, step {progress.step + 1}: the loss is not finite "
                f"({values}), first images {names}. Lower train.lr or train.clip_norm"
            )
        losses["total"].backward()
        if self.config.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        # Here, not before the backward pass: the next forward pass needs the memory.
        self.optimizer.zero_grad(set_to_none=True)
        return values

    def _validate(self, progress: Progress) -> dict[str, float]:
        if not len(self.data.validation.images):
            return {}
        validation = self.data.validation
        (predictions,) = predict(
            self.detector, validation.images, self.data.store, self.predict_config, [0], self.device
        )
        result = evaluate_hico(predictions, validation, self.data.vocabulary, self.data.classes)
        found = metrics(result)["default"]
        full = found["full"]
        if full is not None and full > progress.best[0]:
            progress.best = (full, progress.epoch)
            weights = self.model.state_dict()
            progress.best_weights = {name: kept.cpu().clone() for name, kept in weights.items()}
        return {f"validation/{name}": v for name, v in found.items() if v is not None}

    def _finish(self, progress: Progress, out: Path) -> dict[str, Any]:
        kept = progress.epoch
        if self.config.keep == "best" and progress.best_weights is not None:
            self.model.load_state_dict(progress.best_weights)
            kept = progress.best[1]
        provenance = {"training": self.identity["params"], "epoch": kept, "steps": progress.step}
        detector: Detector = dataclasses.replace(self.detector, provenance=provenance)
        detector.save(out / "model.safetensors")
        columns = [pa.array(column) for column in zip(*progress.history, strict=True)]
        history = pa.table(columns, names=schema.HISTORY.names)
        provenance = {"steps": progress.step}
        schema.write_table(out / "history.parquet", history, schema.HISTORY, provenance)
        summary = {
            "seconds": round(progress.seconds, 1),
            "steps": progress.step,
            "epoch_kept": kept,
            "validation_full": None if progress.best[1] == 0 else progress.best[0],
            "threads": self.config.threads,
            "device": self.device.type,
        }
        write_json(out / "summary.json", summary)
        self.resume.delete()
        return summary
