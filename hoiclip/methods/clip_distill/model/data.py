"""What the student learns from: detected pairs of images, and CLIP's scores of both; no label."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hoiclip.batches.batch import ClipView
from hoiclip.batches.tensors import Tensors
from hoiclip.images.store import ImageStore
from hoiclip.methods.clip_distill.caches.inputs import DistillCaches
from hoiclip.methods.clip_distill.caches.tables import ImageCosines, PairCosines
from hoiclip.methods.clip_distill.model.batch import PairBatch, TeacherTargets, join_pairs
from hoiclip.methods.clip_distill.model.config import TeacherConfig
from hoiclip.methods.clip_distill.model.detected_objects import detected_objects
from hoiclip.methods.clip_distill.model.student_inputs import student_pairs
from hoiclip.methods.clip_distill.model.teacher import (
    image_targets,
    shuffled_within_objects,
    union_targets,
)


@dataclass(frozen=True)
class DistillSample:
    """One image of a batch; see `DistillBatch`."""

    clip_pixels: Tensor | None
    index: int
    epoch: int
    pairs: PairBatch
    targets: TeacherTargets


@dataclass(frozen=True)
class DistillBatch(Tensors):
    """B images to learn from.

    Attributes:
        clip_pixels: (B, 3, R, R), padded to squares; None where features are kept by index.
        indices: of the samples.
        flipped: whether each is mirrored; none is.
        pairs: their detected pairs.
        targets: what CLIP says of pairs and images.
        epoch: from 0.
    """

    clip_pixels: Tensor | None
    indices: list[int]
    flipped: list[bool]
    pairs: PairBatch
    targets: TeacherTargets
    epoch: int


class DistillData:
    """Images with their detected pairs and the teacher's targets, without augmentation.

    Args:
        caches: of all images.
        rows: (N,) which images of them, in order.
        teacher: how cosines become targets.
        side: of CLIP's view, px.
        store: where the images are; needed with `view` alone.
        view: makes CLIP's input, padded to a square; None leaves it out.
    """

    def __init__(
        self,
        caches: DistillCaches,
        rows: Sequence[int],
        teacher: TeacherConfig,
        side: int,
        store: ImageStore | None = None,
        view: ClipView | None = None,
    ) -> None:
        self.vocabulary, self.classes = caches.vocabulary, caches.classes
        self.teacher, self.side = teacher, side
        self.store, self.view = store, view
        names, widths, heights = (
            caches.images[key].to_pylist() for key in ("file_name", "width", "height")
        )
        self.file_names = [names[row] for row in rows]
        self.sizes = [(widths[row], heights[row]) for row in rows]
        self.detections = [caches.detections[row] for row in rows]
        self.unions = [caches.unions[row] for row in rows]
        chosen = list(rows)  # a tuple would be an index of several axes
        self.whole = ImageCosines(caches.whole.cosines[chosen], caches.whole.null[chosen])

    def __len__(self) -> int:
        return len(self.file_names)

    def sample(self, index: int, epoch: int) -> DistillSample:
        """An image; the epoch tells which terms are learnt yet."""
        scored, size = self.unions[index], self.sizes[index]
        pairs = student_pairs(scored.pairs, self.detections[index], size, self.side)
        pixels = None
        if self.view is not None and self.store is not None:
            pixels = self.view(self.store.read(self.file_names[index]))
        return DistillSample(pixels, index, epoch, pairs, self._targets(index))

    def _targets(self, index: int) -> TeacherTargets:
        scored = self.unions[index]
        pairs = scored.pairs
        unions = union_targets(
            scored.cosines, scored.null, pairs.objects, pairs.scores, self.classes, self.teacher
        )
        whole = image_targets(
            self.whole.cosines[index],
            self.whole.null[index],
            detected_objects(self.detections[index], self.vocabulary),
            self.classes,
            self.teacher,
        )
        return TeacherTargets(
            torch.from_numpy(unions.probability).float(),
            torch.from_numpy(unions.weight).float(),
            torch.from_numpy(whole.probability).float()[None],
            torch.from_numpy(whole.mask)[None],
        )

    def collate(self, samples: Sequence[DistillSample]) -> DistillBatch:
        """A batch of samples."""
        views = [sample.clip_pixels for sample in samples if sample.clip_pixels is not None]
        targets = {
            field.name: torch.cat([getattr(sample.targets, field.name) for sample in samples])
            for field in dataclasses.fields(TeacherTargets)
        }
        return DistillBatch(
            torch.stack(views) if views else None,
            [sample.index for sample in samples],
            [False] * len(samples),
            join_pairs([sample.pairs for sample in samples]),
            TeacherTargets(**targets),
            samples[0].epoch,
        )


def held_out_rows(file_names: Sequence[str], share: float) -> np.ndarray:
    """(N,) bool: about `share` of the images, whose names' hashes are lowest whatever others there
    are."""
    hashes = [hashlib.sha256(name.encode()).digest()[:8] for name in file_names]
    return np.array([int.from_bytes(h, "big") < share * 2**64 for h in hashes], bool)


def shuffled(caches: DistillCaches, seed: int) -> DistillCaches:
    """Every pair with the cosines of another pair of the same object class, and every image with
    those of another image: what a student learns from it is not learnt from CLIP's looking.

    Args:
        caches: of all images.
        seed: of the order.
    """
    rng = np.random.default_rng(seed)
    objects = np.concatenate([each.pairs.objects for each in caches.unions])
    order = shuffled_within_objects(objects, rng)
    cosines = np.concatenate([each.cosines for each in caches.unions])[order]
    null = np.concatenate([each.null for each in caches.unions])[order]
    bounds = np.cumsum([len(each.pairs) for each in caches.unions])[:-1]
    unions = [
        PairCosines(each.pairs, *values)
        for each, *values in zip(
            caches.unions, np.split(cosines, bounds), np.split(null, bounds), strict=True
        )
    ]
    images = rng.permutation(len(caches.whole.cosines))
    whole = ImageCosines(caches.whole.cosines[images], caches.whole.null[images])
    return dataclasses.replace(caches, unions=unions, whole=whole)
