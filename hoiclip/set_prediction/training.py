"""Trains a method that predicts a set of pairs, from files to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from hoiclip.contract.method import Build
from hoiclip.contract.model_file import LARGEST_SCALE, Detector
from hoiclip.core.config import load
from hoiclip.set_prediction.config import TrainConfig
from hoiclip.set_prediction.criterion import Criterion
from hoiclip.set_prediction.dataset import TrainingDataset
from hoiclip.set_prediction.files import TrainData, TrainPaths
from hoiclip.set_prediction.matcher import HungarianMatcher
from hoiclip.set_prediction.model.method import SetPrediction
from hoiclip.training.batches import Aspects
from hoiclip.training.engine import Features
from hoiclip.training.features import CachedFeatures, ComputedFeatures
from hoiclip.training.trainer import Log, Trainer, start

SECTION = "train"
COMPILED_MULTIPLE = 64
"""Of which the sides of a compiled network's images are, px: kernels of few sizes."""


def train(
    build: Build[SetPrediction[Any], TrainPaths],
    params: Path,
    paths: TrainPaths,
    out: Path,
    resume_root: Path,
    log: Log,
) -> dict[str, Any]:
    """Trains from the caches and weights, or goes on with an interrupted training.

    Writes `model.safetensors` (the last epoch), `weights` and `history.parquet` into the
    folder `out`.

    Returns:
        Steps, seconds, threads and device.

    Args:
        build: makes the method.
        params: the params file.
        paths: data, caches and pretrained weights.
        out: folder of the results.
        resume_root: where the state of an interrupted training is kept.
        log: called after each epoch with its number and figures by name.

    Raises:
        HoiclipError: a param, file or weight is wrong, or a loss is not a finite number.
    """
    config = load(TrainConfig, SECTION, params)
    data = TrainData.read(paths)
    place = start(config, SECTION, len(data.train.images), str(paths.train))
    method = build(params, paths, data.vocabulary).to(place.device)
    method.criterion = Criterion(
        config.loss,
        HungarianMatcher(config.matching),
        data.vocabulary.num_objects + data.vocabulary.has_missing_objects + 1,
        torch.from_numpy(data.seen),
    ).to(place.device)
    dataset, features = _shown(method, data, config, place.device)
    aspects = Aspects(data.aspects(), config.aspect_window) if config.aspect_window else None
    trainer = Trainer(method, dataset, features, config, place, paths, resume_root, log, aspects)
    trained = trainer.run(out)
    detector = Detector(
        method,
        config.transforms,
        {},
        trained.provenance,
        inference_scale=data.median_shorter_side(LARGEST_SCALE),
    )
    if place.world.is_main:
        detector.save(out / "model.safetensors")
    summary = {
        "seconds": trained.seconds,
        "steps": trained.steps,
        "threads": config.threads,
        "device": place.device.type,
    }
    trainer.finish()
    return summary


def _shown(
    method: SetPrediction, data: TrainData, config: TrainConfig, device: torch.device
) -> tuple[TrainingDataset, Features]:
    """The images as training shows them, and where features of their views come from."""
    view = method.training_view
    cached = view is not None and config.transforms.only_flips
    dataset = TrainingDataset(
        data.train,
        data.store,
        data.vocabulary,
        config.transforms,
        max_boxes=method.config.num_queries,
        seed=config.seed,
        clip_view=None if cached else view,
        multiple=COMPILED_MULTIPLE if config.compile else 1,
    )
    if view is None or not cached:
        return dataset, ComputedFeatures(method.frozen_features, device)
    names = dataset.file_names
    read = data.store.read
    features = CachedFeatures(
        method.frozen_features, lambda index: view(read(names[index])), len(names), device
    )
    return dataset, features
