"""Damaged files: a reader gives tables that pass `Annotations.check`, or one `InputError`."""

import faulthandler
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import own_layouts
import pytest
import vcoco_layouts
from damage import (
    CONTENT,
    array_bytes,
    damaged_bytes,
    damaged_csv,
    damaged_json,
    damaged_lines,
    damaged_mat,
    damaged_mat_bytes,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layouts import (
    HICO,
    SIZE,
    file_name,
    hoia_document,
    instances_document,
    size_of,
    write_json,
    write_mat,
)

from hoiclip.data.annotations import Annotations
from hoiclip.errors import InputError, ParamsError
from hoiclip.formats.annotations import (
    hico_instances,
    hico_mat,
    hoia,
    mat_structs,
    own,
    vcoco,
    vcoco_instances,
)
from hoiclip.formats.annotations.findings import ReadReport
from hoiclip.splits.splits import SplitsConfig, make_splits

V_COCO = vcoco_layouts.V_COCO


def read_hico_instances(folder, data, drop):
    (folder / "i.json").write_bytes(data)
    return hico_instances.read(folder / "i.json", drop_unknown=drop)


def read_hoia(folder, data, drop):
    (folder / "h.json").write_bytes(data)
    return hoia.read(folder / "h.json", HICO, size_of, drop_unknown=drop)


def read_hoia_of_vcoco(folder, data, drop):
    (folder / "h.json").write_bytes(data)
    numbering = hoia.V_COCO
    return hoia.read(folder / "h.json", V_COCO, size_of, numbering=numbering, drop_unknown=drop)


def read_valid_pairs(folder, data, drop):
    (folder / "corre_hico.npy").write_bytes(data)
    path = write_json(folder / "h.json", hoia_document(CONTENT))
    valid_pairs = folder / "corre_hico.npy"
    return hoia.read(path, HICO, size_of, valid_pairs=valid_pairs, drop_unknown=drop)


def read_hico_mat(folder, images, drop):
    write_mat(folder / "anno_bbox.mat", images)
    # The file is sound as MATLAB files go, so that it crashes nobody.
    with mock.patch.object(hico_mat, "_collect_elsewhere", mat_structs.collect):
        return hico_mat.read(folder / "anno_bbox.mat", "test", drop_unknown=drop)


def run_in_fork(command, **_):
    """Stands for `subprocess.run` of `python -c CODE PATH KEY RESULT`: starting one is slow."""
    child = os.fork()
    if child == 0:
        faulthandler.disable()
        # What this process has already does not count.
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        mat_structs._MEMORY += pages * os.sysconf("SC_PAGE_SIZE")
        code = 1
        try:
            mat_structs.write(*command[3:])
            code = 0
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return SimpleNamespace(returncode=status, stderr=b"")


def read_hico_mat_bytes(folder, data, drop):
    with mock.patch.object(hico_mat.subprocess, "run", run_in_fork):
        return read_hico_mat_in_process(folder, data, drop)


def read_hico_mat_in_process(folder, data, drop):
    (folder / "anno_bbox.mat").write_bytes(data)
    return hico_mat.read(folder / "anno_bbox.mat", "test", drop_unknown=drop)


def vcoco_labels(folder):
    return write_json(folder / "v.json", vcoco_layouts.vcoco_document())


def coco_boxes(folder):
    return write_json(folder / "coco.json", vcoco_layouts.coco_document())


def read_vcoco(folder, data, drop):
    (folder / "v.json").write_bytes(data)
    return vcoco.read(folder / "v.json", [coco_boxes(folder)], drop_unknown=drop)


def read_vcoco_ids(folder, data, drop):
    (folder / "v.ids").write_bytes(data)
    coco, ids = [coco_boxes(folder)], folder / "v.ids"
    return vcoco.read(vcoco_labels(folder), coco, image_ids=ids, drop_unknown=drop)


def read_coco(folder, data, drop):
    (folder / "coco.json").write_bytes(data)
    coco, labels = [folder / "coco.json"], vcoco_labels(folder)
    tables, vocabulary, report = vcoco.read(labels, coco, drop_unknown=drop)
    unlabelled = vcoco.unlabelled_people(labels, coco, tables.images)
    replace(tables, unlabelled_people=unlabelled).write(folder / "with_people", {})
    return tables, vocabulary, report


def read_vcoco_instances(folder, data, drop):
    (folder / "v.json").write_bytes(data)
    return vcoco_instances.read(folder / "v.json", size_of, drop_unknown=drop)


def read_own(name):
    def read(folder, data, drop):
        (folder / name).write_bytes(data)
        vocabulary = write_json(folder / "vocabulary.json", own_layouts.VOCABULARY)
        return own.read(folder / name, vocabulary, drop_unknown=drop)

    return read


def read_own_vocabulary(folder, data, drop):
    (folder / "vocabulary.json").write_bytes(data)
    path = write_json(folder / "own.json", own_layouts.json_document())
    return own.read(path, folder / "vocabulary.json", drop_unknown=drop)


def read_fraction(folder, data, drop):
    """The train part that a fraction's file leaves."""
    (folder / "fraction.json").write_bytes(data)
    config = SplitsConfig(
        seed=0,
        validation_fraction=0.0,
        train_fraction=1.0,
        zero_shot=None,
        unseen_hois=[],
        fraction_file=str(folder / "fraction.json"),
        keep_empty_images=drop,
    )
    path = write_json(folder / "h.json", hoia_document(CONTENT))
    try:
        train = make_splits(hoia.read(path, HICO, size_of)[0], HICO, config).train
    except ParamsError as error:
        raise InputError(config.fraction_file, str(error)) from None
    return train, HICO, ReadReport(path)


HOIA_OF_VCOCO = [
    {
        "file_name": file_name(number),
        "annotations": [
            {"bbox": [1, 2, 8, *SIZE[:1]], "category_id": 1},
            {"bbox": [0, 0, 9, 9], "category_id": vcoco_layouts.CUP},
        ],
        "hoi_annotation": [
            {"subject_id": 0, "object_id": object_, "category_id": vcoco_layouts.verb("hold_obj")}
            for object_ in (1, -1)
        ],
    }
    for number in (3, 4)
]
READERS = {
    "hico_instances": (read_hico_instances, damaged_json(instances_document(CONTENT))),
    "hoia": (read_hoia, damaged_json(hoia_document(CONTENT))),
    "hoia_of_vcoco": (read_hoia_of_vcoco, damaged_json(HOIA_OF_VCOCO)),
    "valid_pairs": (read_valid_pairs, damaged_bytes(array_bytes())),
    "hico_mat": (read_hico_mat, damaged_mat()),
    "hico_mat_bytes": (read_hico_mat_bytes, damaged_mat_bytes()),
    "hico_mat_in_process": (read_hico_mat_in_process, damaged_mat_bytes()),
    "vcoco": (read_vcoco, damaged_json(vcoco_layouts.vcoco_document())),
    "vcoco_ids": (read_vcoco_ids, damaged_lines(["10", "20"])),
    "coco": (read_coco, damaged_json(vcoco_layouts.coco_document())),
    "vcoco_instances": (read_vcoco_instances, damaged_json(vcoco_layouts.instances_document())),
    "own_json": (read_own("own.json"), damaged_json(own_layouts.json_document())),
    "own_csv": (read_own("own.csv"), damaged_csv()),
    "own_vocabulary": (read_own_vocabulary, damaged_json(own_layouts.VOCABULARY)),
    "fraction": (read_fraction, damaged_json(hoia_document(CONTENT))),
}
OTHER_PROCESS = "hico_mat_in_process"
"""Starts a process for each file, so it gets fewer of them."""
LONGEST = 20.0
"""Seconds for one small file, on a machine busy with other things."""


def check_reader(name, folder, examples):
    """Reads `examples` damaged files; how many could be read all the same."""
    read, files = READERS[name]
    messages, readable, seconds = [], [], []

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(files, st.booleans())
    def run(data, drop):
        start = time.perf_counter()
        try:
            tables, vocabulary, report = read(folder, data, drop)
        except InputError as error:
            messages.append(str(error))
            return
        finally:
            seconds.append(time.perf_counter() - start)
        readable.append(data)
        tables.check("tables", vocabulary)
        tables.write(folder / "tables", {})
        assert report.table().num_rows == sum(report.counts().values())

    run()
    print(
        f"\n{name}: {len(seconds)} files, {len(readable)} readable, {len(messages)} refused, "
        f"{sum(seconds):.0f} s in all, {max(seconds):.2f} s at most"
    )
    assert messages
    assert all("\n" not in message and len(message) < 1000 for message in messages)
    assert all(message.startswith(str(folder)) for message in messages)
    assert max(seconds) < LONGEST
    assert not list(folder.glob("**/*.part"))
    if readable:
        Annotations.read(folder / "tables")
    return len(readable)


@pytest.mark.parametrize("name", READERS)
def test_damaged_files(tmp_path, name):
    check_reader(name, tmp_path, 5 if name == OTHER_PROCESS else 40)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_at_length(tmp_path, name):
    if name == OTHER_PROCESS:
        check_reader(name, tmp_path, 300)
    else:
        assert check_reader(name, tmp_path, 5000) > 100


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("hico_instances", "i.json"),
        ("hoia", "h.json"),
        ("valid_pairs", "corre_hico.npy"),
        (OTHER_PROCESS, "anno_bbox.mat"),
        ("vcoco", "v.json"),
        ("vcoco_ids", "v.ids"),
        ("coco", "coco.json"),
        ("vcoco_instances", "v.json"),
        ("own_json", "own.json"),
        ("own_csv", "own.csv"),
        ("own_vocabulary", "vocabulary.json"),
        ("fraction", "fraction.json"),
    ],
)
def test_a_folder_or_nothing_instead_of_a_file(tmp_path, name, file):
    read, _ = READERS[name]
    (tmp_path / file).mkdir()
    with (
        mock.patch("pathlib.Path.write_bytes"),
        pytest.raises(InputError, match=rf"{file}.*(folder|directory)"),
    ):
        read(tmp_path, b"", False)
    (tmp_path / file).rmdir()
    with (
        mock.patch("pathlib.Path.write_bytes"),
        pytest.raises(InputError, match=rf"{file}.*[Nn]o such file"),
    ):
        read(tmp_path, b"", False)


def test_a_source_whose_own_name_is_not_utf_8(tmp_path):
    path = tmp_path / os.fsdecode(b"i\xff.json")
    document = instances_document(CONTENT)
    document["annotation"][0]["boxes_h"] = [[-5, 1, 9, 9]] * len(document["annotation"][0]["hoi"])
    path.write_text(json.dumps(document))
    report = hico_instances.read(path)[2]
    assert report.counts()["box_clipped"] == 1
    assert set(report.table()["file"].to_pylist()) == {f"{tmp_path}/i\\xff.json"}
    report.write(tmp_path / "report.parquet", {})


@pytest.mark.parametrize(
    "entry",
    ["annotations", "hoi_annotation"],
)
def test_deep_nesting_within_a_file(tmp_path, entry):
    document = json.dumps(hoia_document(CONTENT)).replace(
        f'"{entry}": [', f'"{entry}": [' + "[" * 900 + "]" * 900 + ", ", 1
    )
    (tmp_path / "h.json").write_text(document)
    with pytest.raises(InputError, match=rf"h\.json, row 0, {entry}: \["):
        hoia.read(tmp_path / "h.json", HICO, size_of)
