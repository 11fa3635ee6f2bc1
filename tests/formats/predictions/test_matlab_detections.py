"""Matlab detections: the layout of HICO-DET's evaluator, and the two orders of objects in use."""

from __future__ import annotations

import json

import annotation_files as files
import numpy as np
import pytest
from annotation_files import HICO, HOI, HORSE, HUMAN, NAMES, OTHER
from hico_worlds import random_world
from prediction_files import (
    close,
    hoia_document,
    inclusive,
    names_of,
    score_files,
    write_json,
    write_world,
)
from scipy.io import savemat

from hoiclip.cli import main
from hoiclip.errors import InputError
from hoiclip.formats.predictions import matlab, matlab_cells

ALPHABETICAL = sorted(range(HICO.num_objects), key=lambda o: HICO.objects[o])
ROW = int(np.flatnonzero(np.flatnonzero(HICO.object_of_hoi == HORSE) == HOI)[0])
"""Of riding, among what is done with horses."""


def cells(rows, columns, values=()):
    """A cell array with `values` ((row, column) → numbers) and empty cells else."""
    out = np.empty((rows, columns), object)
    for place in np.ndindex(rows, columns):
        out[place] = np.zeros((0, 0))
    for place, numbers in dict(values).items():
        out[place] = numbers
    return out


def found_pair(score):
    return np.array([[*HUMAN, *OTHER, score]], np.float32)


def write_folder(folder, order=range(HICO.num_objects), **changes):
    """The pair in the first image, the same with a higher score in the second."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, object_ in enumerate(order, 1):
        rows = int((HICO.object_of_hoi == object_).sum())
        values = {(ROW, 0): found_pair(0.5), (ROW, 1): found_pair(0.75)}
        all_boxes = cells(rows, 2, values if object_ == HORSE else ())
        savemat(folder / f"detections_{number:02d}.mat", {"all_boxes": all_boxes})
    return folder


@pytest.fixture
def in_process(monkeypatch):
    """Spares the other process, which takes a second to start."""
    monkeypatch.setattr(matlab, "_parsed", lambda _, paths: matlab_cells.collect(paths))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("matlab"))


def check(scored, protocol="hico"):
    found = scored.metrics()
    assert found["default"]["full"] == pytest.approx(50.0)
    assert found["known_object"]["full"] == pytest.approx(100.0)
    assert found["recall"] == 100.0
    assert found["protocol"] == protocol
    expected = {"format": "matlab", "boxes": "inclusive", "rows": 2}
    assert found["input"] | expected == found["input"]


@pytest.mark.parametrize("layout", ["hico_instances", "hico_hoia", "hico_mat"])
def test_a_folder_by_hand(tmp_path, folder, layout):
    truth = getattr(files, layout)(tmp_path)
    for protocol in ("hico", "hoiclip", "pocket"):
        check(score_files(folder, truth, protocol=protocol), protocol)


def test_one_file_of_all_classes(tmp_path):
    values = {(HOI, 0): found_pair(0.5), (HOI, 1): found_pair(0.75)}
    all_boxes = cells(HICO.num_hois, 2, values)
    savemat(tmp_path / "detections.mat", {"all_boxes": all_boxes})
    truth = files.hico_instances(tmp_path)
    for path in (tmp_path / "detections.mat", tmp_path):
        check(score_files(path, truth))


def test_objects_in_alphabetical_order(tmp_path, folder, in_process):
    truth = files.hico_instances(tmp_path)
    scored = score_files(write_folder(tmp_path / "m", ALPHABETICAL), truth)
    check(scored)
    assert "alphabetically" in " ".join(scored.notes)
    assert "alphabetically" not in " ".join(score_files(folder, truth).notes)


def test_columns_are_images_by_name_where_the_file_has_an_order_of_its_own(
    tmp_path, folder, in_process
):
    path = files.hico_hoia(tmp_path)
    write_json(path, json.loads(path.read_text())[::-1])
    check(score_files(folder, path))


def test_columns_are_images_as_the_data_set_s_own_file_lists_them(tmp_path, folder, in_process):
    path = files.hico_instances(tmp_path)
    content = json.loads(path.read_text())
    for key in ("filenames", "size", "annotation"):
        content[key] = content[key][::-1]
    content["filenames"] = NAMES
    found = score_files(folder, write_json(path, content | {"empty": [0]})).metrics()
    # The annotated pair is the second image's, in which the surer detection is.
    assert found["default"]["full"] == pytest.approx(100.0)
    content["filenames"] = NAMES[::-1]
    found = score_files(folder, write_json(path, content | {"empty": [0]})).metrics()
    assert found["default"]["full"] == pytest.approx(100.0)


@pytest.mark.parametrize("seed", range(4))
def test_they_score_as_hoia_predictions_do(tmp_path, seed, in_process):
    world = random_world(seed)
    vocabulary, names = world.vocabulary, names_of(world)
    columns = {name: column for column, name in enumerate(sorted(names))}
    folder = tmp_path / "m"
    folder.mkdir()
    for object_ in range(vocabulary.num_objects):
        hois = np.flatnonzero(vocabulary.object_of_hoi == object_).tolist()
        rows = {}
        for d in sorted(world.detections, key=lambda d: (d["image"], d["query"])):
            if d["hoi"] in hois:
                place = (hois.index(d["hoi"]), columns[names[d["image"]]])
                boxes = [*inclusive(d["human"]), *inclusive(d["object"])]
                rows.setdefault(place, []).append([*boxes, d["score"]])
        all_boxes = cells(len(hois), len(names), {k: np.array(v) for k, v in rows.items()})
        savemat(folder / f"detections_{object_ + 1:02d}.mat", {"all_boxes": all_boxes})
    truth = write_world(tmp_path, world)
    hoia = write_json(tmp_path / "p.json", hoia_document(world.detections, names, vocabulary))
    for protocol in ("hico", "hoiclip", "pocket"):
        one = score_files(hoia, truth, protocol=protocol, numbering="hoia").metrics()
        two = score_files(folder, truth, protocol=protocol).metrics()
        for key in ("default", "known_object", "recall"):
            assert close(one[key], two[key])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({(0, 0): np.ones((2, 8))}, ["all_boxes{1, 1}: shape (2, 8), expected N x 9"]),
        ({(0, 1): np.ones((3, 3, 3))}, ["all_boxes{1, 2}: shape (3, 3, 3)"]),
        ({(2, 1): "text"}, ["all_boxes{3, 2}", "expected numbers"]),
        ({(0, 0): np.array([[1j] * 9])}, ["all_boxes{1, 1}", "expected numbers"]),
        ({(0, 0): cells(1, 1)}, ["all_boxes{1, 1}", "expected numbers"]),
        ({(0, 1): np.array([[1, 1, 2, 2, 1, 1, 2, np.nan, 1]])},
         ["row 1, all_boxes[0].object box", "not finite"]),
        ({(0, 1): np.array([[1, 1, 2, 2, 1, 1, 2, 2, 1], [1, 1, 0, 2, 1, 1, 2, 2, 1]])},
         ["row 1, all_boxes[1].human box", "x1 <= x2"]),
        ({(0, 0): np.array([[1, 1, 2, 2, 1, 1, 2, 2, np.inf]])},
         ["row 0, all_boxes[0].score: inf is not finite"]),
    ],
)  # fmt: skip
def test_a_wrong_cell_is_told(tmp_path, change, told, in_process):
    savemat(tmp_path / "detections.mat", {"all_boxes": cells(HICO.num_hois, 2, change)})
    with pytest.raises(InputError) as caught:
        score_files(tmp_path, files.hico_instances(tmp_path))
    assert all(text in str(caught.value) for text in ["detections.mat", *told]), caught.value


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"all_boxes": cells(10, 2)}, "10 rows, and the annotations have 600 HOI classes"),
        ({"all_boxes": cells(600, 3)}, "3 columns, and the annotations have 2 images"),
        ({"all_boxes": np.ones((600, 2))}, "not a cell array"),
        ({"all_boxes": "text"}, "not a cell array"),
        ({"all_boxes": {"a": 1}}, "not a cell array"),
        ({"boxes": cells(600, 2)}, "all_boxes: missing"),
    ],
)
def test_another_content_is_told(tmp_path, content, told, in_process):
    savemat(tmp_path / "detections.mat", content)
    with pytest.raises(InputError) as caught:
        score_files(tmp_path / "detections.mat", files.hico_instances(tmp_path))
    assert told in str(caught.value)


def test_another_folder_is_told(tmp_path, folder, in_process):
    truth = files.hico_instances(tmp_path)
    other = write_folder(tmp_path / "m")
    (other / "detections_07.mat").rename(other / "detections_81.mat")
    with pytest.raises(InputError, match=r"detections_81\.mat: there are 80 object classes"):
        score_files(other, truth)
    (other / "detections_81.mat").unlink()
    with pytest.raises(InputError, match=r"79 of 80 object classes; missing are detections_07\.m"):
        score_files(other, truth)
    savemat(other / "detections_07.mat", {"all_boxes": cells(1, 2)})
    with pytest.raises(InputError, match=r"detections_07\.mat, all_boxes: 1 rows, and train has"):
        score_files(other, truth)
    with pytest.raises(InputError, match="no Matlab detections stand"):
        score_files(tmp_path, truth)
    partition = tmp_path / "partition"
    assert main(["import", str(truth), str(partition)]) == 0
    with pytest.raises(InputError, match="holds annotations"):
        score_files(partition, truth)


def test_they_are_of_classes_with_objects(tmp_path, folder):
    truth, coco = files.vcoco_files(tmp_path)
    with pytest.raises(InputError, match="whose classes all have an object"):
        score_files(folder, truth, {"coco": (coco,)})


def test_damaged_files_are_told(tmp_path, folder, monkeypatch):
    truth = files.hico_instances(tmp_path)
    sound = (folder / "detections_01.mat").read_bytes()
    path = tmp_path / "detections.mat"
    for damaged in (
        sound[:200],
        sound[:130] + b"\xff" * 40 + sound[170:],
        b"MATLAB 7.3 MAT-file" + bytes(600),
        b"MATLAB",
        b"",
    ):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"detections\.mat: "):
            score_files(path, truth)
    header = bytearray(128)
    header[:19] = b"MATLAB 7.3 MAT-file"
    header[124:128] = b"\x00\x02IM"
    path.write_bytes(bytes(header) + b"\x89HDF\r\n\x1a\n" + bytes(500))
    with pytest.raises(InputError, match=r"a MATLAB 7\.3 file, which is not read here.*-v7"):
        score_files(path, truth)
    monkeypatch.setattr(
        matlab, "_CODE", "import os, sys; print('detections_03.mat', file=sys.stderr); os.abort()"
    )
    with pytest.raises(InputError, match=r"its parser ended: detections_03\.mat"):
        score_files(folder, truth)
