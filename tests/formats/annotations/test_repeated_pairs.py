"""A pair that a source states once more is one finding and leaves the tables as they are."""

import copy
import json

import numpy as np
import own_layouts
import pytest
import vcoco_layouts
from layouts import (
    HICO,
    HUMAN,
    OBJECT,
    SIT_ON_BENCH,
    hoia_document,
    instances_document,
    mat_images,
    same,
    size_of,
    write_json,
    write_mat,
)

from hoiclip.formats.annotations import hico_instances, hico_mat, hoia, own, vcoco, vcoco_instances

CONTENT = {1: [(HUMAN, OBJECT, SIT_ON_BENCH)], 2: [(HUMAN, OBJECT, SIT_ON_BENCH)]}


def read_hico_instances(folder, repeat):
    document = instances_document(CONTENT)
    if repeat:
        for values in document["annotation"][1].values():
            values.append(values[0])
    return hico_instances.read(write_json(folder / "i.json", document))


def read_hoia(folder, repeat):
    document = hoia_document(CONTENT)
    if repeat:
        document[1]["hoi_annotation"] *= 2
    return hoia.read(write_json(folder / "h.json", document), HICO, size_of)


def read_hoia_with_equal_boxes(folder, repeat):
    document = hoia_document(CONTENT)
    if repeat:
        boxes, (pair,) = document[1]["annotations"], document[1]["hoi_annotation"]
        boxes += copy.deepcopy(boxes)
        shifted = {key: pair[key] + 2 for key in ("subject_id", "object_id")}
        document[1]["hoi_annotation"].append(pair | shifted)
    return hoia.read(write_json(folder / "h.json", document), HICO, size_of)


def read_hico_mat(folder, repeat):
    images = mat_images(CONTENT)
    if repeat:
        images[1]["hoi"][0, 0]["connection"] = np.array([[1, 1], [1, 1]])
    return hico_mat.read(write_mat(folder / "anno_bbox.mat", images), "test")


def read_vcoco(folder, repeat):
    # The layout's actions share lists of people, which JSON tells apart.
    document = json.loads(json.dumps(vcoco_layouts.vcoco_document()))
    if repeat:
        hold = document[0]
        people = len(hold["ann_id"])
        hold["role_object_id"].append(hold["role_object_id"][people])
        hold["role_object_id"].insert(people, hold["role_object_id"][0])
        for key in ("ann_id", "image_id", "label"):
            hold[key].append(hold[key][0])
    coco = write_json(folder / "coco.json", vcoco_layouts.coco_document())
    return vcoco.read(write_json(folder / "v.json", document), [coco])


def read_vcoco_instances(folder, repeat):
    document = vcoco_layouts.instances_document()
    if repeat:
        for key in ("boxes_h", "boxes_o", "actions", "objects"):
            document["annotations"][0][key] *= 2
    return vcoco_instances.read(write_json(folder / "v.json", document), size_of)


def read_own_json(folder, repeat):
    document = own_layouts.json_document()
    if repeat:
        document["interactions"].append(document["interactions"][0])
    return read_own(write_json(folder / "own.json", document))


def read_own_csv(folder, repeat):
    lines = own_layouts.csv_text().splitlines()
    path = folder / "own.csv"
    path.write_text("\n".join([*lines, lines[1]] if repeat else lines))
    return read_own(path)


def read_own(path):
    vocabulary = path.with_name("vocabulary.json")
    vocabulary.write_text(json.dumps(own_layouts.VOCABULARY))
    return own.read(path, vocabulary)


@pytest.mark.parametrize(
    ("read", "row"),
    [
        (read_hico_instances, 1),
        (read_hoia, 1),
        (read_hoia_with_equal_boxes, 1),
        (read_hico_mat, 1),
        (read_vcoco, 3),
        (read_vcoco_instances, 0),
        (read_own_json, 2),
        (read_own_csv, 3),
    ],
)
def test_a_repeated_pair_is_one_finding(tmp_path, read, row):
    plain, vocabulary, report = read(tmp_path, repeat=False)
    assert report.counts() == {}
    assert plain.interactions.num_rows
    tables, _, report = read(tmp_path, repeat=True)
    tables.check("made", vocabulary)
    assert same(tables, plain)
    (finding,) = report.table().to_pylist()
    assert (finding["row"], finding["kind"], finding["kept"]) == (row, "pair_repeated", False)
