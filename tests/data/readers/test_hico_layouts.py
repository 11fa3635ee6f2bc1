import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import (
    HICO,
    expected_pairs,
    hoia_document,
    instances_document,
    mat_images,
    pairs_of,
    random_content,
    same,
    size_of,
    structs,
    write_json,
    write_mat,
)

from hoiclip.data.readers import hico_instances, hico_mat, hoia

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
def test_every_layout_gives_the_same_tables(tmp_path_factory, seed):
    tmp_path = tmp_path_factory.mktemp("layouts")
    content = random_content(seed)
    results = read_all(tmp_path, content)
    first = results[0][0]
    assert pairs_of(first) == expected_pairs(content)
    assert first.images["image_id"].to_pylist() == list(content)
    for annotations, vocabulary, report in results:
        annotations.check("test", vocabulary)
        assert vocabulary == HICO
        assert same(annotations, first)
        assert report.counts() == {}


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
        assert same(tables, results[0][0])
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
    path = write_json(tmp_path / "test_hico.json", hoia_document(content, state_hoi=False))
    tables, _, report = hoia.read(path, vocabulary, sizes.__getitem__)
    assert report.counts() == {}
    assert same(tables, expected)


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
    assert same(tables, hico_instances.read(REAL)[0])
