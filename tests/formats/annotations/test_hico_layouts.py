import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import (
    HICO,
    expected_in_order,
    hoia_document,
    instances_document,
    mat_images,
    pairs_in_order,
    random_content,
    same,
    same_as_sets,
    size_of,
    structs,
    write_json,
    write_mat,
)

from hoiclip.formats.annotations import hico_instances, hico_mat, hoia

REAL = Path(__file__).parents[4] / "shared/data/hico_det/instances_test2015.json"
needs_shared = pytest.mark.skipif(not REAL.exists(), reason="needs ../shared")


def read_all(folder, content):
    """The content through every HICO-DET layout."""
    instances = write_json(folder / "instances_test2015.json", instances_document(content))
    stated = write_json(folder / "test_hico.json", hoia_document(content))
    derived = write_json(folder / "derived.json", hoia_document(content, state_hoi=False))
    mat = write_mat(folder / "anno_bbox.mat", mat_images(content))
    return [
        hico_instances.read(instances),
        hoia.read(stated, HICO, size_of),
        hoia.read(derived, HICO, size_of),
        hico_mat.read(mat, "test"),
    ]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6))
def test_every_layout_gives_the_same_rows_each_in_its_own_order(tmp_path_factory, seed):
    tmp_path = tmp_path_factory.mktemp("layouts")
    content = random_content(seed)
    results = read_all(tmp_path, content)
    first = results[0][0]
    assert first.images["image_id"].to_pylist() == list(content)
    for annotations, vocabulary, report in results:
        annotations.check("test", vocabulary)
        assert vocabulary == HICO
        assert same_as_sets(annotations, first)
        assert report.counts() == {}
    # As the layouts are written: as listed, from the last to the first, class after class.
    turned = {number: pairs[::-1] for number, pairs in content.items()}
    hois = {number: list(dict.fromkeys(p[2] for p in pairs)) for number, pairs in content.items()}
    by_class = {
        number: sorted(pairs, key=lambda p, number=number: hois[number].index(p[2]))
        for number, pairs in content.items()
    }
    for (annotations, _, _), listed in zip(
        results, (content, turned, turned, by_class), strict=True
    ):
        assert pairs_in_order(annotations) == expected_in_order(listed)


def test_instances_are_numbered_as_they_first_appear(tmp_path):
    person = next(i for i, hoi in enumerate(HICO.hois) if hoi.object == HICO.person)
    low, high, wide = (1, 30, 9, 40), (1, 1, 9, 9), (1, 1, 60, 9)
    pairs = [(low, wide, 9), (high, low, person), (low, high, 9), (wide, wide, 9)]
    instances, _, turned, mat = [tables for tables, _, _ in read_all(tmp_path, {3: pairs})]
    bicycle = HICO.hois[9].object

    def listed(tables):
        numbers = tables.instances["instance"].to_pylist()
        assert numbers == list(range(len(numbers)))
        boxes = tables.instances["box_xyxy"].to_pylist()
        return [
            (object_, (int(x1) + 1, int(y1) + 1, int(x2), int(y2)))
            for object_, (x1, y1, x2, y2) in zip(
                tables.instances["object"].to_pylist(), boxes, strict=True
            )
        ]

    # Its lists are of the humans, then of the objects; the object `low` is the human `low`.
    assert listed(instances) == [(0, low), (0, high), (0, wide), (bicycle, wide), (bicycle, high)]
    # The file's boxes, pair after pair from the last.
    assert listed(turned) == [(0, wide), (bicycle, wide), (0, low), (bicycle, high), (0, high)]
    # The humans and objects of the first class, then of the second.
    assert listed(mat) == [(0, low), (0, wide), (bicycle, wide), (bicycle, high), (0, high)]
    assert instances.interactions["human"].to_pylist() == [0, 1, 0, 2]
    assert instances.interactions["object_instance"].to_pylist() == [3, 0, 4, 3]


def test_layouts_without_any_pair_or_image(tmp_path):
    for content in ({5: []}, {3: [], 9: []}):
        first, *others = [tables for tables, _, _ in read_all(tmp_path, content)]
        assert first.images.num_rows == len(content)
        assert first.interactions.num_rows == first.instances.num_rows == 0
        assert all(same(first, other) for other in others)
    empty, _, _ = hico_instances.read(write_json(tmp_path / "i.json", instances_document({})))
    empty.check("test", HICO)
    assert empty.images.num_rows == 0


def test_layouts_with_boxes_that_leave_the_image(tmp_path):
    """The two equal but for what lies outside are one, whichever layout tells of them."""
    near, far, other = (50, 40, 64, 48), (50, 40, 70, 60), (1, 1, 9, 9)
    content = {7: [(near, other, 5), (far, other, 5), (near, other, 9), (far, (70, 1, 80, 9), 5)]}
    results = read_all(tmp_path, content)
    for tables, vocabulary, report in results:
        tables.check("test", vocabulary)
        assert same_as_sets(tables, results[0][0])
        assert report.counts() == {
            "box_clipped": 1,
            "box_outside_image": 1,
            "interaction_of_bad_box": 1,
            "pair_repeated": 1,
        }
    assert sum(box[0] == 49.0 for box in results[0][0].instances["box_xyxy"].to_pylist()) == 1


@pytest.fixture(scope="module")
def real():
    """Content of the real test partition as the layouts take it, and sizes by file name."""
    document = json.loads(REAL.read_text())
    content = {
        int(Path(name).stem[-8:]): [
            (tuple(human), tuple(other), hoi)
            for human, other, hoi in zip(
                entry["boxes_h"], entry["boxes_o"], entry["hoi"], strict=True
            )
        ]
        for name, entry in zip(document["filenames"], document["annotation"], strict=True)
    }
    return content, dict(zip(document["filenames"], map(tuple, document["size"]), strict=True))


@needs_shared
def test_the_real_test_partition_is_the_same_in_hoia(tmp_path, real):
    content, sizes = real
    expected, vocabulary, report = hico_instances.read(REAL)
    assert report.counts() == {}
    assert expected.interactions.num_rows == 33405
    assert pairs_in_order(expected) == expected_in_order(content)
    path = write_json(tmp_path / "test_hico.json", hoia_document(content, state_hoi=False))
    tables, _, report = hoia.read(path, vocabulary, sizes.__getitem__)
    assert report.counts() == {}
    assert same_as_sets(tables, expected)
    turned = {number: pairs[::-1] for number, pairs in content.items()}
    assert pairs_in_order(tables) == expected_in_order(turned)


@needs_shared
@pytest.mark.slow
def test_the_real_test_partition_is_the_same_in_mat(tmp_path, real):
    content, sizes = real
    images = mat_images(content)
    for image in images:
        width, height = sizes[image["filename"]]
        image["size"] = structs([{"width": width, "height": height, "depth": 3}])
    tables, _, report = hico_mat.read(write_mat(tmp_path / "anno_bbox.mat", images), "test")
    assert report.counts() == {}
    assert same_as_sets(tables, hico_instances.read(REAL)[0])
