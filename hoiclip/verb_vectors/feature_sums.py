"""Sums of CLIP's features over the crops of a partition: one pass, constant memory, restartable."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hoiclip.clip.crops import crop
from hoiclip.clip.encoder import ClipVisual
from hoiclip.data.annotations import Annotations
from hoiclip.resume.state_file import StateFile
from hoiclip.verb_vectors.crops import Accumulation, Row, rows_by_image, shares_of
from hoiclip.vocabulary import Vocabulary

SECONDS_BETWEEN_SAVES = 60.0


@dataclass(frozen=True)
class FeatureSums:
    """Sums of image features of width D over HOI rows, float64, and how many rows there were.

    Attributes:
        hoi: (num_hois, D), crops of pairs.
        object: (num_objects, D), crops of objects.
        rows: (num_hois,) int64.
    """

    hoi: np.ndarray
    object: np.ndarray
    rows: np.ndarray


class SumsFile:
    """Where an interrupted pass keeps what it has; a pass with another key has another file.

    Args:
        folder: of all such files.
        key: JSON mapping of data, CLIP (hashes) and settings, see `StateFile`.
        code: of `hoiclip.resume.source_code.loaded_code`.
        seconds: least time between two saves.
    """

    def __init__(
        self,
        folder: Path,
        key: Mapping[str, Any],
        code: Mapping[str, str],
        seconds: float = SECONDS_BETWEEN_SAVES,
    ) -> None:
        self._file = StateFile(folder, key, code)
        self._seconds, self._saved = seconds, time.monotonic()
        self.locked = self._file.locked
        self.delete = self._file.delete

    @property
    def accepted(self) -> list[str]:
        """Files with whose changed code the pass went on because it was told to; sorted."""
        return self._file.accepted

    def load(self, fresh: dict[str, Tensor]) -> dict[str, Tensor]:
        """What was saved last; `fresh`, the state of a pass not begun, where nothing was.

        Raises:
            InputError: the file is damaged, of another version, or does not fit `fresh`.
        """
        kept = self._file.load()
        if kept is None:
            return fresh
        if not isinstance(kept, dict) or _kinds(kept) != _kinds(fresh):
            raise self._file.refused("does not fit this vocabulary and this CLIP")
        return kept

    @property
    def due(self) -> bool:
        """Whether the last save is long enough ago."""
        return time.monotonic() - self._saved >= self._seconds

    def save(self, state: dict[str, Tensor]) -> None:
        """Writes the state, all or nothing."""
        self._file.save(state)
        self._saved = time.monotonic()


def _kinds(state: dict[str, Any]) -> dict[str, tuple | None]:
    """Shape, type and layout of every tensor; None of what is none."""
    return {
        name: (value.shape, value.dtype, value.layout) if torch.is_tensor(value) else None
        for name, value in state.items()
    }


def sum_features(
    annotations: Annotations,
    read_image: Callable[[str], Image.Image],
    visual: ClipVisual,
    vocabulary: Vocabulary,
    seen: np.ndarray,
    *,
    accumulation: Accumulation = "correct",
    batch_size: int = 256,
    workers: int = 0,
    resume: SumsFile | None = None,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda images, total: images,
) -> FeatureSums:
    """Encodes every pair's and object's crop in one pass.

    Each image is read once and each crop encoded once; beyond the tables, memory does not grow
    with the number of images. The result does not depend on `workers`, nor on interruptions.

    Args:
        annotations: the training partition.
        read_image: `file_name` → RGB image; has to be picklable where there are workers.
        visual: the image tower; crops go to its device.
        vocabulary: objects, verbs and HOI classes.
        seen: (num_hois,) bool; rows of other classes are skipped.
        accumulation: see `hoiclip.verb_vectors.crops`.
        batch_size: crops encoded at once, at least.
        workers: processes that read and cut images.
        resume: keeps the sums of an interrupted pass, and starts from them.
        progress: wraps the images still to come, whose number is its second argument.

    Raises:
        InputError: an image cannot be read, or what `resume` holds is refused.
    """
    num_hois = vocabulary.num_hois
    state = {
        "sums": torch.zeros(num_hois + vocabulary.num_objects, visual.embed_dim).double(),
        "rows": torch.zeros(num_hois, dtype=torch.int64),
        "images": torch.zeros(1, dtype=torch.int64),
    }
    state = resume.load(state) if resume else state
    images = rows_by_image(annotations, seen)[int(state["images"]) :]
    crops = _Crops(images, read_image, visual.preprocess, vocabulary, accumulation)
    pixels: list[Tensor] = []
    terms: list[Tensor] = []

    def encode() -> None:
        batch = torch.cat(pixels).to(visual.visual_projection.device)
        features = visual.encode_image(batch).double().cpu()
        position, index, weight = torch.cat(terms).T
        weighted = features[position.long()] * weight[:, None]
        state["sums"].index_add_(0, index.long(), weighted)
        pixels.clear()
        terms.clear()

    loader = DataLoader(crops, batch_size=None, num_workers=workers)
    waiting = 0
    for image in progress(loader, len(images)):
        image.terms[:, 0] += waiting
        pixels.append(image.pixels)
        terms.append(image.terms)
        waiting += len(image.pixels)
        state["rows"] += torch.bincount(image.hois, minlength=num_hois)
        state["images"] += 1
        if waiting >= batch_size:
            encode()
            waiting = 0
            if resume and resume.due:
                resume.save(state)
    if pixels:
        encode()
    if resume:
        resume.save(state)
    sums = state["sums"].numpy()
    return FeatureSums(sums[:num_hois], sums[num_hois:], state["rows"].numpy())


class _ImageCrops(NamedTuple):
    """Crops of an image.

    Attributes:
        pixels: (N, ...) preprocessed, each crop once.
        terms: (T, 3) float64: position in `pixels`, row of the sums, weight.
        hois: (R,) HOI class of each row of the image.
    """

    pixels: Tensor
    terms: Tensor
    hois: Tensor


class _Crops(Dataset):
    """The crops of every image with rows."""

    def __init__(
        self,
        images: list[tuple[str, list[Row]]],
        read_image: Callable[[str], Image.Image],
        preprocess: Callable[[Image.Image], Tensor],
        vocabulary: Vocabulary,
        accumulation: Accumulation,
    ) -> None:
        self._images, self._read_image, self._preprocess = images, read_image, preprocess
        self._vocabulary, self._accumulation = vocabulary, accumulation

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> _ImageCrops:
        file_name, rows = self._images[index]
        image = self._read_image(file_name)
        position_of: dict[bytes, int] = {}
        pixels: list[Tensor] = []
        terms: list[tuple[int, int, float]] = []
        for box, target, weight in shares_of(rows, self._vocabulary, self._accumulation):
            key = box.tobytes()
            if key not in position_of:
                position_of[key] = len(pixels)
                pixels.append(self._preprocess(crop(image, box)))
            terms.append((position_of[key], target, weight))
        return _ImageCrops(
            torch.stack(pixels),
            torch.tensor(terms, dtype=torch.float64),
            torch.tensor([row.hoi for row in rows]),
        )
