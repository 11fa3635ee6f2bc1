"""Damaged files: a reader gives tables that pass `Annotations.check`, or one `InputError`."""

import json
from unittest import mock

import own_layouts
import pytest
import vcoco_layouts
from damage import CONTENT, damaged_bytes, damaged_csv, damaged_json, damaged_mat, mat_bytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layouts import (
    HICO,
    hoia_document,
    instances_document,
    size_of,
    write_mat,
)

from hoiclip.data.readers import hico_instances, hico_mat, hoia, own, vcoco, vcoco_instances
from hoiclip.errors import InputError


def read_hico_instances(folder, data, drop):
    (folder / "i.json").write_bytes(data)
    return hico_instances.read(folder / "i.json", drop_unknown=drop)


def read_hoia(folder, data, drop):
    (folder / "h.json").write_bytes(data)
    return hoia.read(folder / "h.json", HICO, size_of, drop_unknown=drop)


def read_hico_mat(folder, images, drop):
    write_mat(folder / "anno_bbox.mat", images)
    # The file is sound as MATLAB files go, so that no other process has to try it first.
    with mock.patch.object(hico_mat, "_rehearse"):
        return hico_mat.read(folder / "anno_bbox.mat", "test", drop_unknown=drop)


def read_hico_mat_bytes(folder, data, drop):
    (folder / "anno_bbox.mat").write_bytes(data)
    return hico_mat.read(folder / "anno_bbox.mat", "test", drop_unknown=drop)


def read_vcoco(folder, data, drop):
    (folder / "v.json").write_bytes(data)
    coco = folder / "coco.json"
    coco.write_text(json.dumps(vcoco_layouts.coco_document()))
    return vcoco.read(folder / "v.json", [coco], drop_unknown=drop)


def read_coco(folder, data, drop):
    (folder / "coco.json").write_bytes(data)
    labels = folder / "v.json"
    labels.write_text(json.dumps(vcoco_layouts.vcoco_document()))
    return vcoco.read(labels, [folder / "coco.json"], drop_unknown=drop)


def read_vcoco_instances(folder, data, drop):
    (folder / "v.json").write_bytes(data)
    return vcoco_instances.read(folder / "v.json", size_of, drop_unknown=drop)


def read_own(name):
    def read(folder, data, drop):
        (folder / name).write_bytes(data)
        vocabulary = folder / "vocabulary.json"
        vocabulary.write_text(json.dumps(own_layouts.VOCABULARY))
        return own.read(folder / name, vocabulary, drop_unknown=drop)

    return read


def read_own_vocabulary(folder, data, drop):
    (folder / "vocabulary.json").write_bytes(data)
    path = folder / "own.json"
    path.write_text(json.dumps(own_layouts.json_document()))
    return own.read(path, folder / "vocabulary.json", drop_unknown=drop)


READERS = {
    "hico_instances": (read_hico_instances, damaged_json(instances_document(CONTENT))),
    "hoia": (read_hoia, damaged_json(hoia_document(CONTENT))),
    "hico_mat": (read_hico_mat, damaged_mat()),
    "hico_mat_bytes": (read_hico_mat_bytes, damaged_bytes(mat_bytes())),
    "vcoco": (read_vcoco, damaged_json(vcoco_layouts.vcoco_document())),
    "coco": (read_coco, damaged_json(vcoco_layouts.coco_document())),
    "vcoco_instances": (read_vcoco_instances, damaged_json(vcoco_layouts.instances_document())),
    "own_json": (read_own("own.json"), damaged_json(own_layouts.json_document())),
    "own_csv": (read_own("own.csv"), damaged_csv()),
    "own_vocabulary": (read_own_vocabulary, damaged_json(own_layouts.VOCABULARY)),
}


OTHER_PROCESS = "hico_mat_bytes"
"""Starts a process for each file, so it gets fewer of them."""


def check_reader(name, folder, examples):
    """Number of damaged files that could be read all the same."""
    read, files = READERS[name]
    messages, readable = [], []

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(files, st.booleans())
    def run(data, drop):
        try:
            tables, vocabulary, report = read(folder, data, drop)
        except InputError as error:
            messages.append(str(error))
            return
        readable.append(data)
        tables.check("tables", vocabulary)
        tables.write(folder / "tables", {})
        assert report.table().num_rows == sum(report.counts().values())

    run()
    assert messages
    assert all("\n" not in message and len(message) < 1000 for message in messages)
    return len(readable)


@pytest.mark.parametrize("name", READERS)
def test_damaged_files(tmp_path, name):
    check_reader(name, tmp_path, 5 if name == OTHER_PROCESS else 40)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_at_length(tmp_path, name):
    if name == OTHER_PROCESS:
        check_reader(name, tmp_path, 500)
    else:
        assert check_reader(name, tmp_path, 5000) > 100
