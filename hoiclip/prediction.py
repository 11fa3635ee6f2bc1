"""A detector over images → the predictions table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader

from hoiclip import schema
from hoiclip.boxes import cxcywh_to_xyxy
from hoiclip.config import check, from_mapping
from hoiclip.data.annotations import Annotations
from hoiclip.data.batch import Batch, InferenceDataset, collate
from hoiclip.data.images import ImageStore
from hoiclip.errors import ParamsError, WeightsError
from hoiclip.evaluation.hico import evaluate_hico
from hoiclip.evaluation.outputs import metrics
from hoiclip.model_file import Detector
from hoiclip.pair_nms import PairNms
from hoiclip.postprocess import Selection, enhancement, postprocess
from hoiclip.progress import track
from hoiclip.ranges import (
    BatchSize,
    Config,
    Count,
    CountOrZero,
    Power,
    Probability,
    Threads,
    Weight,
)
from hoiclip.set_prediction.outputs import Outputs


@dataclass(frozen=True, kw_only=True)
class NmsConfig(Config):
    """Pair NMS within each HOI class (paper: 0.7, 1, 0.5).

    Attributes:
        threshold: a pair goes above this product of IoUs; 0 turns NMS off.
        human_power: exponent of the human boxes' IoU.
        object_power: exponent of the object boxes' IoU.
        plus_one_extents: whether boxes end one pixel later, as in the released code.
    """

    threshold: Probability
    human_power: Power
    object_power: Power
    plus_one_extents: bool


@dataclass(frozen=True, kw_only=True)
class PredictConfig(Config):
    """Inference (`predict` in params.yaml).

    Attributes:
        device: `cpu`, `cuda` or `auto`.
        threads: CPU threads.
        batch_size: images per step; padding makes results depend on it in their last digits.
        top_k: (query, HOI class) rows kept per image before NMS (100).
        nms: pair NMS.
        enhancement_k: classes that the training-free enhancement keeps (10); 0 is none, null takes
            the best of `sweep_k` on the validation partition.
        sweep_k: values tried on the validation partition.
        enhancement_weight: factor on the enhancement (1).
        enhancement_kind: `cosine` (the paper) or `sigmoid` (the released code).
        inclusive_boxes: whether the network's boxes end at the last pixel inside, as those of a
            network trained on HOIA files do; then predictions end one pixel later.
    """

    device: Literal["cpu", "cuda", "auto"]
    threads: Threads
    batch_size: BatchSize
    top_k: Count
    nms: NmsConfig
    enhancement_k: CountOrZero | None
    sweep_k: list[CountOrZero]
    enhancement_weight: Weight
    enhancement_kind: Literal["cosine", "sigmoid"]
    inclusive_boxes: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            self.enhancement_k is not None or bool(self.sweep_k),
            "sweep_k: empty, but enhancement_k null needs values to choose from",
        )


SCORES = (
    "top_k",
    "nms",
    "enhancement_k",
    "enhancement_weight",
    "enhancement_kind",
    "inclusive_boxes",
)
"""What of `PredictConfig` a model file may state about its scores (`Detector.scores`)."""


def as_stated(
    config: PredictConfig, scores: Mapping[str, Any], who: str = "the model file"
) -> PredictConfig:
    """`config` with the values of `scores` in the place of its own; `nms` may be stated in part.

    Args:
        config: what holds where `scores` is silent.
        scores: some of `SCORES`.
        who: where `scores` comes from, for messages.

    Raises:
        WeightsError: an unknown key, or a value of another type or out of range.
    """
    if strange := set(scores) - set(SCORES):
        raise WeightsError(f"{who} states scores.{min(strange)}; known are {', '.join(SCORES)}")
    merged = {**asdict(config), **scores}
    if isinstance(nms := scores.get("nms"), Mapping):
        merged["nms"] = {**asdict(config.nms), **nms}
    try:
        return from_mapping(PredictConfig, merged, "scores")
    except ParamsError as error:
        raise WeightsError(f"{who} states {error}") from None


def predict(
    detector: Detector,
    images: pa.Table,
    store: ImageStore,
    config: PredictConfig,
    ks: Sequence[int],
    device: torch.device,
) -> list[pa.Table]:
    """Predictions of every image, best first, once for each k of the enhancement.

    The network runs once; memory does not grow with the number of images beyond the tables.

    Args:
        detector: network, CLIP and vocabulary; what it states about scores goes before `config`.
        images: rows of `schema.IMAGES`.
        store: where the images are.
        config: batch size, top k, NMS, kind and weight of the enhancement.
        ks: classes that the training-free enhancement keeps; 0 is none.
        device: to compute on.

    Returns:
        One table of `schema.PREDICTIONS` per k. Boxes are in pixels of the original image.

    Raises:
        WeightsError: what the network gives for an image is not finite.
    """
    config = as_stated(config, detector.scores)
    dataset = InferenceDataset(images, store, detector.transforms, detector.clip.preprocess)
    loader = DataLoader(dataset, config.batch_size, collate_fn=collate)
    batches = track(loader, "predict", len(loader))
    names, ids = images["file_name"], images["image_id"].to_numpy()
    return predict_batches(
        detector, batches, ids, config, ks, device, lambda index: names[index].as_py()
    )


def predict_batches(
    detector: Detector,
    batches: Iterable[Batch],
    image_ids: np.ndarray,
    config: PredictConfig,
    ks: Sequence[int],
    device: torch.device,
    name_of: Callable[[int], str],
) -> list[pa.Table]:
    """As `predict`, of images that stand in batches already.

    Args:
        detector: network, CLIP and vocabulary.
        batches: as `hoiclip.data.batch.collate` makes them, with CLIP's input.
        image_ids: (I,) int64 id of the image of each index of the batches.
        config: as for `predict`; what the detector states about scores is in it.
        ks: as for `predict`.
        device: to compute on.
        name_of: what messages call the image of an index.
    """
    tables: list[list[pa.Table]] = [[] for _ in ks]
    detector.model.eval().to(device)
    detector.clip.to(device)
    for batch in batches:
        selections, boxes = _predict_batch(detector, batch, config, ks, device, name_of)
        for table, selection in zip(tables, selections, strict=True):
            table.append(_rows(selection, *boxes, image_ids[batch.indices]))
    empty = schema.PREDICTIONS.empty_table()
    return [pa.concat_tables([empty, *parts]).combine_chunks() for parts in tables]


@torch.inference_mode()
def _predict_batch(
    detector: Detector,
    batch: Batch,
    config: PredictConfig,
    ks: Sequence[int],
    device: torch.device,
    name_of: Callable[[int], str],
) -> tuple[list[Selection], tuple[np.ndarray, np.ndarray]]:
    clip = detector.clip.encode_image_tokens(batch.clip_pixels.to(device))
    mask = None if batch.padding_mask is None else batch.padding_mask.to(device)
    outputs = detector.model(batch.images.to(device), mask, clip.tokens, clip.global_feature)
    _check_finite(outputs, name_of, batch.indices)
    scale = torch.tensor(batch.sizes, dtype=torch.float32, device=device).repeat(1, 2)[:, None]
    human_boxes = (cxcywh_to_xyxy(outputs.human_boxes_cxcywh[-1]) * scale).cpu().numpy()
    object_boxes = (cxcywh_to_xyxy(outputs.object_boxes_cxcywh[-1]) * scale).cpu().numpy()
    object_logits = outputs.object_logits[-1]
    hoi_prob = outputs.hoi_logits[-1].sigmoid().cpu().numpy()
    object_prob = object_logits[..., :-1].sigmoid().cpu().numpy()
    similarity = outputs.clip_similarity.cpu().numpy()
    if detector.vocabulary.has_missing_objects:
        says_missing = object_logits[..., :-1].argmax(-1) == detector.vocabulary.num_objects
        object_boxes[says_missing.cpu().numpy()] = np.nan
    weight, kind = config.enhancement_weight, config.enhancement_kind
    added = [enhancement(similarity, k, weight, kind) for k in ks]
    selections = postprocess(
        hoi_prob,
        object_prob,
        human_boxes,
        object_boxes,
        detector.vocabulary.object_of_hoi,
        added,
        top_k=config.top_k,
        nms=pair_nms_of(config.nms),
        threads=config.threads,
    )
    if config.inclusive_boxes:
        human_boxes[..., 2:] += 1
        object_boxes[..., 2:] += 1
    return selections, (human_boxes, object_boxes)


def _check_finite(outputs: Outputs, name_of: Callable[[int], str], indices: Sequence[int]) -> None:
    """Raises WeightsError naming the first image whose scores or boxes hold NaN or an infinity."""
    last = (
        outputs.hoi_logits[-1],
        outputs.object_logits[-1],
        outputs.human_boxes_cxcywh[-1],
        outputs.object_boxes_cxcywh[-1],
        outputs.clip_similarity,
    )
    finite = torch.stack([torch.isfinite(values).flatten(1).all(1) for values in last]).all(0)
    if not finite.all():
        problem = "the model gives scores or boxes that are not finite: its weights are unsound"
        raise WeightsError(f"{name_of(indices[finite.int().argmin()])}: {problem}")


def pair_nms_of(config: NmsConfig) -> PairNms | None:
    """NMS settings as post-processing takes them; None where it is off."""
    if config.threshold == 0:
        return None
    return PairNms(
        config.threshold, config.human_power, config.object_power, config.plus_one_extents
    )


def _rows(
    selection: Selection,
    human_boxes_xyxy: np.ndarray,
    object_boxes_xyxy: np.ndarray,
    image_ids: np.ndarray,
) -> pa.Table:
    place = selection.image, selection.query
    object_boxes = object_boxes_xyxy[place]
    columns = {
        "image_id": image_ids[selection.image],
        "query": selection.query,
        "hoi": selection.hoi,
        "human_box_xyxy": schema.numpy_to_fixed_lists(human_boxes_xyxy[place]),
        "object_box_xyxy": schema.numpy_to_fixed_lists(object_boxes, np.isnan(object_boxes).any(1)),
        "score": selection.score,
        "hoi_score": selection.hoi_score,
        "object_score": selection.object_score,
        "clip_score": selection.clip_score,
    }
    return pa.table(columns).cast(schema.PREDICTIONS)


def choose_k(
    detector: Detector,
    validation: Annotations,
    store: ImageStore,
    classes: pa.Table,
    config: PredictConfig,
    device: torch.device,
) -> dict[str, Any]:
    """Validation mAP (Default, Full, percent) of every k of `config.sweep_k`, and the best k.

    Of equal ones the smallest k is best. The network runs once.
    """
    tables = predict(detector, validation.images, store, config, config.sweep_k, device)
    full = {}
    for k, predictions in zip(config.sweep_k, tables, strict=True):
        result = evaluate_hico(predictions, validation, detector.vocabulary, classes)
        full[k] = metrics(result)["default"]["full"]
    best = max(sorted(full), key=lambda k: full[k] or 0.0)
    return {"full": {str(k): value for k, value in full.items()}, "best": best}
