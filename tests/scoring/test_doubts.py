"""Notes about scores that say nothing: boxes in another frame, classes that cannot meet."""

from __future__ import annotations

import json

import annotation_files as files
import numpy as np
import pytest

from hoiclip.cli import main
from hoiclip.formats.annotations.frame import frame_notes

SIZE = (640, 400)
HUMANS = [[100, 50, 300, 350], [320, 20, 600, 390], [40, 100, 240, 380]]
OTHERS = [[250, 200, 500, 380], [300, 250, 560, 399], [10, 300, 120, 390]]
VOCABULARY = {
    "objects": ["person", "wrench"],
    "verbs": [{"name": "hold", "phrase": "holding"}, {"name": "drop", "phrase": "dropping"}],
    "hois": [["hold", "wrench"], ["drop", "wrench"]],
}
RESIZED = 2.0
"""To 800 pixels in height."""


def row(index, human, other, verb="hold"):
    return ",".join(map(str, [f"{index}.jpg", *SIZE, *human, "wrench", *other, verb]))


def run(capsys, tmp_path, change, verb=1, annotated=None):
    """Notes of `evaluate` for predictions that are the truth, changed."""
    columns = ["file_name", "width", "height"]
    columns += [f"human_{c}" for c in ("x1", "y1", "x2", "y2")] + ["object"]
    columns += [f"object_{c}" for c in ("x1", "y1", "x2", "y2")] + ["verb"]
    pairs = list(zip(HUMANS, OTHERS, strict=True))
    annotated = annotated or (lambda box: box)
    lines = [row(i, annotated(h), annotated(o)) for i, (h, o) in enumerate(pairs)]
    (tmp_path / "a.csv").write_text("\n".join([",".join(columns), *lines]))
    (tmp_path / "v.json").write_text(json.dumps(VOCABULARY))
    document = [
        {
            "file_name": f"{i}.jpg",
            "predictions": [
                {"bbox": list(map(float, change(box))), "category_id": c}
                for c, box in enumerate(pair, 1)
            ],
            "hoi_prediction": [{"subject_id": 0, "object_id": 1, "category_id": verb, "score": 1}],
        }
        for i, pair in enumerate(pairs)
    ]
    (tmp_path / "p.json").write_text(json.dumps(document))
    files = [str(tmp_path / name) for name in ("p.json", "a.csv")]
    options = ["--vocabulary", str(tmp_path / "v.json"), "--boxes", "continuous"]
    assert main(["evaluate", *files, *options, "--numbering", "hoia"]) == 0
    captured = capsys.readouterr()
    notes = [n for n in captured.err.splitlines() if "rare" not in n]
    return json.loads(captured.out)["default"]["full"], notes


def fractions(box):
    return np.array(box) / np.tile(SIZE, 2)


def centred(box):
    x1, y1, x2, y2 = box
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (fractions, ["all 6 boxes of the predictions lie within 1 pixel", "read as fractions"]),
        (
            lambda box: np.array(box) * RESIZED,
            ["most boxes of the predictions (6 of 6) reach beyond the stated image", "to 800 pix"],
        ),
        (lambda box: np.array(box)[[1, 0, 3, 2]], ["no prediction lies on", "Read as y1, x1, y2"]),
    ],
)
def test_boxes_of_another_frame(capsys, tmp_path, change, told):
    score, notes = run(capsys, tmp_path, change)
    assert score == 0.0
    assert len(notes) == 1
    assert all(part in notes[0] for part in told), notes


def test_boxes_in_their_frame_earn_no_note(capsys, tmp_path):
    assert run(capsys, tmp_path, lambda box: box) == (pytest.approx(100.0), [])
    # Detectors leave the image by a little.
    assert run(capsys, tmp_path, lambda box: np.add(box, [0, 0, 9, 9]))[1] == []


def test_annotated_boxes_of_another_frame(capsys, tmp_path):
    _, notes = run(capsys, tmp_path, fractions, annotated=fractions)
    assert any("all 6 boxes of the annotations lie within 1 pixel" in n for n in notes)
    _, notes = run(capsys, tmp_path, lambda b: b, annotated=lambda b: np.array(b) * RESIZED)
    assert any("most boxes of the annotations (6 of 6) reach beyond" in n for n in notes)


@pytest.mark.parametrize(
    ("kind", "meant"),
    [
        (
            "corner",
            "boxes of the annotations (4 of 6) end before they begin: they look like x, y, wi",
        ),
        ("centre", "they begin: they look like centre x, centre y, width, height"),
    ],
)
def test_annotated_boxes_with_extents(capsys, tmp_path, kind, meant):
    def changed(box):
        x, y, width, height = centred(box)
        return (x, y, width, height) if kind == "centre" else (*box[:2], width, height)

    _, notes = run(capsys, tmp_path, lambda box: box, annotated=changed)
    assert any(meant in note for note in notes)


@pytest.mark.parametrize("scale", [1.0, RESIZED])
def test_people_of_v_coco_s_list(capsys, tmp_path, scale):
    person = np.array([10, 10, 29, 39]) * scale * (1 if scale > 1 else 3)
    truth, coco = files.vcoco_files(tmp_path)
    document = json.loads(files.vcoco_list(tmp_path).read_text())[:1]
    document[0]["person_box"] = person.tolist()
    path = files.write_json(tmp_path / "detections.json", document)
    assert main(["evaluate", str(path), str(truth), "--coco", str(coco)]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["vcoco"]["ap_role_scenario_2"] == 0.0
    assert "of the predictions" in captured.err or "no prediction lies on" in captured.err


def test_classes_that_cannot_meet_are_told(capsys, tmp_path):
    score, notes = run(capsys, tmp_path, lambda box: box, verb=2)
    assert score == 0.0
    assert len(notes) == 1
    assert "nothing can match: no prediction names an HOI class" in notes[0]
    assert "--numbering hoia" in notes[0]


def test_notes_by_hand():
    sizes = np.array([[100.0, 50.0]] * 4)
    boxes = np.array([[0, 0, 105, 50], [0, 0, 107, 50], [0, 0, 50, 54], [-6, 0, 50, 50.0]])
    # 107 > 105 + 1, 54 > 52.5 + 1, -6 < -5; 105 is within the margin.
    (note,) = frame_notes("predictions", boxes, sizes)
    assert "(3 of 4)" in note
    assert frame_notes("predictions", boxes[[0, 0, 1, 2]], sizes) == []
    assert frame_notes("predictions", np.full((4, 4), np.nan), sizes) == []
    assert frame_notes("predictions", np.zeros((0, 4)), np.zeros((0, 2))) == []
    assert "within 1 pixel" in frame_notes("x", np.array([[0, 0.5, 1, 1.0]]), sizes[:1])[0]
    assert frame_notes("x", np.array([[0, 0.5, 1, 1.0], [0, 0, 3, 3]]), sizes[:2]) == []
