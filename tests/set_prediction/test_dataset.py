import dataclasses

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from hoiclip.batches.batch import InferenceDataset, collate
from hoiclip.batches.boxes import cxcywh_to_xyxy
from hoiclip.batches.transforms import TransformsConfig, to_pixels
from hoiclip.core import schema
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.images.store import ImageStore
from hoiclip.set_prediction.dataset import TrainingDataset

VOCABULARY = Vocabulary(
    ("person", "cup"),
    (Verb("hold", "holding"), Verb("walk", None, "walking")),
    (Hoi(0, 1), Hoi(0, 0), Hoi(1, None)),
)
PLAIN = TransformsConfig(
    flip=0.0, color_jitter=0.0, scales=[], crop_scales=[], crop_sides=[4, 6], max_side=90,
    test_scale=0,
)  # fmt: skip
SIZES = {4: (20, 10), 2: (8, 16), 9: (12, 12)}
INSTANCES = {
    4: [(0, [2.0, 1, 6, 9]), (1, [4.0, 2, 19, 8]), (0, [-5.0, 0, 10, 30])],
    2: [(0, [0.0, 0, 8, 16])],
    9: [],
}
INTERACTIONS = {4: [(2, 1, 0), (0, 1, 0), (0, 2, 1), (0, None, 2)], 2: [(0, None, 2)], 9: []}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for image_id, (width, height) in SIZES.items():
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{image_id}.png")
    return ImageStore(folder)


@pytest.fixture(scope="module")
def annotations():
    images = [[i, f"{i}.png", *size] for i, size in SIZES.items()]
    instances = [
        [i, n, object_, box]
        for i, rows in INSTANCES.items()
        for n, (object_, box) in enumerate(rows)
    ]
    interactions = [
        [i, human, object_, VOCABULARY.hois[hoi].verb, hoi]
        for i, rows in INTERACTIONS.items()
        for human, object_, hoi in rows
    ]

    def table(rows, table_schema):
        names = table_schema.names
        return pa.Table.from_pylist([dict(zip(names, r, strict=True)) for r in rows], table_schema)

    made = Annotations(
        table(images, schema.IMAGES),
        table(instances, schema.INSTANCES),
        table(interactions, schema.INTERACTIONS),
    )
    made.check("here", VOCABULARY)
    return made


@pytest.fixture
def make(annotations, store):
    def dataset(clip_view=None, max_boxes=10, seed=0, **transforms):
        return TrainingDataset(
            annotations,
            store,
            VOCABULARY,
            dataclasses.replace(PLAIN, **transforms),
            max_boxes=max_boxes,
            seed=seed,
            clip_view=clip_view,
        )

    return dataset


def test_targets_are_the_annotated_pairs(make, store):
    sample = make().sample(0, 0)
    targets = sample.targets
    assert targets.counts == [4]
    # By human, then object; a pair without object comes first.
    assert targets.objects.tolist() == [2, 1, 0, 1]
    assert targets.hoi_labels.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert targets.has_object.tolist() == [False, True, True, True]
    scale = torch.tensor([20.0, 10, 20, 10])
    humans = cxcywh_to_xyxy(targets.human_boxes_cxcywh) * scale
    torch.testing.assert_close(humans[1], torch.tensor([2.0, 1, 6, 9]))
    torch.testing.assert_close(humans[3], torch.tensor([0.0, 0, 10, 10]))  # clamped
    objects = cxcywh_to_xyxy(targets.object_boxes_cxcywh) * scale
    torch.testing.assert_close(objects[1], torch.tensor([4.0, 2, 19, 8]))
    assert targets.object_boxes_cxcywh[0].tolist() == [0, 0, 0, 0]
    assert torch.equal(sample.image, to_pixels(store.read("4.png")))
    assert (sample.index, sample.flipped, sample.size) == (0, False, (20, 10))


def test_images_without_pairs_have_empty_targets(make):
    targets = make().sample(2, 0).targets
    assert targets.counts == [0]
    assert targets.hoi_labels.shape == (0, 3)
    assert targets.human_boxes_cxcywh.shape == targets.object_boxes_cxcywh.shape == (0, 4)
    assert targets.objects.dtype == torch.int64
    assert targets.has_object.dtype == torch.bool


@pytest.mark.parametrize(
    ("max_boxes", "objects"),
    [(3, [2, 1, 0, 1]), (2, [2, 1]), (1, [2]), (10, [2, 1, 0, 1])],
)
def test_pairs_of_the_first_boxes_alone_are_kept_however_many_they_are(make, max_boxes, objects):
    """The pairs of image 4 are (0, none), (0, 1), (0, 2) and (2, 1)."""
    targets = make(max_boxes=max_boxes).sample(0, 0).targets
    assert targets.counts == [len(objects)]
    assert targets.objects.tolist() == objects
    assert make(max_boxes=max_boxes).sample(1, 0).targets.counts == [1]


def slow_pairs(annotations, image_id, limit):
    """As the released loader walks through an image: boxes cut off, then pairs skipped."""
    rows = [r for r in annotations.instances.to_pylist() if r["image_id"] == image_id]
    boxes = [r["instance"] for r in sorted(rows, key=lambda r: r["instance"])][:limit]
    pairs: dict[tuple, set] = {}
    for row in annotations.interactions.to_pylist():
        human, object_ = row["human"], row["object_instance"]
        if row["image_id"] != image_id or human not in boxes:
            continue
        if object_ is not None and object_ not in boxes:
            continue
        pairs.setdefault((human, object_), set()).add(row["hoi"])
    return sorted((tuple(sorted(hois)) for hois in pairs.values()), key=str)


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_pairs_are_those_of_the_slow_walk(make, annotations, limit):
    dataset = make(max_boxes=limit)
    for index, image_id in enumerate(SIZES):
        labels = dataset.sample(index, 0).targets.hoi_labels
        found = [tuple(row.nonzero().flatten().tolist()) for row in labels]
        assert sorted(found, key=str) == slow_pairs(annotations, image_id, limit)


def test_collate_pads_right_and_bottom_with_zeros(make):
    dataset = make()
    samples = [dataset.sample(i, 0) for i in range(3)]
    batch = dataset.collate(samples)
    assert batch.images.shape == (3, 3, 16, 20)
    for row, (sample, (width, height)) in enumerate(zip(samples, SIZES.values(), strict=True)):
        torch.testing.assert_close(batch.images[row, :, :height, :width], sample.image)
        outside = torch.ones(16, 20, dtype=torch.bool)
        outside[:height, :width] = False
        assert torch.equal(batch.padding_mask[row], outside)
        assert not batch.images[row, :, outside].any()
    assert batch.targets.counts == [4, 1, 0]
    assert batch.targets.objects.tolist() == [2, 1, 0, 1, 2]
    assert batch.sizes == list(SIZES.values())
    assert batch.indices == [0, 1, 2]
    assert batch.clip_pixels is None


def test_equal_sizes_need_no_mask(make):
    sample = make().sample(1, 0)
    assert collate([sample, sample]).padding_mask is None


def test_views_depend_on_seed_epoch_and_index_alone(make):
    changes = {"flip": 0.5, "color_jitter": 0.4}
    dataset, again = make(**changes), make(**changes)
    first = [dataset.sample(i, 3).image for i in (0, 1, 2)]
    second = [again.sample(i, 3).image for i in (2, 1, 0)][::-1]
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(again.sample(0, 4).image, first[0])
    other = make(seed=1, **changes)
    assert not torch.equal(other.sample(0, 3).image, first[0])


def test_clip_sees_the_augmented_image(make):
    seen = []

    def preprocess(image):
        seen.append(image)
        return torch.zeros(3, 2, 2)

    sample = make(preprocess, flip=1.0, scales=[24]).sample(0, 0)
    assert sample.flipped
    (image,) = seen
    assert image.size == (48, 24)
    assert torch.equal(to_pixels(image), sample.image)
    assert collate([sample, sample]).clip_pixels.shape == (2, 3, 2, 2)
    # Boxes are relative to the unpadded view, here mirrored.
    torch.testing.assert_close(
        cxcywh_to_xyxy(sample.targets.human_boxes_cxcywh)[1],
        torch.tensor([14 / 20, 1 / 10, 18 / 20, 9 / 10]),
    )


def test_inference_keeps_order_and_original_sizes(annotations, store):
    config = dataclasses.replace(PLAIN, test_scale=6)
    dataset = InferenceDataset(
        annotations.images, store, config, lambda image: torch.zeros(3, 2, 2)
    )
    batch = collate([dataset[i] for i in range(len(dataset))])
    assert batch.sizes == list(SIZES.values())
    assert batch.images.shape == (3, 3, 12, 12)
    assert batch.flipped == [False] * 3
