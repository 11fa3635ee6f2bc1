"""`hoiclip evaluate` with files as other projects have them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import annotation_files as files
import pyarrow.csv
import pytest

from hoiclip.cli import main
from hoiclip.core import schema
from hoiclip.data.annotations import Annotations
from hoiclip.formats.annotations import hico_instances

ROOT = Path(__file__).parents[2]
CACHE_TEMPLATE = """
from collections import defaultdict
class CacheTemplate(defaultdict):
    def __init__(self, **kwargs):
        super().__init__()
        self.update(kwargs)
    def __missing__(self, key):
        return 0.0 if key.endswith("_agent") else [0.0, 0.0, 0.1, 0.1, 0.0]
"""


@pytest.fixture
def predictions(tmp_path):
    return files.hoia_predictions(tmp_path)


def evaluate(capsys, *arguments):
    assert main(["evaluate", *map(str, arguments)]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("layout", ["hico_instances", "hico_hoia", "hico_mat"])
def test_two_files_are_enough(tmp_path, capsys, predictions, layout):
    truth = getattr(files, layout)(tmp_path)
    for protocol in ("hico", "hoiclip", "pocket"):
        found = evaluate(capsys, predictions, truth, "--protocol", protocol)
        assert found["protocol"] == protocol
        assert found["default"]["full"] == pytest.approx(50.0)
        assert found["known_object"]["full"] == pytest.approx(100.0)
        assert found["recall"] == 100.0
        # Riding a horse is not rare, and the published list says so.
        assert found["default"]["rare"] is None
        assert found["default"]["non_rare"] == pytest.approx(50.0)


def test_recall_steps_are_said_where_they_are_not_the_protocols_own(tmp_path, capsys, predictions):
    truth = files.hico_instances(tmp_path)
    for steps in ("exact", "numpy"):
        found = evaluate(capsys, predictions, truth, "--recall-steps", steps)
        assert found["recall_steps"] == steps
    assert "recall_steps" not in evaluate(capsys, predictions, truth, "--recall-steps", "matlab")
    assert "recall_steps" not in evaluate(capsys, predictions, truth)
    labels, coco = files.vcoco_files(tmp_path)
    listed = [str(files.vcoco_list(tmp_path)), str(labels), "--coco", str(coco)]
    assert main(["evaluate", *listed, "--recall-steps", "exact"]) == 1
    error = capsys.readouterr().err
    assert "V-COCO's list names no HOI classes" in error
    assert "Leave --recall-steps out" in error
    assert error.count("\n") == 1


def test_a_partition_finds_its_vocabulary_beside_it(tmp_path, capsys, predictions):
    annotations, vocabulary, _ = hico_instances.read(files.hico_instances(tmp_path))
    for place in ("one/annotations/test", "two/test", "three"):
        annotations.write(tmp_path / place, {})
    for place in ("one", "two", "three"):
        vocabulary.write(tmp_path / place / "vocabulary.parquet", {})
    for place in ("one/annotations/test", "two/test", "three"):
        found = evaluate(capsys, predictions, tmp_path / place)
        assert found["default"]["full"] == pytest.approx(50.0)
    annotations.write(tmp_path / "far/a/b/c", {})
    assert main(["evaluate", str(predictions), str(tmp_path / "far/a/b/c")]) == 1
    assert "--vocabulary" in capsys.readouterr().err
    found = evaluate(capsys, predictions, tmp_path / "far/a/b/c", "--vocabulary", "hico_det")
    assert found["default"]["full"] == pytest.approx(50.0)


def test_outputs(tmp_path, capsys, predictions):
    truth, out = files.hico_instances(tmp_path), tmp_path / "out"
    found = evaluate(capsys, predictions, truth, "--out", out)
    assert {path.name for path in out.iterdir()} == {
        "metrics.json", "per_class.parquet", "per_class.csv", "per_verb.csv", "pr_curves.csv",
    }  # fmt: skip
    assert json.loads((out / "metrics.json").read_text()) == found
    per_class = schema.read_table(out / "per_class.parquet", schema.PER_CLASS).to_pylist()
    assert per_class[files.HOI]["ap_default"] == pytest.approx(50.0)
    rows = pyarrow.csv.read_csv(out / "per_verb.csv").to_pylist()
    assert [row["ap"] for row in rows if row["verb"] == "ride"] == [pytest.approx(50.0)]
    assert "diagnosis" not in found
    found = evaluate(capsys, predictions, truth, "--out", out, "--diagnosis")
    assert json.loads((out / "diagnosis.json").read_text()) == found["diagnosis"]
    assert found["diagnosis"]["delta_ap"]["background"] == pytest.approx(50.0)


def test_a_terminal_gets_a_table(tmp_path, capsys, monkeypatch, predictions):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    arguments = [str(predictions), str(files.hico_instances(tmp_path)), "--diagnosis"]
    assert main(["evaluate", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "protocol hico, percent"
    assert ["default", "50.00", "-", "50.00"] in [line.split() for line in lines]
    assert ["background", "1", "50.00"] in [line.split() for line in lines]
    assert main(["evaluate", *arguments, "--recall-steps", "exact"]) == 0
    assert capsys.readouterr().out.startswith("protocol hico, recall steps exact, percent\n")


def test_v_coco_from_its_own_files(tmp_path, capsys):
    truth, coco = files.vcoco_files(tmp_path)
    listed = files.vcoco_list(tmp_path)
    out = tmp_path / "out"
    found = evaluate(capsys, listed, truth, "--coco", coco, "--out", out, "--diagnosis")
    assert found["protocol"] == "vcoco"
    assert (found["missing_roles"], found["unlabelled_people"]) == (True, True)
    # The other person is not labelled, and detections of him are ignored. No object of `hit` is
    # annotated: scenario 1 asks for a detection without one.
    assert found["vcoco"]["ap_agent"] == 100.0
    assert found["vcoco"]["ap_role_scenario_1"] == pytest.approx(50.0)
    assert found["vcoco"]["ap_role_scenario_2"] == 100.0
    rows = pyarrow.csv.read_csv(out / "per_role.csv").to_pylist()
    told = {row["role"]: (row["ap_scenario_1"], row["ap_scenario_2"]) for row in rows}
    assert (told["hit_instr"], told["hit_obj"]) == ((100.0, 100.0), (0.0, 100.0))
    assert main(["evaluate", str(listed), str(truth)]) == 1
    assert "--coco" in capsys.readouterr().err


def test_v_coco_in_the_instances_form(tmp_path, capsys):
    truth, listed = files.vcoco_instances(tmp_path), files.vcoco_list(tmp_path)
    _, coco = files.vcoco_files(tmp_path)
    found = evaluate(capsys, listed, truth)
    assert (found["missing_roles"], found["unlabelled_people"]) == (False, False)
    assert found["vcoco"]["ap_role_scenario_1"] == 0.0
    assert evaluate(capsys, listed, truth, "--coco", coco)["vcoco"] == found["vcoco"]


def one_line_error(capsys, *arguments):
    assert main(["evaluate", *map(str, arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def test_errors_are_one_line(tmp_path, capsys, predictions):
    truth = files.hico_instances(tmp_path)
    assert "no such file" in one_line_error(capsys, tmp_path / "none.json", truth)
    assert "no such file or folder" in one_line_error(capsys, predictions, tmp_path / "none")
    assert "holds annotations" in one_line_error(capsys, files.hico_hoia(tmp_path), truth)
    assert "holds predictions" in one_line_error(capsys, predictions, predictions)
    cut = tmp_path / "cut.json"
    cut.write_bytes(predictions.read_bytes()[:-30])
    assert "cut short" in one_line_error(capsys, cut, truth)
    pickle = tmp_path / "p.pkl"
    pickle.write_bytes(b"\x80\x04N.")
    assert "a pickle" in one_line_error(capsys, pickle, truth)
    renamed = tmp_path / "renamed.json"
    renamed.write_text(predictions.read_text().replace("HICO_test", "test2015/HICO_test"))
    assert "none of the 2 annotated images" in one_line_error(capsys, renamed, truth)
    assert "is a file" in one_line_error(capsys, predictions, truth, "--out", truth)
    assert "not the folder of a partition" in one_line_error(capsys, predictions, tmp_path)
    wrong = ("--vocabulary", "vcoco")
    assert "not those of vcoco" in one_line_error(capsys, predictions, truth, *wrong)
    empty = tmp_path / "empty.json"
    for text, told in (("", "the file is empty"), ("[]", "an empty list"), ("{}", "See docs")):
        empty.write_text(text)
        assert told in one_line_error(capsys, predictions, empty)
    assert not list(tmp_path.glob("*.part"))


def test_a_typo_in_an_option_is_told(tmp_path, capsys, predictions):
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", str(predictions), str(tmp_path), "--protocoll", "hico"])
    assert caught.value.code == 2
    assert "--protocoll" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), None),
        (("--vocabulary", "hico_det", "--kind", "partition"), None),
        (("--partition", "test"), "--partition changes nothing. Leave it out"),
        (("--images", "."), "--images changes nothing. Leave it out"),
        (("--coco", "a.json", "b.json"), "--coco changes nothing. Leave it out"),
        (("--image-ids", "a.ids"), "--image-ids changes nothing. Leave it out"),
        (("--drop-unknown",), "--drop-unknown changes nothing. Leave it out"),
        (
            ("--kind", "partition", "--drop-unknown", "--images", "."),
            "--images, --drop-unknown change nothing. Leave them out",
        ),
    ],
)
def test_what_says_nothing_of_a_partition_s_folder_is_refused(
    tmp_path, capsys, predictions, options, told
):
    truth = tmp_path / "truth"
    read, vocabulary, _ = hico_instances.read(files.hico_instances(tmp_path))
    read.write(truth, {})
    vocabulary.write(tmp_path / "vocabulary.parquet", {})
    if told is None:
        assert evaluate(capsys, predictions, truth, *options)["recall"] == 100.0
        return
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", str(predictions), str(truth), *options])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"error: {truth} is a partition's folder, of which {told}" in line


def test_nothing_is_written_when_something_is_wrong(tmp_path, capsys, predictions):
    out = tmp_path / "out"
    wrong = predictions.read_text().replace("0.75", "NaN")
    predictions.write_text(wrong)
    assert "nan" in one_line_error(
        capsys, predictions, files.hico_instances(tmp_path), "--out", out
    )
    assert not out.exists()


def test_no_torch_is_imported(tmp_path, predictions):
    arguments = ["evaluate", str(predictions), str(files.hico_instances(tmp_path))]
    code = (
        "import sys; from hoiclip.cli import main; "
        f"main({arguments!r}); assert not {{'torch', 'timm', 'open_clip'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_extra_columns_of_the_documented_table_are_ignored(tmp_path, capsys):
    annotations, _, _ = hico_instances.read(files.hico_instances(tmp_path))
    assert isinstance(annotations, Annotations)
    human, other = ([*box[:2], box[2] + 1, box[3] + 1] for box in (files.HUMAN, files.OTHER))
    rows = [
        {
            "image_id": 3, "query": 0, "hoi": files.HOI, "human_box_xyxy": human,
            "object_box_xyxy": other, "score": 0.5, "hoi_score": 0.1, "object_score": 0.2,
            "clip_score": 0.3, "comment": "mine",
        }
    ]  # fmt: skip
    path = tmp_path / "p.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    found = evaluate(capsys, path, tmp_path / "instances_test2015.json")
    assert found["default"]["full"] == pytest.approx(100.0)
    assert found["input"]["boxes"] == "continuous"


def test_the_examples_of_the_documentation(tmp_path, capsys):
    text = (ROOT / "docs/evaluation.md").read_text(encoding="utf-8")
    hoia, listed = re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL)
    truth = files.hico_instances(tmp_path)
    predictions = tmp_path / "p.json"
    predictions.write_text(hoia.replace("HICO_test2015_00000001.jpg", files.NAMES[0]))
    found = evaluate(capsys, predictions, truth)
    assert found["input"] | {"rows": 1, "format": "hoia", "numbering": "hoia"} == found["input"]
    (tmp_path / "list.json").write_text(listed.replace("294", "5"))
    found = evaluate(capsys, tmp_path / "list.json", files.vcoco_instances(tmp_path))
    assert found["input"] | {"rows": 1, "format": "vcoco"} == found["input"]


def test_the_documented_way_from_a_pickle(tmp_path, capsys):
    """UPT's `cache.pkl` holds a class of UPT's, which nobody else has."""
    kept = json.loads(files.vcoco_list(tmp_path).read_text())
    kept = [{k: v for k, v in entry.items() if v is not None} for entry in kept]
    (tmp_path / "kept.json").write_text(json.dumps(kept))
    (tmp_path / "utils.py").write_text(CACHE_TEMPLATE)
    make = (
        "import json, pickle, numpy\nfrom utils import CacheTemplate\n"
        "entries = [CacheTemplate(**entry) for entry in json.load(open('kept.json'))]\n"
        "entries[0]['person_box'] = numpy.array(entries[0]['person_box'], numpy.float32)\n"
        "pickle.dump(entries, open('cache.pkl', 'wb'), 2)"
    )
    subprocess.run([sys.executable, "-c", make], cwd=tmp_path, check=True)
    (tmp_path / "utils.py").unlink()
    truth, coco = files.vcoco_files(tmp_path)
    told = one_line_error(capsys, tmp_path / "cache.pkl", truth, "--coco", coco)
    text = (ROOT / "docs/evaluation.md").read_text(encoding="utf-8")
    (documented,) = re.findall(r"```python\n(import json, pickle.*?)```", text, flags=re.DOTALL)
    documented = documented.replace("detections.p", "cache.p").replace("detections.", "cache.")
    expected = evaluate(capsys, tmp_path / "kept.json", truth, "--coco", coco)
    for code in (told.split("make it JSON in Python: ")[1], documented):
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
        found = evaluate(capsys, tmp_path / "cache.json", truth, "--coco", coco)
        assert found == expected
        assert found["vcoco"]["ap_agent"] == 100.0
        (tmp_path / "cache.json").unlink()


@pytest.mark.parametrize("layout", ["hico_instances", "hico_hoia", "hico_mat", "vcoco", "folder"])
def test_swapped_files_are_told(tmp_path, capsys, predictions, layout):
    if layout == "vcoco":
        truth = files.vcoco_files(tmp_path)[0]
    elif layout == "folder":
        truth = tmp_path / "partition"
        hico_instances.read(files.hico_instances(tmp_path))[0].write(truth, {})
    else:
        truth = getattr(files, layout)(tmp_path)
    line = one_line_error(capsys, truth, predictions)
    assert "holds annotations (" in line or "holds predictions, not annotations" in line
    assert "The order is PREDICTIONS ANNOTATIONS" in line


def test_swapped_tables_are_told(tmp_path, capsys, predictions):
    own = tmp_path / "own.csv"
    own.write_text("file_name;width;height;human_x1\n")
    assert "holds annotations (own)" in one_line_error(capsys, own, predictions)
    other = tmp_path / "other.csv"
    other.write_text("image,score\n")
    assert "expected a JSON list" in one_line_error(capsys, other, predictions)
    table = tmp_path / "p.parquet"
    table.write_bytes(b"PAR1 and more")
    assert "The order is PREDICTIONS" in one_line_error(capsys, predictions, table)
