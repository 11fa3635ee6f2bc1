"""How a prediction says that there is no object: all ways are one."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from annotation_files import HICO, V_COCO, hico_instances, hoia_predictions, vcoco_files
from prediction_files import score_files, write_json

from hoiclip.catalog.vocabularies import COCO_IDS
from hoiclip.errors import InputError
from hoiclip.formats.predictions.hoia_numbering import NO_OBJECT, RawClasses, class_ids
from hoiclip.formats.predictions.rows import Places

HIT = [verb.name for verb in V_COCO.verbs].index("hit_instr")
BAT = V_COCO.objects.index("baseball_bat")
HOI = V_COCO.hoi_ids[HIT, BAT]
PERSON = V_COCO.person
NUMBERS = {
    "hoia": (COCO_IDS[PERSON], COCO_IDS[BAT], 91, {"category_id": HIT}),
    "zero-based": (PERSON, BAT, 80, {"category_id": HIT}),
    "hoi": (PERSON, BAT, 80, {"category_id": HOI}),
    "hoi-category": (COCO_IDS[PERSON], COCO_IDS[BAT], 91, {"hoi_category_id": HOI + 1}),
    "hoi-category, zero-based": (PERSON, BAT, 80, {"hoi_category_id": HOI + 1}),
}
"""Person, object, no object, and the pair."""


def document_of(tmp_path, person, pair, *, index=1, **box):
    truth, coco = vcoco_files(tmp_path)
    (image,) = json.loads(coco.read_text())["images"][:1]
    x, y, width, height = json.loads(coco.read_text())["annotations"][0]["bbox"]
    people = {"bbox": [x, y, x + width - 1, y + height - 1], "category_id": person}
    entry = {
        "file_name": image["file_name"],
        "predictions": [people, {"bbox": [1, 1, 9, 9]} | box],
        "hoi_prediction": [{"subject_id": 0, "object_id": index, "score": 0.5} | pair],
    }
    source = {"coco": (coco,)}
    path = write_json(tmp_path / "p.json", [entry])
    return path, truth, source


def scenarios(tmp_path, numbering, person, pair, **box):
    path, truth, source = document_of(tmp_path, person, pair, **box)
    scored = score_files(path, truth, source, numbering=numbering.split(",")[0])
    (row,) = (r for r in scored.vcoco.per_role() if r["role"] == "hit_instr")
    return row["ap_scenario_1"], row["ap_scenario_2"]


@pytest.mark.parametrize("numbering", NUMBERS)
def test_every_numbering_has_a_class_of_no_object(tmp_path, numbering):
    person, bat, none, pair = NUMBERS[numbering]
    said, unsaid = (100.0, 100.0), (0.0, 100.0)
    assert scenarios(tmp_path, numbering, person, pair, category_id=bat) == unsaid
    assert scenarios(tmp_path, numbering, person, pair, category_id=none) == said
    assert scenarios(tmp_path, numbering, person, pair, category_id=-1) == said
    assert scenarios(tmp_path, numbering, person, pair, category_id=bat, index=-1) == said
    for box in ([0, 0, 0, 0], [0.0] * 4, [None] * 4, [math.nan] * 4, [], None):
        assert scenarios(tmp_path, numbering, person, pair, category_id=bat, bbox=box) == said


@pytest.mark.parametrize("numbering", ["hoia", "zero-based"])
def test_another_number_behind_the_last_class_is_none(tmp_path, numbering):
    person, _, none, pair = NUMBERS[numbering]
    path, truth, source = document_of(tmp_path, person, pair, category_id=none + 1)
    with pytest.raises(InputError, match=f"{none + 1} is no object class"):
        score_files(path, truth, source, numbering=numbering)


def test_a_person_has_a_box(tmp_path):
    person, bat, _, pair = NUMBERS["zero-based"]
    path, truth, source = document_of(tmp_path, person, pair, category_id=bat)
    document = json.loads(path.read_text())
    for box in ([], None, [math.nan] * 4):
        document[0]["predictions"][0]["bbox"] = box
        with pytest.raises(InputError, match=r"row 0, hoi_prediction\[0\]\.subject_id: 0 is an em"):
            score_files(write_json(path, document), truth, source, numbering="zero-based")
    document[0]["predictions"][0]["bbox"] = [1, math.nan, 2, 2]
    with pytest.raises(InputError, match=r"predictions\[0\]\.bbox: .* is not finite"):
        score_files(write_json(path, document), truth, source, numbering="zero-based")


def test_where_every_class_has_an_object_its_box_is_one(tmp_path):
    path, truth = hoia_predictions(tmp_path), hico_instances(tmp_path)
    document = json.loads(path.read_text())
    document[0]["predictions"][1]["bbox"] = []
    with pytest.raises(InputError, match="expected a list of 4 numbers"):
        score_files(write_json(path, document), truth)
    document[0]["predictions"][1]["bbox"] = [0, 0, 0, 0]
    assert score_files(write_json(path, document), truth).hico.scores.pair_recall == 0.0


def test_parquet_says_it_by_null_nan_and_zeros(tmp_path):
    truth, coco = vcoco_files(tmp_path)
    image = json.loads(coco.read_text())["images"][0]["id"]
    x, y, width, height = json.loads(coco.read_text())["annotations"][0]["bbox"]
    found = []
    for box in ([1.0, 1.0, 9.0, 9.0], None, [math.nan] * 4, [0.0] * 4):
        rows = {
            "image_id": [image],
            "hoi": [HOI],
            "human_box_xyxy": [[float(x), float(y), float(x + width), float(y + height)]],
            "object_box_xyxy": pa.array([box], pa.list_(pa.float64(), 4)),
            "score": [0.5],
        }
        pq.write_table(pa.table(rows), tmp_path / "p.parquet")
        scored = score_files(tmp_path / "p.parquet", truth, {"coco": (coco,)})
        (row,) = (r for r in scored.vcoco.per_role() if r["role"] == "hit_instr")
        found.append(row["ap_scenario_1"])
    assert found == [0.0, 100.0, 100.0, 100.0]


def test_without_missing_objects_there_is_no_such_class(tmp_path):
    raw = RawClasses(*(np.array([v]) for v in (0, 80, 5, 0)))
    places = Places(tmp_path / "p.json", np.zeros(1, int))
    with pytest.raises(InputError, match="80 is no object class"):
        class_ids(raw, HICO, places, "zero-based")
    found = class_ids(raw, V_COCO, places, "zero-based")
    assert found.without_object.all()
    assert found.hoi == V_COCO.hoi_ids.get((5, None), -1)
    assert NO_OBJECT not in raw.object
