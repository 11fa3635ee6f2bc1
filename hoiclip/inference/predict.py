"""A detector over images → the predictions table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from hoiclip.batches.batch import Batch, InferenceDataset
from hoiclip.batches.loading import by_size, shard_batches
from hoiclip.contract.method import Method, NotFiniteError, RankSettings
from hoiclip.contract.model_file import Detector
from hoiclip.contract.scored_pairs import ScoredPairs
from hoiclip.core import schema
from hoiclip.core.config import from_mapping
from hoiclip.errors import ParamsError, WeightsError
from hoiclip.images.store import ImageStore
from hoiclip.pairs.pair_nms import PairNms
from hoiclip.passes import in_order, shards_of
from hoiclip.progress import track
from hoiclip.util.ranges import BatchSize, Config, Count, Device, Threads, Workers


@dataclass(frozen=True, kw_only=True)
class PredictConfig(Config):
    """Inference (`predict` in params.yaml).

    Attributes:
        device: `cpu`, `cuda`, `cuda:NUMBER` or `auto`.
        threads: CPU threads.
        batch_size: images per step; padding makes results depend on it in their last digits.
        workers: processes that load images beside the predicting one; 0 loads in it.
        top_k: (pair, HOI class) rows kept per image before NMS (100).
        nms: pair NMS.
        inclusive_boxes: whether the network's boxes end at the last pixel inside, as those of a
            network trained on HOIA files do; then predictions end one pixel later.
    """

    device: Device
    threads: Threads
    batch_size: BatchSize
    top_k: Count
    nms: PairNms
    workers: Workers = 0
    inclusive_boxes: bool = False

    @property
    def ranking(self) -> RankSettings:
        """How many pairs of an image are kept, and which suppress each other."""
        return RankSettings(self.top_k, self.nms if self.nms.threshold else None, self.threads)


SCORES = ("top_k", "nms", "inclusive_boxes")
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


def with_scoring(
    detector: Detector, asked: Mapping[str, Any], who: str = "the command line"
) -> Detector:
    """`detector` with values of its method's `scoring` replaced.

    Args:
        detector: its method is changed.
        asked: some of the keys of the method's `scoring`.
        who: where `asked` comes from, for messages.

    Raises:
        WeightsError: an unknown key, or a value of another type or out of range.
    """
    scoring = detector.method.scoring
    cls = type(scoring)
    try:
        merged = from_mapping(cls, {**asdict(scoring), **asked}, "scoring")
    except ParamsError as error:
        title = detector.method.title
        raise WeightsError(f"{who} states {error}, of a model of {title}") from None
    detector.method.scoring = merged
    return detector


def predict(
    detector: Detector,
    images: pa.Table,
    store: ImageStore,
    config: PredictConfig,
    device: torch.device,
    scorings: Sequence[Config] | None = None,
) -> list[pa.Table]:
    """Predictions of every image, best first, once for each scoring.

    The network runs once, in the shards of `hoiclip.passes`; memory does not grow with the
    number of images beyond the tables.

    Args:
        detector: the method; what it states about scores goes before `config`.
        images: rows of `schema.IMAGES`.
        store: where the images are.
        config: batch size, top k, NMS.
        device: to compute on.
        scorings: how the method joins the parts of a score; None: its own.

    Returns:
        One table of `schema.PREDICTIONS` per scoring. Boxes are in pixels of the original image.

    Raises:
        WeightsError: what the network gives for an image is not finite.
    """
    rows, alike = shards_of(len(images)), by_size(images, detector.transforms)
    shards = list(predict_shards(detector, alike, store, config, device, rows, scorings))
    empty = schema.PREDICTIONS.empty_table()
    count = 1 if scorings is None else len(scorings)
    return [
        in_order(pa.concat_tables([empty, *(tables[number] for tables in shards)]), images)
        for number in range(count)
    ]


def predict_shards(
    detector: Detector,
    images: pa.Table,
    store: ImageStore,
    config: PredictConfig,
    device: torch.device,
    shards: Sequence[range],
    scorings: Sequence[Config] | None = None,
) -> Iterator[list[pa.Table]]:
    """As `predict`, of the images of some rows of the table at a time.

    Little is padded where the images are in the order of `hoiclip.batches.loading.by_size`.
    """
    config = as_stated(config, detector.scores)
    method = detector.method.to(device)
    dataset = InferenceDataset(
        images, store, detector.transforms, method.clip_view, method.clip_source
    )
    loaded = shard_batches(dataset, shards, config.batch_size, config.workers, device)
    names, ids = images["file_name"], images["image_id"].to_numpy()
    for rows, (batches, count) in zip(shards, loaded, strict=True):
        yield predict_batches(
            method,
            track(batches, f"predict from image {rows.start}", count),
            ids,
            config,
            lambda index: names[index].as_py(),
            scorings,
        )


def predict_batches(
    method: Method,
    batches: Iterable[Batch],
    image_ids: np.ndarray,
    config: PredictConfig,
    name_of: Callable[[int], str],
    scorings: Sequence[Config] | None = None,
) -> list[pa.Table]:
    """As `predict`, of images that stand in batches already.

    Args:
        method: on the device to compute on.
        batches: as `hoiclip.batches.batch.collate` makes them, with the method's `clip_view` of its
            `clip_source`; rows come in the order of their indices.
        image_ids: (I,) int64 id of the image of each index of the batches.
        config: as for `predict`; what the model file states about scores is in it.
        name_of: what messages call the image of an index.
        scorings: as for `predict`.
    """
    scorings = [method.scoring] if scorings is None else scorings
    tables: list[list[pa.Table]] = [[schema.PREDICTIONS.empty_table()] for _ in scorings]
    images: list[list[np.ndarray]] = [[np.zeros(0, int)] for _ in scorings]
    method.eval()
    for batch in batches:
        try:
            found = method.score_pairs(batch, config.ranking, scorings)
        except NotFiniteError as error:
            problem = "the model gives scores or boxes that are not finite: its weights are unsound"
            name = name_of(batch.indices[error.image])
            raise WeightsError(f"{name}: {problem}") from None
        for table, indices, pairs in zip(tables, images, found, strict=True):
            table.append(_rows(pairs, image_ids[batch.indices], float(config.inclusive_boxes)))
            indices.append(np.asarray(batch.indices, int)[pairs.image])
    orders = [np.argsort(np.concatenate(indices), kind="stable") for indices in images]
    return [
        pa.concat_tables(parts).take(order).combine_chunks()
        for parts, order in zip(tables, orders, strict=True)
    ]


def _rows(pairs: ScoredPairs, image_ids: np.ndarray, further: float) -> pa.Table:
    """Rows of `schema.PREDICTIONS`, whose boxes end `further` pixels later."""
    end = np.array([0, 0, further, further], np.float32)
    human_boxes, object_boxes = pairs.human_boxes_xyxy + end, pairs.object_boxes_xyxy + end
    missing = np.any(np.isnan(object_boxes), axis=1)
    columns = {
        "image_id": image_ids[pairs.image],
        "query": pairs.query,
        "hoi": pairs.hoi,
        "human_box_xyxy": schema.numpy_to_fixed_lists(human_boxes),
        "object_box_xyxy": schema.numpy_to_fixed_lists(object_boxes, missing),
        "score": pairs.score,
        "hoi_score": pairs.hoi_score,
        "object_score": pairs.object_score,
        "clip_score": pairs.clip_score,
    }
    return pa.table(columns).cast(schema.PREDICTIONS)
