"""`hoiclip import`: every layout becomes the same partition, or one error and nothing else."""

from __future__ import annotations

import json

import annotation_files as files
import pytest

from hoiclip.cli import main
from hoiclip.core import schema
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.formats.annotations.findings import REPORT

TABLES = ("images", "instances", "interactions")


def run(capsys, *arguments, code=0):
    assert main(["import", *map(str, arguments)]) == code
    captured = capsys.readouterr()
    return captured.err if code else captured.out


def imported(folder):
    vocabulary = Vocabulary.read(folder / "vocabulary.parquet")
    annotations = Annotations.read(folder)
    annotations.check(folder, vocabulary)
    return annotations, vocabulary


def test_the_layouts_of_hico_det_give_one_partition(tmp_path, capsys):
    images = files.images(tmp_path / "images")
    told = run(capsys, files.hico_instances(tmp_path), tmp_path / "instances")
    run(capsys, files.hico_hoia(tmp_path), tmp_path / "hoia", "--images", images)
    run(capsys, files.hico_mat(tmp_path), tmp_path / "mat")
    rows = [line.split() for line in told.splitlines()]
    assert ["images", "2"] in rows
    assert ["images", "without", "interactions", "1"] in rows
    assert ["interactions", "1"] in rows
    first, vocabulary = imported(tmp_path / "instances")
    assert vocabulary == files.HICO
    boxes = first.instances["box_xyxy"].to_pylist()
    assert sorted(boxes) == [[10.0, 10.0, 30.0, 40.0], [20.0, 12.0, 34.0, 26.0]]
    assert first.images["image_id"].to_pylist() == [3, 8]
    for name in ("hoia", "mat"):
        other, vocabulary = imported(tmp_path / name)
        assert vocabulary == files.HICO
        for table in TABLES:
            assert getattr(other, table).equals(getattr(first, table))


def test_the_partition_of_the_mat_file_is_an_option(tmp_path, capsys):
    run(capsys, files.hico_mat(tmp_path), tmp_path / "out", "--partition", "train")
    annotations, _ = imported(tmp_path / "out")
    assert annotations.images["file_name"].to_pylist() == ["HICO_train2015_00000001.jpg"]


def test_v_coco(tmp_path, capsys):
    truth, coco = files.vcoco_files(tmp_path)
    told = run(capsys, truth, tmp_path / "out", "--coco", coco)
    assert ["people", "that", "V-COCO", "does", "not", "label", "1"] in [
        line.split() for line in told.splitlines()
    ]
    annotations, vocabulary = imported(tmp_path / "out")
    assert vocabulary == files.V_COCO
    assert annotations.interactions["object_instance"].to_pylist() == [None, None]
    people = schema.read_table(tmp_path / "out/unlabelled_people.parquet", schema.UNLABELLED)
    assert people.to_pylist() == [{"image_id": 5, "box_xyxy": [40.0, 10.0, 60.0, 40.0]}]
    stated = schema.read_provenance(tmp_path / "out/interactions.parquet")
    assert stated == {"source": "vcoco", "file": "vcoco_test.json", "missing_roles": True}
    run(capsys, files.vcoco_instances(tmp_path), tmp_path / "instances", "--coco", coco)
    stated = schema.read_provenance(tmp_path / "instances/interactions.parquet")
    assert stated["missing_roles"] is False
    row = imported(tmp_path / "instances")[0].images.to_pylist()[0]
    assert (row["width"], row["height"]) == files.SIZE


def test_an_imported_partition_evaluates_as_its_source(tmp_path, capsys):
    truth, coco = files.vcoco_files(tmp_path)
    run(capsys, truth, tmp_path / "out", "--coco", coco)
    listed = str(files.vcoco_list(tmp_path))
    found = []
    for arguments in ([str(tmp_path / "out")], [str(truth), "--coco", str(coco)]):
        assert main(["evaluate", listed, *arguments]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]


def test_own_annotations(tmp_path, capsys):
    vocabulary = {
        "objects": ["person", "kite"],
        "verbs": [{"name": "fly", "phrase": "flying", "phrase_alone": None}],
        "hois": [["fly", "kite"]],
    }
    classes = files.write_json(tmp_path / "vocabulary.json", vocabulary)
    path = tmp_path / "own.csv"
    path.write_text(
        "file_name,width,height,human_x1,human_y1,human_x2,human_y2,object,object_x1,object_y1,"
        "object_x2,object_y2,verb\n1.jpg,64,48,1,1,9,9,kite,20,2,30,9,fly\n"
    )
    assert "--vocabulary" in run(capsys, path, tmp_path / "out", code=1)
    run(capsys, path, tmp_path / "out", "--vocabulary", classes)
    assert len(imported(tmp_path / "out")[0].interactions) == 1


def test_findings_are_written_and_counted(tmp_path, capsys):
    truth = files.hico_hoia(tmp_path, object_id=7)
    images = files.images(tmp_path / "images")
    told = run(capsys, truth, tmp_path / "out", "--images", images)
    assert ["index_of_no_box", "1", "left", "out"] in [line.split() for line in told.splitlines()]
    findings = schema.read_table(tmp_path / "out/findings.parquet", REPORT)
    assert findings["kind"].to_pylist() == ["index_of_no_box"]


def test_unknown_pairs_are_an_error_or_left_out(tmp_path, capsys):
    document = json.loads(files.hico_hoia(tmp_path).read_text())
    # Brushing a horse's teeth is no class.
    verb = [v.name for v in files.HICO.verbs].index("brush_with")
    document[0]["hoi_annotation"][0]["category_id"] = verb + 1
    truth = files.write_json(tmp_path / "test_hico.json", document)
    images = files.images(tmp_path / "images")
    error = run(capsys, truth, tmp_path / "out", "--images", images, code=1)
    assert "outside the vocabulary" in error
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))
    run(capsys, truth, tmp_path / "out", "--images", images, "--drop-unknown")
    assert len(imported(tmp_path / "out")[0].interactions) == 0


def test_what_stands_there_is_never_lost(tmp_path, capsys):
    truth, out = files.hico_instances(tmp_path), tmp_path / "out"
    out.mkdir()
    run(capsys, truth, out)
    assert "exists already" in run(capsys, truth, out, code=1)
    imported(out)
    assert "exists already" in run(capsys, truth, truth, code=1)
    assert "is a partition already" in run(capsys, out, tmp_path / "again", code=1)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the file is empty"),
        ("{}", "no annotations of a kind"),
        ("[]", "an empty list, in which there are no annotations"),
        ("[{}]", "no annotations of a kind"),
        ('[{"file_name"', "cut short"),
        ('{"images": [], "annotations": [], "categories": []}', "given as --coco"),
        ('[{"file_name": "a.jpg", "annotations": [], "hoi_annotation": []}]', "sizes of its imag"),
    ],
)
def test_other_files_are_told(tmp_path, capsys, text, told):
    path = tmp_path / "a.json"
    path.write_text(text)
    error = run(capsys, path, tmp_path / "out", code=1)
    assert told in error
    assert len(error.splitlines()) == 1


def test_the_classes_of_a_hoia_file_are_found_out_or_given(tmp_path, capsys):
    document = json.loads(files.hico_hoia(tmp_path).read_text())
    for entry in document:
        entry["file_name"] = entry["file_name"].replace("HICO_", "")
    truth = files.write_json(tmp_path / "test_hico.json", document)
    images = files.images(tmp_path / "images")
    for path in list(images.iterdir()):
        path.rename(path.with_name(path.name.replace("HICO_", "")))
    error = run(capsys, truth, tmp_path / "out", "--images", images, code=1)
    assert "--vocabulary" in error
    run(capsys, truth, tmp_path / "out", "--images", images, "--vocabulary", "hico_det")
    assert imported(tmp_path / "out")[1] == files.HICO
