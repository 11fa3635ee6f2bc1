"""Annotated images to learn from, augmented by the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch

from hoiclip.batches.batch import ClipView, Sample, collate
from hoiclip.batches.boxes import xyxy_to_cxcywh
from hoiclip.batches.transforms import TransformsConfig, View, augment, to_pixels
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.images.store import ImageStore
from hoiclip.set_prediction.model.batch import LabelledBatch
from hoiclip.set_prediction.model.targets import Targets


@dataclass(frozen=True)
class LabelledSample(Sample):
    """One image of a batch; see `LabelledBatch`."""

    targets: Targets


class TrainingDataset:
    """Images of a partition, augmented by the epoch, with their pairs.

    Args:
        annotations: the partition.
        store: where the images are.
        vocabulary: the data set's.
        transforms: sizes and augmentation.
        max_boxes: instances of an image that are used, the first ones; the number of queries. Pairs
            that point at another one are left out, so that an image may keep more pairs than that.
        seed: of the augmentation.
        clip_view: makes CLIP's input of the augmented image; None leaves it out.
        multiple: of which the sides of padded batches are to be, px.
    """

    def __init__(
        self,
        annotations: Annotations,
        store: ImageStore,
        vocabulary: Vocabulary,
        transforms: TransformsConfig,
        *,
        max_boxes: int,
        seed: int,
        clip_view: ClipView | None,
        multiple: int = 1,
    ) -> None:
        self.file_names = annotations.images["file_name"].to_pylist()
        self.store = store
        self.vocabulary = vocabulary
        self.transforms = transforms
        self.seed = seed
        self.clip_view = clip_view
        self.multiple = multiple
        self.pairs = _of_first_instances(annotations, max_boxes).pairs()
        self.slices = self.pairs.image_slices(annotations.images["image_id"].to_pylist())
        self.labels = self.pairs.hoi_labels(vocabulary.num_hois)

    def __len__(self) -> int:
        return len(self.file_names)

    def sample(self, index: int, epoch: int) -> LabelledSample:
        """An image as the epoch shows it."""
        image = self.store.read(self.file_names[index])
        pairs = self.slices[index]
        rows = np.arange(pairs.start, pairs.stop)
        view = View(
            image,
            self.pairs.human_boxes_xyxy[rows],
            self.pairs.object_boxes_xyxy[rows],
            np.ones(len(rows), bool),
        )
        rng = np.random.default_rng([self.seed, epoch, index])
        view = augment(view, self.transforms, rng)
        clip_pixels = None if self.clip_view is None else self.clip_view(view.image)
        targets = self._targets(view, rows)
        return LabelledSample(
            to_pixels(view.image), clip_pixels, index, view.flipped, image.size, targets
        )

    def _targets(self, view: View, rows: np.ndarray) -> Targets:
        rows, kept = rows[view.kept], view.kept
        size = torch.tensor([*view.image.size] * 2, dtype=torch.float32)
        human, object_ = (
            xyxy_to_cxcywh(torch.from_numpy(boxes[kept]).float() / size)
            for boxes in (view.human_boxes_xyxy, view.object_boxes_xyxy)
        )
        classes = self.pairs.objects[rows]
        classes = np.where(classes < 0, self.vocabulary.num_objects, classes)
        return Targets(
            [len(rows)],
            torch.from_numpy(self.labels[rows]),
            torch.from_numpy(classes),
            human,
            object_.nan_to_num(0.0),
            ~torch.isnan(object_).any(1),
        )

    def collate(self, samples: Sequence[LabelledSample]) -> LabelledBatch:
        """The batch of `hoiclip.batches.batch.collate`, with targets."""
        parts = [sample.targets for sample in samples]
        targets = Targets(
            [part.counts[0] for part in parts],
            *(
                torch.cat([getattr(part, name) for part in parts])
                for name in (
                    "hoi_labels",
                    "objects",
                    "human_boxes_cxcywh",
                    "object_boxes_cxcywh",
                    "has_object",
                )
            ),
        )
        return LabelledBatch(**vars(collate(samples, self.multiple)), targets=targets)


def _of_first_instances(annotations: Annotations, limit: int) -> Annotations:
    """Without the interactions whose human or object is not among its image's first instances."""
    human, object_ = (
        annotations.interactions[key].fill_null(-1).to_numpy()
        for key in ("human", "object_instance")
    )
    kept = annotations.interactions.filter(pa.array((human < limit) & (object_ < limit)))
    return replace(annotations, interactions=kept)
