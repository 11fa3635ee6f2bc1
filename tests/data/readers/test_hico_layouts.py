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
    write_json,
    write_mat,
)

from hoiclip.data.readers import hico_instances, hico_mat, hoia


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
