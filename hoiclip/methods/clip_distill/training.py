"""Trains the student, from files to files; no label is among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from hoiclip.contract.model_file import LARGEST_SCALE, Detector
from hoiclip.images.store import ImageStore
from hoiclip.methods.clip_distill.agreement import count_agreement
from hoiclip.methods.clip_distill.build import build_clip_distill
from hoiclip.methods.clip_distill.caches.inputs import DistillCaches, DistillPaths
from hoiclip.methods.clip_distill.model.config import DistillSettings
from hoiclip.methods.clip_distill.model.data import DistillData, held_out_rows, shuffled
from hoiclip.methods.clip_distill.model.method import ClipDistillMethod
from hoiclip.training.engine import Features
from hoiclip.training.features import CachedFeatures, ComputedFeatures
from hoiclip.training.trainer import Log, Trainer, start

SECTION = "clip_distill.train"


def train(
    params: Path, paths: DistillPaths, out: Path, resume_root: Path, log: Log
) -> dict[str, Any]:
    """Trains from the caches and weights, or goes on with an interrupted training.

    Writes `model.safetensors` (the last epoch), `weights` and `history.parquet` into the folder
    `out`.

    Args:
        params: the params file.
        paths: images, caches and pretrained weights.
        out: folder of the results.
        resume_root: where the state of an interrupted training is kept.
        log: called after each epoch with its number and figures by name.

    Returns:
        Steps, seconds, threads and device; images learnt from and held out; `agreement`, the share
        of the held-out images' pairs on whose best class student and teacher agree, None without
        such pairs.

    Raises:
        HoiclipError: a param, file or weight is wrong, or a loss is not a finite number.
    """
    settings = DistillSettings.read(params)
    config, teacher = settings.method.train, settings.method.teacher
    caches = DistillCaches.read(paths, settings.of_caches)
    if teacher.shuffle:
        caches = shuffled(caches, config.seed)
    held = held_out_rows(caches.images["file_name"].to_pylist(), config.held_out)
    place = start(config, SECTION, int((~held).sum()), str(paths.image_table))
    method = build_clip_distill(params, paths, caches.vocabulary).to(place.device)
    side, store = method.clip.image_size, ImageStore(paths.images)
    learnt, kept_out = (
        DistillData(caches, np.flatnonzero(rows).tolist(), teacher, side, store, method.clip_view)
        for rows in (~held, held)
    )
    features = _features(method, learnt, store, keep=config.keep_features)
    trainer = Trainer(method, learnt, features, config, place, paths, resume_root, log)
    trained = trainer.run(out)
    agreement = _agreement(method.eval(), kept_out, config.batch_size)
    sides = np.minimum(*(caches.images[key].to_numpy() for key in ("width", "height")))
    detector = Detector(
        method,
        settings.method.detections.transforms,
        {},
        trained.provenance,
        inference_scale=min(int(np.median(sides)), LARGEST_SCALE),
    )
    if place.world.is_main:
        detector.save(out / "model.safetensors")
    summary = {
        "seconds": trained.seconds,
        "steps": trained.steps,
        "threads": config.threads,
        "device": place.device.type,
        "images": len(learnt),
        "held_out": len(kept_out),
        "agreement": agreement,
    }
    trainer.finish()
    return summary


def _features(
    method: ClipDistillMethod, data: DistillData, store: ImageStore, *, keep: bool
) -> Features:
    """CLIP's features of the images; where they are kept, `data` gives no views any more."""
    if not keep:
        return ComputedFeatures(method.frozen_features, method.device)
    view, read, names = method.clip_view, store.read, data.file_names
    data.view = None
    return CachedFeatures(
        method.frozen_features,
        lambda index: view(read(names[index])),
        len(names),
        method.device,
        mirrored=False,
    )


@torch.inference_mode()
def _agreement(method: ClipDistillMethod, data: DistillData, batch_size: int) -> float | None:
    agreed = counted = 0
    for begin in range(0, len(data), batch_size):
        rows = range(begin, min(begin + batch_size, len(data)))
        batch = data.collate([data.sample(row, 0) for row in rows])
        assert batch.clip_pixels is not None  # which the data makes where it has a view
        features = method.frozen_features(batch.clip_pixels.to(method.device))
        outputs = method.network(*features, batch.pairs.to(method.device))
        agree, count = count_agreement(outputs, batch.targets.to(method.device))
        agreed, counted = agreed + agree, counted + count
    return round(agreed / counted, 4) if counted else None
