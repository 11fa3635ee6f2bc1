import dataclasses
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoiclip.catalog.vocabularies import hico_det
from hoiclip.core import schema
from hoiclip.core.config import from_mapping
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.errors import InputError, ParamsError
from hoiclip.splits.splits import SplitsConfig, classes_table, make_splits

VERBS, OBJECTS = 3, 2
VOCABULARY = Vocabulary(
    ("person", "cup"),
    tuple(Verb(f"verb_{v}", f"verbing {v}") for v in range(VERBS)),
    tuple(Hoi(v, o) for o in range(OBJECTS) for v in range(VERBS)),
)
PLAIN = SplitsConfig(
    seed=0,
    validation_fraction=0.0,
    train_fraction=1.0,
    zero_shot=None,
    unseen_hois=[],
    fraction_file=None,
    keep_empty_images=False,
)
FRACTIONS = (0.05, 0.15, 0.25, 0.5, 1.0)


def config(**changes):
    return dataclasses.replace(PLAIN, **changes)


def partition(images):
    """Annotations from {image id: [(human, object instance or None, hoi)]}; instance 1 is a cup."""
    instances, interactions = [], []
    for image_id, rows in images.items():
        for instance, object_ in ((0, 0), (1, 1), (2, 0)):
            box = [0.0, 0.0, 1.0 + instance, 2.0]
            instances.append([image_id, instance, object_, box])
        for human, other, hoi in rows:
            verb = VOCABULARY.hois[hoi].verb
            interactions.append([image_id, human, other, verb, hoi])

    def table(rows, table_schema):
        names = table_schema.names
        return pa.Table.from_pylist([dict(zip(names, r, strict=True)) for r in rows], table_schema)

    return Annotations(
        table([[i, f"{i}.jpg", 10, 10] for i in images], schema.IMAGES),
        table(instances, schema.INSTANCES),
        table(interactions, schema.INTERACTIONS),
    )


def ids(annotations):
    return annotations.images["image_id"].to_pylist()


def rows(annotations):
    names = ("image_id", "human", "object_instance", "hoi")
    return list(zip(*(annotations.interactions[n].to_pylist() for n in names), strict=True))


PERSON_ROW = st.tuples(st.sampled_from([0, 2]), st.sampled_from([0, 2]), st.integers(0, VERBS - 1))
CUP_ROW = st.tuples(st.sampled_from([0, 2]), st.just(1), st.integers(VERBS, 2 * VERBS - 1))
IMAGES = st.dictionaries(
    st.integers(0, 10**6), st.lists(PERSON_ROW | CUP_ROW, max_size=5, unique=True), max_size=40
).filter(lambda images: any(images.values()))
UNSEEN = st.lists(st.integers(0, VOCABULARY.num_hois - 1), max_size=4, unique=True)


def test_empty_partition_is_refused():
    with pytest.raises(ParamsError, match="no image is left"):
        make_splits(partition({}), VOCABULARY, PLAIN)
    with pytest.raises(ParamsError, match="no image is left"):
        make_splits(partition({3: []}), VOCABULARY, PLAIN)
    with pytest.raises(ParamsError, match="no image is left"):
        make_splits(partition({3: [(0, 1, 3)]}), VOCABULARY, config(unseen_hois=[3]))


def test_plain_split_keeps_every_pair_and_counts_rows():
    train = partition({5: [(0, 1, 3), (0, 1, 4)], 2: [], 9: [(0, 1, 3)] + [(2, 1, 3)] * 8})
    splits = make_splits(train, VOCABULARY, PLAIN)
    assert ids(splits.train) == [5, 9]
    assert ids(splits.validation) == []
    assert rows(splits.train) == rows(train)
    assert splits.classes.schema.equals(schema.CLASSES)
    assert splits.classes["train_instances"].to_pylist() == [0, 0, 0, 10, 1, 0]
    assert splits.classes["rare"].to_pylist() == [True, True, True, False, True, True]
    assert splits.classes["seen"].to_pylist() == [True] * 6


def test_images_without_pairs_stay_on_request():
    splits = make_splits(
        partition({5: [(0, 1, 3)], 2: []}), VOCABULARY, config(keep_empty_images=True)
    )
    assert ids(splits.train) == [5, 2]
    assert splits.train.instances.num_rows == 6


def test_pair_with_an_unseen_class_is_dropped_whole():
    train = partition({1: [(0, 1, 3), (0, 1, 4), (2, 1, 3)], 2: [(0, 1, 4)]})
    splits = make_splits(train, VOCABULARY, config(unseen_hois=[4]))
    assert rows(splits.train) == [(1, 2, 1, 3)]
    assert splits.train.instances["image_id"].to_pylist() == [1, 1, 1]
    assert splits.classes["seen"].to_pylist() == [True, True, True, True, False, True]
    assert splits.classes["train_instances"].to_pylist() == [0, 0, 0, 2, 2, 0]


def test_human_without_object_is_a_pair_of_its_own():
    vocabulary = Vocabulary(
        VOCABULARY.objects, VOCABULARY.verbs, (Hoi(0, None), Hoi(1, None), Hoi(0, 1))
    )
    base = partition({1: [(0, 1, 3)]})
    made = pa.Table.from_pydict(
        {
            "image_id": [1, 1, 1],
            "human": [0, 0, 0],
            "object_instance": [None, None, 1],
            "verb": [0, 1, 0],
            "hoi": [0, 1, 2],
        },
        schema.INTERACTIONS,
    )
    train = Annotations(base.images, base.instances, made)
    splits = make_splits(train, vocabulary, config(unseen_hois=[1]))
    assert rows(splits.train) == [(1, 0, 1, 2)]


def test_validation_leaves_the_only_image_of_a_class():
    images = {i: [(0, 1, 3)] for i in range(9)} | {9: [(0, 1, 3), (0, 1, 4)]}
    for seed in range(20):
        chosen = config(seed=seed, validation_fraction=0.5)
        splits = make_splits(partition(images), VOCABULARY, chosen)
        assert 9 in ids(splits.train)
        assert len(ids(splits.validation)) == 5


def test_rare_and_counts_ignore_what_is_cut_away():
    images = {i: [(0, 1, 3)] for i in range(20)}
    chosen = config(validation_fraction=0.5, train_fraction=0.15)
    classes = make_splits(partition(images), VOCABULARY, chosen).classes
    assert classes["train_instances"].to_pylist()[3] == 20
    assert not classes["rare"].to_pylist()[3]


@settings(max_examples=60, deadline=None)
@given(IMAGES, UNSEEN, st.integers(0, 5), st.sampled_from([0.0, 0.1, 0.5]), st.booleans())
def test_partition_rules(images, unseen, seed, share, keep_empty):
    train = partition(images)
    chosen = config(
        seed=seed, unseen_hois=unseen, validation_fraction=share, keep_empty_images=keep_empty
    )
    touched = {(i, h, o) for i, pairs in images.items() for h, o, hoi in pairs if hoi in unseen}
    expected = {r for r in rows(train) if r[:3] not in touched}
    usable = set(images) if keep_empty else {row[0] for row in expected}
    if not usable:
        with pytest.raises(ParamsError, match="no image is left"):
            make_splits(train, VOCABULARY, chosen)
        return
    splits = make_splits(train, VOCABULARY, chosen)
    kept, held_out = set(ids(splits.train)), set(ids(splits.validation))
    assert kept | held_out == usable
    assert not kept & held_out
    assert len(held_out) <= share * len(usable)
    assert set(rows(splits.train)) | set(rows(splits.validation)) == expected
    assert {row[3] for row in rows(splits.train)} == {row[3] for row in expected}
    for part in (splits.train, splits.validation):
        part.check("part", VOCABULARY)
        assert set(part.instances["image_id"].to_pylist()) == set(ids(part))


@settings(max_examples=60, deadline=None)
@given(IMAGES, UNSEEN, st.integers(0, 5), st.sampled_from([0.0, 0.3]))
def test_fractions_are_nested_and_cover_the_classes(images, unseen, seed, share):
    train = partition(images)
    parts = []
    for fraction in FRACTIONS:
        chosen = config(
            seed=seed, unseen_hois=unseen, validation_fraction=share, train_fraction=fraction
        )
        try:
            parts.append(make_splits(train, VOCABULARY, chosen))
        except ParamsError:
            return
    whole = parts[-1]
    classes = {row[3] for row in rows(whole.train)}
    for smaller, larger, fraction in zip(parts, parts[1:], FRACTIONS[:-1], strict=False):
        assert set(ids(smaller.train)) <= set(ids(larger.train))
        assert smaller.validation.images.equals(whole.validation.images)
        assert smaller.classes.equals(whole.classes)
        assert {row[3] for row in rows(smaller.train)} == classes
        count = round(fraction * len(ids(whole.train)))
        assert count <= len(ids(smaller.train)) <= max(count, len(classes))


@settings(max_examples=30, deadline=None)
@given(IMAGES, st.integers(0, 5), st.randoms(use_true_random=False))
def test_order_of_the_rows_does_not_matter(images, seed, random):
    shuffled = list(images)
    random.shuffle(shuffled)
    chosen = config(seed=seed, validation_fraction=0.3, train_fraction=0.5)
    a = make_splits(partition(images), VOCABULARY, chosen)
    b = make_splits(partition({i: images[i] for i in shuffled}), VOCABULARY, chosen)
    assert set(ids(a.train)) == set(ids(b.train))
    assert set(ids(a.validation)) == set(ids(b.validation))


def test_new_images_move_few_of_the_others():
    images = {i: [(0, 1, 3)] for i in range(200)}
    chosen = config(validation_fraction=0.2)
    before = make_splits(partition(images), VOCABULARY, chosen)
    after = make_splits(partition(images | {999: [(0, 1, 3)]}), VOCABULARY, chosen)
    assert len(set(ids(before.validation)) ^ set(ids(after.validation))) <= 2


def test_seeds_differ_and_validation_and_fraction_are_drawn_apart():
    train = partition({i: [(0, 1, 3)] for i in range(100)})

    def drawn(**changes):
        splits = make_splits(train, VOCABULARY, config(**changes))
        return set(ids(splits.train)), set(ids(splits.validation))

    assert drawn(seed=0, validation_fraction=0.3) != drawn(seed=1, validation_fraction=0.3)
    assert drawn(seed=0, train_fraction=0.25) != drawn(seed=1, train_fraction=0.25)
    assert drawn(train_fraction=0.25)[0] != drawn(validation_fraction=0.25)[1]


def test_fraction_file(tmp_path):
    train = partition({i: [(0, 1, 3)] for i in range(6)})
    path = tmp_path / "trainval_5%.json"
    path.write_text(
        json.dumps([{"file_name": "4.jpg"}, {"file_name": "1.jpg"}, {"file_name": "4.jpg"}])
    )
    splits = make_splits(train, VOCABULARY, config(fraction_file=str(path)))
    assert ids(splits.train) == [1, 4]
    assert splits.classes["train_instances"].to_pylist()[3] == 6


def test_the_authors_fraction_files_are_hoia_documents(tmp_path):
    document = [
        {
            "file_name": f"{number}.jpg",
            "annotations": [{"bbox": [0, 0, 9, 9], "category_id": 1}] * 2,
            "hoi_annotation": [
                {"subject_id": 0, "object_id": 1, "category_id": 1, "hoi_category_id": 1}
            ],
        }
        for number in (4, 2)
    ]
    path = tmp_path / "trainval_hico_5%.json"
    path.write_text(json.dumps(document))
    train = partition({i: [(0, 1, 3), (2, 1, 4)] for i in range(6)})
    splits = make_splits(train, VOCABULARY, config(fraction_file=str(path)))
    # Names alone are taken; the pairs are those of the complete partition.
    assert ids(splits.train) == [2, 4]
    assert rows(splits.train) == [(2, 0, 1, 3), (2, 2, 1, 4), (4, 0, 1, 3), (4, 2, 1, 4)]
    unseen = make_splits(train, VOCABULARY, config(fraction_file=str(path), unseen_hois=[3]))
    assert rows(unseen.train) == [(2, 2, 1, 4), (4, 2, 1, 4)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "expected a list of images"),
        ("[3]", "row 0, file_name: an entry without a name"),
        ('[{"file_name": "1.jpg"}, {"file_name": 1}]', "row 1, file_name"),
        ('[{"file_name": "1.jpg"}, {"file_name": "8.jpg"}]', "row 1, file_name: '8.jpg' is not"),
        ("[", "not valid JSON"),
    ],
)
def test_bad_fraction_file(tmp_path, text, message):
    path = tmp_path / "fraction.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        make_splits(partition({1: [(0, 1, 3)]}), VOCABULARY, config(fraction_file=str(path)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "splits.seed"),
        ({"validation_fraction": 0.6}, "splits.validation_fraction"),
        ({"train_fraction": 0.0}, "splits.train_fraction"),
        ({"zero_shot": "rare"}, "splits.zero_shot: 'rare', expected one of non_rare_first"),
        ({"zero_shot": "uc0", "unseen_hois": [1]}, "splits.unseen_hois"),
        ({"unseen_hois": [1, 1]}, "splits.unseen_hois"),
        ({"fraction_file": "a.json", "train_fraction": 0.5}, "splits.fraction_file"),
        ({"unseen_hois": [5, -1]}, r"splits\.unseen_hois\[1\]: -1, expected at least 0"),
    ],
)
def test_bad_params(changes, message):
    with pytest.raises(ParamsError, match=message):
        from_mapping(SplitsConfig, dataclasses.asdict(PLAIN) | changes, "splits")


def test_unseen_class_out_of_range():
    for changes in ({"unseen_hois": [6]}, {"zero_shot": "rare_first"}):
        with pytest.raises(ParamsError, match="the data set has 6"):
            make_splits(partition({1: [(0, 1, 3)]}), VOCABULARY, config(**changes))


def test_the_rare_classes_of_hico_det_are_the_published_ones():
    vocabulary = hico_det()
    none = Annotations(
        schema.IMAGES.empty_table(),
        schema.INSTANCES.empty_table(),
        schema.INTERACTIONS.empty_table(),
    )
    table = classes_table(none, vocabulary, np.zeros(vocabulary.num_hois, bool))
    assert table["rare"].to_numpy().sum() == 138
    assert not table["train_instances"].to_numpy().any()
