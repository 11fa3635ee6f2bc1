"""The partitions that training and model selection see, cut from the train partition.

In this order: the file names of a published fraction, the zero-shot classes, images without pairs,
validation, the seeded fraction. What is drawn depends on a hash of (seed, image id), so that other
images that come or go move few of the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import pyarrow as pa

from hoiclip.catalog.vocabularies import published_rare
from hoiclip.core import schema
from hoiclip.core.files import read_json
from hoiclip.core.vocabulary import RARE_BELOW, Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.errors import InputError, ParamsError
from hoiclip.splits.zero_shot import published_settings, unseen_hois
from hoiclip.util.ranges import ClassIndex, Config, Range, Seed


@dataclass(frozen=True, kw_only=True)
class SplitsConfig(Config):
    """How the train partition is cut (`splits` in params.yaml).

    Attributes:
        seed: of the draws of validation and fraction; >= 0.
        validation_fraction: share of the images held out for validation, 0..0.5 (paper: 0).
        train_fraction: share of the images left after validation that trains, above 0 up to 1
            (paper: 0.05, 0.15, 0.25, 0.5, 1). Equal seeds give nested subsets.
        zero_shot: name of a published zero-shot setting of HICO-DET (see `zero_shot`), or null.
        unseen_hois: HOI classes that training does not see; excludes `zero_shot`.
        fraction_file: HOIA JSON whose file names are the only images used, or null; the way to
            take the paper's own fractions. Excludes `train_fraction` below 1. In params.yaml its
            path is relative to `dataset.raw`.
        keep_empty_images: whether images without a pair stay (V-COCO: yes, HICO-DET: no).
    """

    seed: Seed
    validation_fraction: Annotated[float, Range(0, 0.5)]
    train_fraction: Annotated[float, Range(0, 1, above=True)]
    zero_shot: str | None
    unseen_hois: list[ClassIndex]
    fraction_file: str | None
    keep_empty_images: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.zero_shot is not None:
            names = sorted(published_settings())
            if self.zero_shot not in names:
                raise ValueError(
                    f"zero_shot: {self.zero_shot!r}, expected one of {', '.join(names)}"
                )
            if self.unseen_hois:
                raise ValueError("unseen_hois: excludes zero_shot; leave one out")
        if len(set(self.unseen_hois)) != len(self.unseen_hois):
            raise ValueError("unseen_hois: a class is listed twice")
        if self.fraction_file is not None and self.train_fraction < 1:
            raise ValueError("fraction_file: excludes train_fraction below 1; leave one out")

    def unseen(self, vocabulary: Vocabulary) -> np.ndarray:
        """(num_hois,) bool: HOI classes that training does not see.

        Raises:
            ParamsError: a class that the vocabulary does not have, or a setting of HICO-DET where
                the vocabulary is another.
        """
        listed = unseen_hois(self.zero_shot, vocabulary) if self.zero_shot else self.unseen_hois
        for hoi in listed:
            if not 0 <= hoi < vocabulary.num_hois:
                problem = f"HOI class {hoi}, the data set has {vocabulary.num_hois}"
                raise ParamsError(f"splits.unseen_hois: {problem}")
        return np.isin(np.arange(vocabulary.num_hois), listed)


@dataclass(frozen=True)
class Splits:
    """What `make_splits` gives.

    Attributes:
        train: images and pairs to learn from.
        validation: images and pairs to select by; shares no image with `train`.
        classes: rows of `schema.CLASSES`, one per HOI class, in order.
    """

    train: Annotations
    validation: Annotations
    classes: pa.Table


def make_splits(train: Annotations, vocabulary: Vocabulary, config: SplitsConfig) -> Splits:
    """Cuts the train partition into train and validation.

    A pair (human, object) that carries an unseen class is dropped whole. Validation never takes the
    last image of a class, so it may come out smaller than asked. A fraction keeps an image of every
    class it can choose from, so it may come out larger. Instances stay with their image.

    Args:
        train: the complete train partition, already checked.
        vocabulary: the data set's.
        config: how to cut.

    Raises:
        InputError: `fraction_file` is not such a file, or names an image that is not in `train`.
        ParamsError: unseen classes of another vocabulary, or nothing left to train on.
    """
    # What V-COCO's evaluator alone looks at is of the test partition.
    train = replace(train, unlabelled_people=None, outside_vocabulary=None)
    unseen = config.unseen(vocabulary)
    classes = classes_table(train, vocabulary, unseen)
    if config.fraction_file is not None:
        train = train.select(_images_of_file(train, config.fraction_file))
    train = _without_pairs_of(train, unseen)
    if not config.keep_empty_images:
        train = train.select(train.interactions["image_id"].unique().to_numpy())
    held_out = _draw_validation(train, vocabulary.num_hois, config)
    image_ids = train.images["image_id"].to_numpy()
    validation = train.select(held_out)
    train = train.select(np.setdiff1d(image_ids, held_out))
    train = train.select(_draw_fraction(train, config))
    if not train.images.num_rows:
        raise ParamsError("splits: no image is left to train on; ask for fewer unseen classes")
    return Splits(train, validation, classes)


def classes_table(train: Annotations, vocabulary: Vocabulary, unseen: np.ndarray) -> pa.Table:
    """Rows of `schema.CLASSES` from the complete train partition.

    Args:
        train: the complete train partition; an instance is a row of `interactions`.
        vocabulary: the data set's; HICO-DET's rare classes are the published ones.
        unseen: (num_hois,) bool.
    """
    hoi = train.interactions["hoi"].to_numpy()
    counts = np.bincount(hoi, minlength=vocabulary.num_hois)
    published = published_rare(vocabulary)
    rare = counts < RARE_BELOW if published is None else published
    columns = [np.arange(vocabulary.num_hois), counts, rare, ~unseen]
    arrays = [pa.array(c, f.type, safe=True) for c, f in zip(columns, schema.CLASSES, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema.CLASSES)


def _images_of_file(train: Annotations, path: str) -> np.ndarray:
    entries = read_json(path)
    if not isinstance(entries, list):
        raise InputError(path, f"holds a {type(entries).__name__}, expected a list of images")
    rows = dict(
        zip(train.images["file_name"].to_pylist(), range(train.images.num_rows), strict=True)
    )
    chosen = [_row_of_entry(path, index, entry, rows) for index, entry in enumerate(entries)]
    return train.images["image_id"].to_numpy()[np.array(sorted(set(chosen)), np.int64)]


def _row_of_entry(path: str, index: int, entry: Any, rows: dict[str, int]) -> int:
    name = entry.get("file_name") if isinstance(entry, dict) else None
    if not isinstance(name, str):
        raise InputError(path, "an entry without a name", row=index, key="file_name")
    if name not in rows:
        problem = f"{name!r} is not an image of the train partition"
        raise InputError(path, problem, row=index, key="file_name", fix="Use the file of this data")
    return rows[name]


def _without_pairs_of(train: Annotations, unseen: np.ndarray) -> Annotations:
    if not unseen.any():
        return train
    pairs = train.pairs()
    dropped = np.zeros(len(pairs.image_ids), bool)
    dropped[pairs.pair_of_row[unseen[pairs.hoi_of_row]]] = True
    kept = train.interactions.filter(pa.array(~dropped[pairs.pair_of_row]))
    return Annotations(train.images, train.instances, kept)


def _draw(image_ids: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """`image_ids` in an order that depends on (seed, purpose, image id) alone."""

    def key(image_id: int) -> bytes:
        return hashlib.sha256(f"{seed}:{purpose}:{image_id}".encode()).digest()

    return np.array(sorted(image_ids.tolist(), key=key), np.int64)


def _hois_of_image(annotations: Annotations) -> Callable[[int], np.ndarray]:
    """A function image id → its distinct HOI classes."""
    table = annotations.interactions
    rows = np.stack([table["image_id"].to_numpy(), table["hoi"].to_numpy()], 1).astype(np.int64)
    rows = np.unique(rows, axis=0)

    def hois(image_id: int) -> np.ndarray:
        start, stop = np.searchsorted(rows[:, 0], [image_id, image_id + 1])
        return rows[start:stop, 1]

    return hois


def _draw_validation(train: Annotations, num_hois: int, config: SplitsConfig) -> np.ndarray:
    wanted = int(config.validation_fraction * train.images.num_rows)
    hois = _hois_of_image(train)
    images_left = np.zeros(num_hois, np.int64)
    image_ids = train.images["image_id"].to_numpy()
    for image_id in image_ids.tolist():
        images_left[hois(image_id)] += 1
    taken: list[int] = []
    for image_id in _draw(image_ids, config.seed, "validation").tolist():
        if len(taken) == wanted:
            break
        of_image = hois(image_id)
        if (images_left[of_image] > 1).all():
            images_left[of_image] -= 1
            taken.append(image_id)
    return np.array(taken, np.int64)


def _draw_fraction(train: Annotations, config: SplitsConfig) -> np.ndarray:
    """Image ids of the fraction: first one image for every class, rarest class first, then any."""
    image_ids = _draw(train.images["image_id"].to_numpy(), config.seed, "fraction")
    if config.train_fraction == 1:
        return image_ids
    hois = _hois_of_image(train)
    first_of_class: dict[int, int] = {}
    for image_id in image_ids.tolist():
        for hoi in hois(image_id).tolist():
            first_of_class.setdefault(hoi, image_id)
    present, counts = np.unique(train.interactions["hoi"].to_numpy(), return_counts=True)
    covered: set[int] = set()
    first: list[int] = []
    for hoi in present[np.argsort(counts, kind="stable")].tolist():
        if hoi not in covered:
            first.append(first_of_class[hoi])
            covered.update(hois(first[-1]).tolist())
    rest = image_ids[~np.isin(image_ids, first)]
    count = max(len(first), round(config.train_fraction * len(image_ids)))
    return np.concatenate([np.array(first, np.int64), rest])[:count]
