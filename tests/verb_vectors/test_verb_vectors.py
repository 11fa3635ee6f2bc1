from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hoiclip import passes
from hoiclip.core import schema
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.crops import crop, enclosing_box
from hoiclip.data.annotations import Annotations
from hoiclip.errors import InputError
from hoiclip.verb_vectors.arithmetic import REPRESENTATIONS, verb_vectors, verb_vectors_table
from hoiclip.verb_vectors.crops import rows_by_image
from hoiclip.verb_vectors.feature_sums import CropPass, FeatureSums
from hoiclip.verb_vectors.table import read_verb_vectors

VOCABULARY = Vocabulary(
    ("person", "cup", "dog"),
    (
        Verb("hold", "holding", "holding"),
        Verb("walk", "walking", "walking"),
        Verb("wash", "washing"),
    ),
    (Hoi(0, 1), Hoi(0, 2), Hoi(0, None), Hoi(1, 2), Hoi(1, None), Hoi(2, 1)),
)
ALL_SEEN = np.ones(VOCABULARY.num_hois, bool)
D = 6
TEXT = np.eye(VOCABULARY.num_verbs, D, dtype=np.float32)


def sum_features(partition, read_image, visual, vocabulary, seen, **options) -> FeatureSums:
    images = rows_by_image(partition, seen)
    return CropPass(images, read_image, visual, vocabulary, **options).whole()


class FakeVisual:
    """Features are a fixed linear map of a crop's mean colour and size; counts what it encodes."""

    embed_dim = D
    visual_projection = torch.zeros(1)

    def __init__(self):
        self.map = torch.randn(5, D, generator=torch.Generator().manual_seed(0))
        self.encoded = []

    def preprocess(self, image):
        means = np.asarray(image, float).reshape(-1, 3).mean(0) / 255
        return torch.tensor([*means, image.width / 20, image.height / 20], dtype=torch.float32)

    def encode_image(self, pixels):
        self.encoded.append(len(pixels))
        return pixels @ self.map


class Images:
    def __init__(self):
        self.reads = []

    def __call__(self, name):
        self.reads.append(name)
        rng = np.random.default_rng(int(name))
        return Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8))


def annotations(images: dict[int, tuple[list, list]]) -> Annotations:
    """image id → ([(object class, box)], [(human, object or None, hoi)])."""
    instances, interactions = [], []
    for image_id, (entities, rows) in images.items():
        for index, (category, box) in enumerate(entities):
            instances.append(
                {"image_id": image_id, "instance": index, "object": category, "box_xyxy": box}
            )
        for human, thing, hoi in rows:
            verb = VOCABULARY.hois[hoi].verb
            interactions.append(
                {
                    "image_id": image_id,
                    "human": human,
                    "object_instance": thing,
                    "verb": verb,
                    "hoi": hoi,
                }
            )
    rows = [{"image_id": i, "file_name": str(i), "width": 30, "height": 20} for i in images]
    return Annotations(
        pa.Table.from_pylist(rows, schema.IMAGES),
        pa.Table.from_pylist(instances, schema.INSTANCES),
        pa.Table.from_pylist(interactions, schema.INTERACTIONS),
    )


@st.composite
def partitions(draw):
    images = {}
    corner = st.integers(-2, 12)
    for image_id in draw(st.permutations(range(draw(st.integers(0, 4))))):
        entities = []
        for category in (0, 0, 1, 2):
            x, y = draw(corner), draw(corner)
            box = [x + 0.25, y, x + 0.25 + draw(st.integers(3, 9)), y + draw(st.integers(3, 9))]
            entities.append((category, box))
        possible = [
            (human, 1 + hoi.object if hoi.object else None, index)
            for human in (0, 1)
            for index, hoi in enumerate(VOCABULARY.hois)
        ]
        images[image_id] = (
            entities,
            draw(st.lists(st.sampled_from(possible), unique=True, max_size=5)),
        )
    return annotations(images)


def reference(partition, seen, representation, released=False):
    """The definition, one row and one crop at a time."""
    visual, store = FakeVisual(), Images()
    names = {r["image_id"]: r["file_name"] for r in partition.images.to_pylist()}
    boxes = {(r["image_id"], r["instance"]): r["box_xyxy"] for r in partition.instances.to_pylist()}

    def feature(image_id, *parts):
        parts = np.array([boxes[image_id, part] for part in parts])
        x1, y1 = np.floor(parts[:, :2].min(0)).clip(0)
        x2, y2 = np.ceil(parts[:, 2:].max(0)).clip(max=(30, 20))
        piece = store(names[image_id]).crop((x1, y1, x2, y2))
        return visual.encode_image(visual.preprocess(piece)[None])[0].double().numpy()

    unions: dict[int, list] = {}
    things: dict[int, list] = {}
    for image_id in names:
        of_hoi, of_object, humans = {}, {}, []
        for row in partition.interactions.to_pylist():
            if row["image_id"] != image_id or not seen[row["hoi"]]:
                continue
            human, thing, hoi = row["human"], row["object_instance"], row["hoi"]
            humans.append(feature(image_id, human))
            if thing is None:
                of_hoi.setdefault(hoi, []).append(feature(image_id, human))
            else:
                of_hoi.setdefault(hoi, []).append(feature(image_id, human, thing))
                category = VOCABULARY.hois[hoi].object
                of_object.setdefault(category, []).append(feature(image_id, thing))
        for target, found in ((unions, of_hoi), (things, of_object)):
            for key, values in found.items():
                target.setdefault(key, []).extend(values[-1:] if released else values)
        if released and humans:
            things.setdefault(0, []).append(np.mean(humans, axis=0))

    def direction(values):
        total = np.sum(values, axis=0)
        return total / np.linalg.norm(total)

    vectors = []
    for verb in range(VOCABULARY.num_verbs):
        classes = [c for c, hoi in enumerate(VOCABULARY.hois) if hoi.verb == verb and c in unions]
        with_object = [c for c in classes if VOCABULARY.hois[c].object is not None]
        terms = [direction(unions[c]) for c in classes]
        if representation == "arithmetic" and with_object:
            terms = [
                direction(unions[c]) - direction(things[VOCABULARY.hois[c].object])
                for c in with_object
            ]
        vectors.append(direction(terms) if terms else TEXT[verb])
    return np.array(vectors)


@settings(max_examples=40, deadline=None)
@given(
    partitions(),
    st.sampled_from(["arithmetic", "average"]),
    st.booleans(),
    st.lists(st.booleans(), min_size=6, max_size=6),
    st.integers(1, 5),
)
def test_equals_a_loop_over_rows(partition, representation, released, seen, batch_size):
    sums = sum_features(
        partition, Images(), FakeVisual(), VOCABULARY, np.array(seen),
        accumulation="released" if released else "correct", batch_size=batch_size,
    )  # fmt: skip
    made = verb_vectors(sums, VOCABULARY, TEXT, representation)
    expected = reference(partition, seen, representation, released)
    np.testing.assert_allclose(made.vectors, expected, atol=1e-4)


HUMAN, CUP, DOG, OTHER = (
    (0, [1, 1, 6, 9]),
    (1, [5, 3, 9, 6]),
    (2, [10, 8, 18, 15]),
    (0, [20, 1, 28, 18]),
)


def total(partition, **options):
    return sum_features(partition, Images(), FakeVisual(), VOCABULARY, ALL_SEEN, **options)


def test_two_pairs_of_one_class_in_one_image_both_count_unless_released():
    both = annotations({0: ([HUMAN, CUP, OTHER], [(0, 1, 0), (2, 1, 0)])})
    first = annotations({0: ([HUMAN, CUP, OTHER], [(0, 1, 0)])})
    last = annotations({0: ([HUMAN, CUP, OTHER], [(2, 1, 0)])})
    np.testing.assert_allclose(total(both).hoi, total(first).hoi + total(last).hoi)
    np.testing.assert_allclose(total(both, accumulation="released").hoi, total(last).hoi)
    assert total(both).rows.tolist() == [2, 0, 0, 0, 0, 0]


def test_the_mean_human_joins_the_class_person_only_in_the_released_mode():
    partition = annotations({0: ([HUMAN, CUP, OTHER], [(0, 1, 0), (2, 1, 5)])})
    assert not total(partition).object[0].any()
    alone = [annotations({0: ([human], [(0, None, 4)])}) for human in (HUMAN, OTHER)]
    mean = (total(alone[0]).hoi[4] + total(alone[1]).hoi[4]) / 2
    np.testing.assert_allclose(total(partition, accumulation="released").object[0], mean)


def test_a_pair_with_two_classes_counts_its_crops_for_each():
    one = total(annotations({0: ([HUMAN, CUP], [(0, 1, 0)])}))
    two = total(annotations({0: ([HUMAN, CUP], [(0, 1, 0), (0, 1, 5)])}))
    np.testing.assert_allclose(two.object, 2 * one.object)
    np.testing.assert_allclose(two.hoi[5], one.hoi[0])


def test_reads_an_image_once_and_encodes_a_crop_once():
    rows = [(0, 1, 0), (0, 1, 5), (0, 2, 1), (0, 2, 3)]
    partition = annotations(
        {7: ([HUMAN, CUP, DOG], rows), 3: ([HUMAN, CUP], []), 5: ([HUMAN, CUP], rows[:1])}
    )
    visual, store = FakeVisual(), Images()
    sum_features(partition, store, visual, VOCABULARY, ALL_SEEN)
    assert store.reads == ["7", "5"]
    assert visual.encoded == [4 + 2]


def test_unseen_classes_leave_no_trace():
    partition = annotations({0: ([HUMAN, CUP, DOG], [(0, 1, 0), (0, 2, 3)])})
    seen = ALL_SEEN.copy()
    seen[3] = False
    sums = sum_features(partition, Images(), FakeVisual(), VOCABULARY, seen)
    alone = total(annotations({0: ([HUMAN, CUP], [(0, 1, 0)])}))
    np.testing.assert_array_equal(sums.hoi, alone.hoi)
    np.testing.assert_array_equal(sums.object, alone.object)
    made = verb_vectors(sums, VOCABULARY, TEXT, "arithmetic")
    assert made.from_crops.tolist() == [True, False, False]
    np.testing.assert_array_equal(made.vectors[1:], TEXT[1:])


def many_images():
    rows = [(0, 1, 0), (0, 2, 1), (2, 1, 5)]
    entities = [HUMAN, CUP, OTHER, DOG]
    return annotations({i: (entities, rows[: i % 4]) for i in range(12)})


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_shards_of_any_size_give_the_same_sums(monkeypatch, size):
    whole = total(many_images(), batch_size=4)
    monkeypatch.setattr(passes, "SHARD", size)
    parts = total(many_images(), batch_size=4)
    for name in ("hoi", "object", "rows"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-6)


@pytest.mark.parametrize(
    "other", [{"sums": torch.zeros(2, D)}, {"rows": torch.zeros(2, dtype=torch.int64)}]
)
def test_sums_of_another_size_do_not_fit(other):
    crops = CropPass([], Images(), FakeVisual(), VOCABULARY)
    (fitting,) = crops.shards([range(0)])
    assert crops.join([fitting]).rows.tolist() == [0] * VOCABULARY.num_hois
    with pytest.raises(ValueError, match="another vocabulary"):
        crops.join([fitting | other])


def test_workers_change_nothing():
    alone, helped = (total(many_images(), batch_size=4, workers=n) for n in (0, 2))
    for name in ("hoi", "object", "rows"):
        np.testing.assert_array_equal(getattr(helped, name), getattr(alone, name))


def test_arithmetic_by_hand():
    hoi, thing = np.zeros((6, D)), np.zeros((3, D))
    hoi[0, 0], thing[1, 1] = 5.0, 2.0  # hold cup: e0 - e1
    hoi[1, 2], thing[2, 1] = 0.1, 9.0  # hold dog: e2 - e1
    hoi[2, 3] = 7.0  # hold nothing: left out beside classes with an object
    hoi[4, 4] = 3.0  # walk, alone: e4
    sums = FeatureSums(hoi, thing, np.array([5, 1, 7, 0, 3, 0]))
    made = verb_vectors(sums, VOCABULARY, TEXT, "arithmetic")
    np.testing.assert_allclose(made.vectors[0], np.array([1, -2, 1, 0, 0, 0]) / 6**0.5, rtol=1e-6)
    np.testing.assert_allclose(made.vectors[1], np.eye(D)[4])
    assert made.pairs.tolist() == [6, 3, 0]
    average = verb_vectors(sums, VOCABULARY, TEXT, "average")
    np.testing.assert_allclose(average.vectors[0], np.array([1, 0, 1, 1, 0, 0]) / 3**0.5, rtol=1e-6)
    assert average.pairs.tolist() == [13, 3, 0]


def test_a_vanishing_difference_falls_back_to_text():
    hoi, thing = np.zeros((6, D)), np.zeros((3, D))
    hoi[0], thing[1] = 1.0, 2.0
    made = verb_vectors(
        FeatureSums(hoi, thing, np.array([1, 0, 0, 0, 0, 0])), VOCABULARY, TEXT, "arithmetic"
    )
    np.testing.assert_array_equal(made.vectors, TEXT)
    assert not made.from_crops.any()


class TestTable:
    @pytest.fixture
    def table(self):
        return verb_vectors_table(
            total(annotations({0: ([HUMAN, CUP], [(0, 1, 0)])})), VOCABULARY, TEXT
        )

    def test_holds_every_representation_of_every_verb(self, table, tmp_path):
        assert table["representation"].to_pylist() == [r for r in REPRESENTATIONS for _ in range(3)]
        assert table["source"].to_pylist() == ["crops", "text", "text"] * 2 + ["text"] * 3
        assert table["pairs"].to_pylist() == [1, 0, 0] * 2 + [0] * 3
        path = tmp_path / "v.parquet"
        schema.write_table(path, table, schema.verb_vectors_schema(D), {})
        np.testing.assert_array_equal(read_verb_vectors(path, "text", 3), TEXT)
        lengths = np.linalg.norm(read_verb_vectors(path, "arithmetic", 3), axis=1)
        np.testing.assert_allclose(lengths, 1, rtol=1e-6)

    @pytest.mark.parametrize(("representation", "num_verbs"), [("arithmetic", 4), ("released", 3)])
    def test_of_another_vocabulary_is_refused(self, table, tmp_path, representation, num_verbs):
        path = tmp_path / "v.parquet"
        schema.write_table(path, table, schema.verb_vectors_schema(D), {})
        with pytest.raises(InputError, match="verb_vectors stage"):
            read_verb_vectors(path, representation, num_verbs)

    def test_of_another_form_is_refused(self, tmp_path):
        path = tmp_path / "v.parquet"
        VOCABULARY.write(path, {})
        with pytest.raises(InputError, match="vector"):
            read_verb_vectors(path, "text", 3)


class TestCrop:
    IMAGE = Image.fromarray(np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3))

    @pytest.mark.parametrize(
        ("box", "region"),
        [
            ([2, 3, 7, 9], (2, 3, 7, 9)),
            ([2.9, 3.1, 6.1, 8.9], (2, 3, 7, 9)),
            ([-5, -5, 3.5, 4], (0, 0, 4, 4)),
            ([25, 15, 40, 40], (25, 15, 30, 20)),
            ([5, 5, 5, 5], (5, 5, 6, 6)),
            ([30, 20, 35, 25], (29, 19, 30, 20)),
            ([-9, -9, -2, -2], (0, 0, 1, 1)),
        ],
    )
    def test_is_every_touched_pixel_of_the_image(self, box, region):
        expected = np.asarray(self.IMAGE)[region[1] : region[3], region[0] : region[2]]
        np.testing.assert_array_equal(np.asarray(crop(self.IMAGE, np.array(box, float))), expected)

    def test_the_enclosing_box_is_the_smallest(self):
        boxes = np.array([[1.0, 8, 3, 9], [2, 4, 7, 6]])
        assert enclosing_box(boxes).tolist() == [1, 4, 7, 9]
