"""A whole tiny method, on a vocabulary with a verb that has no object, and made-up caches."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch

from hoiclip.clip.encoder import ClipVisual
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.detr.file import PretrainedDetr
from hoiclip.detr.network import Detr
from hoiclip.methods.clip_distill.caches.classes import classes_of_object
from hoiclip.methods.clip_distill.caches.config import DetectionsConfig, PassConfig
from hoiclip.methods.clip_distill.caches.detections import Detections
from hoiclip.methods.clip_distill.caches.inputs import DistillCaches
from hoiclip.methods.clip_distill.caches.pairs import make_pairs
from hoiclip.methods.clip_distill.caches.tables import ImageCosines, PairCosines
from hoiclip.methods.clip_distill.model.config import (
    ClipDistillConfig,
    DistillationLossConfig,
    DistillScoring,
    DistillTrainConfig,
    StudentConfig,
    TeacherConfig,
)
from hoiclip.methods.clip_distill.model.method import ClipDistillMethod
from hoiclip.model.config import BackboneConfig, DetectorConfig
from hoiclip.text_embeddings.table import TextEmbeddings

VOCABULARY = Vocabulary(
    ("cup", "person", "ball"),
    (Verb("hold", "holding"), Verb("kick", "kicking"), Verb("walk", None, "walking")),
    (Hoi(0, 0), Hoi(0, 2), Hoi(1, 2), Hoi(0, 1), Hoi(2, None)),
)
# The detector's own order, with a class that the vocabulary has not.
DETECTED = ("person", "zebra", "ball", "cup")
QUERIES = 8

SIZES = DetectorConfig(
    backbone=BackboneConfig(
        block="basic", layers=[1, 1, 1, 1], channels=[8, 8, 16, 16], stride=32
    ),
    width=16, encoder_layers=1, heads=2, feed_forward=16, dropout=0.1,
)  # fmt: skip


def make_config(detections=None, student=None) -> ClipDistillConfig:
    found = {
        "num_queries": None, "test_scale": 0, "max_side": 1333, "score_threshold": 0.2,
        "nms_iou": 0.5, "min_instances": 2, "max_instances": 15, "max_pairs": 64,
    }  # fmt: skip
    model = {
        "branches": ["global", "union", "instance"], "bank_heads": 2, "relatedness": "self",
        "dropout": 0.1,
    }  # fmt: skip
    return ClipDistillConfig(
        caches=PassConfig(device="cpu", threads=1, workers=0, batch_size=2),
        detections=DetectionsConfig(**(found | (detections or {}))),
        teacher=TeacherConfig(
            view="pad", temperature=20.0, null_prompt=True, global_scope="object",
            filter="entropy", shuffle=False,
        ),
        model=StudentConfig(**(model | (student or {}))),
        train=DistillTrainConfig(
            seed=0, threads=1, device="cpu", precision="float32", workers=0, epochs=2,
            lr_drop_epoch=2, lr_drop_factor=0.1, batch_size=2, lr=0.01, weight_decay=0.0,
            clip_norm=1.0, keep_every=0, keep_features=True, held_out=0.0,
            loss=DistillationLossConfig(),
        ),
        predict=DistillScoring(detection_power=1.0, global_power=0.5),
    )  # fmt: skip


def unit_rows(rng: np.random.Generator, count: int, width: int) -> np.ndarray:
    values = rng.normal(size=(count, width))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def make_method(clip_config: dict, seed: int = 0, **changes) -> ClipDistillMethod:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    clip = ClipVisual(clip_config)
    detr = Detr(SIZES, 2, len(DETECTED), QUERIES).eval()
    with torch.no_grad():
        # Queries that see different things: enough of each class.
        detr.queries.weight.mul_(5)
        detr.class_head.weight.mul_(6)
        detr.box_head.layers[-1].weight.mul_(12)
    counts = {"hoi": 5, "object": 4, "no_object": 1, "verb": 3, "null": 4}
    text = TextEmbeddings(**{k: unit_rows(rng, n, clip.embed_dim) for k, n in counts.items()})
    return ClipDistillMethod.build(
        make_config(**changes), SIZES, clip, PretrainedDetr(detr, DETECTED), text, VOCABULARY
    )


def make_detections(rng: np.random.Generator, objects: list[int], side: int = 64) -> Detections:
    count = len(objects)
    low = rng.random((count, 2)) * side / 2
    boxes = np.concatenate([low, low + 4 + rng.random((count, 2)) * side / 3], 1)
    return Detections(
        boxes.astype(np.float32),
        (0.3 + 0.7 * rng.random(count)).astype(np.float32),
        np.array(objects, np.int64),
        rng.normal(size=(count, SIZES.width)).astype(np.float32),
    )


def make_caches(seed: int = 0) -> DistillCaches:
    """Four images: two people and a ball; nobody; a person alone; a person, a cup and a ball."""
    rng = np.random.default_rng(seed)
    found = [make_detections(rng, each) for each in ([1, 2, 1], [0], [1], [1, 0, 2])]
    classes = classes_of_object(VOCABULARY)
    unions = []
    for each in found:
        pairs = make_pairs(each, VOCABULARY)
        mask = classes.mask[pairs.objects]
        cosines = np.where(mask, rng.normal(0.25, 0.05, mask.shape), 0).astype(np.float32)
        null = rng.normal(0.25, 0.05, len(pairs)).astype(np.float32)
        unions.append(PairCosines(pairs, cosines, null))
    whole = ImageCosines(
        rng.normal(0.25, 0.05, (4, 5)).astype(np.float32),
        rng.normal(0.25, 0.05, (4, 4)).astype(np.float32),
    )
    images = pa.table(
        {
            "image_id": np.arange(4),
            "file_name": [f"{index}.png" for index in range(4)],
            "width": np.array([64, 64, 64, 96], np.int32),
            "height": np.array([64, 64, 48, 64], np.int32),
        }
    )
    return DistillCaches(VOCABULARY, images, classes, found, unions, whole)
