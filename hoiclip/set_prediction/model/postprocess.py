"""From the network's scores to the predictions of an image: fusion, the best pairs, pair NMS.

NumPy only: predictions can be scored again without the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from typing import Literal

import numpy as np

from hoiclip.contract.scored_pairs import ScoredPairs
from hoiclip.pairs.pair_nms import PairNms, pair_nms
from hoiclip.set_prediction.model.top_pairs import top_of_sweep

EnhancementKind = Literal["cosine", "sigmoid"]

IMAGES_PER_BLOCK = 64


def enhancement(
    clip_similarity: np.ndarray, k: int, weight: float, kind: EnhancementKind = "cosine"
) -> np.ndarray:
    """What CLIP's view of the whole image adds to each HOI class, without training.

    `cosine` (the paper): the similarity of the k most similar classes, 0 for the others.
    `sigmoid` (the released code): the sigmoid of that, which gives the others 0.5.
    Equal similarities are taken in the order of the classes; k = 0 adds nothing in either kind.

    Args:
        clip_similarity: (B, C) cosines of image and HOI text embeddings.
        k: number of classes kept; all of them where k >= C.
        weight: factor on the result.
        kind: `cosine` or `sigmoid`.

    Returns:
        (B, C) float32.

    Raises:
        ValueError: k is negative or `kind` is unknown.
    """
    if kind not in ("cosine", "sigmoid"):
        raise ValueError(f"unknown enhancement {kind!r}, expected 'cosine' or 'sigmoid'")
    if k < 0:
        raise ValueError(f"enhancement k {k} is negative")
    similarity: np.ndarray = np.asarray(clip_similarity, np.float32)
    num_classes = similarity.shape[1]
    if k == 0:
        return np.zeros_like(similarity)
    if k < num_classes:
        least = np.partition(similarity, num_classes - k, axis=1)[:, num_classes - k, None]
        above = similarity > least
        level = similarity == least
        room = k - above.sum(axis=1, keepdims=True)
        similarity = np.where(above | (level & (level.cumsum(axis=1) <= room)), similarity, 0)
    if kind == "sigmoid":
        similarity = 1 / (1 + np.exp(-similarity))
    return (similarity * np.float32(weight)).astype(np.float32, copy=False)


def postprocess(
    hoi_prob: np.ndarray,
    object_prob: np.ndarray,
    human_boxes_xyxy: np.ndarray,
    object_boxes_xyxy: np.ndarray,
    object_of_hoi: np.ndarray,
    enhancements: Sequence[np.ndarray | None],
    *,
    top_k: int = 100,
    nms: PairNms | None = None,
    threads: int = 2,
) -> list[ScoredPairs]:
    """Fusion, the best `top_k` (query, HOI class) and pair NMS of B images.

    Several enhancements (a sweep over k) share one pass over the scores. The scores are never held
    fused for more than one image per thread.

    Args:
        hoi_prob: (B, Q, C) sigmoid of the HOI logits.
        object_prob: (B, Q, O) sigmoid of the object logits; O > max(object_of_hoi).
        human_boxes_xyxy: (B, Q, 4) in pixels of the original image, not clipped.
        object_boxes_xyxy: (B, Q, 4) likewise; NaN where there is no object.
        object_of_hoi: (C,) object index of each HOI class.
        enhancements: one (B, C) array per wanted result, or None for no enhancement.
        top_k: rows per image before NMS.
        nms: pair NMS within each image and HOI class; None for none.
        threads: number of threads; the result does not depend on it.

    Returns:
        One `ScoredPairs` per enhancement. Its score is hoi_score + object_score² + clip_score,
        where hoi_score is the HOI probability, object_score that of the HOI class's object and
        clip_score the enhancement.

    Raises:
        ValueError: a score is NaN, or an HOI class names an object without scores.
    """
    hoi_prob = np.asarray(hoi_prob, np.float32)
    object_prob = np.asarray(object_prob, np.float32)
    num_images, _, num_classes = hoi_prob.shape
    if object_prob.shape[2] <= np.max(object_of_hoi, initial=-1):
        raise ValueError(
            f"an HOI class has object {np.max(object_of_hoi)}, "
            f"but there are scores of {object_prob.shape[2]} objects"
        )
    added = np.zeros((len(enhancements), num_images, num_classes), np.float32)
    for row, values in zip(added, enhancements, strict=True):
        row[:] = 0 if values is None else values

    def block(start: int) -> list[ScoredPairs]:
        part = slice(start, start + IMAGES_PER_BLOCK)
        hoi, objects = hoi_prob[part], object_prob[part]
        tops = top_of_sweep(hoi, objects, object_of_hoi, added[:, part], top_k)
        results = []
        for enhancement_, flat in zip(added[:, part], tops, strict=True):
            image = np.repeat(np.arange(len(hoi)), flat.shape[1])
            query, hoi_class = np.divmod(flat.ravel().astype(np.int32), num_classes)
            hoi_score = hoi[image, query, hoi_class]
            object_score = objects[image, query, object_of_hoi[hoi_class]]
            clip_score = enhancement_[image, hoi_class]
            score = np.square(object_score) + hoi_score + clip_score
            humans, others = (
                boxes[image + start, query] for boxes in (human_boxes_xyxy, object_boxes_xyxy)
            )
            columns = (image + start, query, hoi_class, score, hoi_score, object_score, clip_score,
                       humans, others)  # fmt: skip
            if nms is not None:
                group = image * num_classes + hoi_class
                keep = pair_nms(humans, others, group, score, **asdict(nms))
                columns = tuple(column[keep] for column in columns)
            results.append(ScoredPairs(*columns))
        return results

    starts = range(0, max(num_images, 1), IMAGES_PER_BLOCK)
    with ThreadPoolExecutor(threads) as pool:
        blocks = list(pool.map(block, starts))
    return [
        ScoredPairs(
            *(
                np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(ScoredPairs)
            )
        )
        for parts in zip(*blocks, strict=True)
    ]
