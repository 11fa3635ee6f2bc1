from __future__ import annotations

import json
from dataclasses import replace

import hico_worlds
import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pytest
import vcoco_worlds
from vcoco_worlds import (
    CUP,
    FAR,
    HIT_INSTR,
    HIT_OBJ,
    STAND,
    VOCABULARY,
    detection,
    hoi,
    holding,
    person,
)

from hoiclip.catalog.vocabularies import hico_det, vcoco
from hoiclip.core import schema
from hoiclip.core.config import from_mapping, load
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.errors import InputError, ParamsError
from hoiclip.evaluation.ap.protocols import PROTOCOLS
from hoiclip.evaluation.diagnosis import diagnose
from hoiclip.evaluation.evaluation import EvaluateConfig, Evaluation, evaluate_partition
from hoiclip.evaluation.hico import evaluate_hico
from hoiclip.evaluation.outputs import metrics
from hoiclip.evaluation.vcoco import evaluate_vcoco
from hoiclip.evaluation.vcoco_diagnosis import diagnose_vcoco
from hoiclip.evaluation.vcoco_truth import Actions

PEOPLE = [
    [holding(), person({"hit": {"hit_instr": FAR, "hit_obj": None}}, box=FAR)],
    [holding(None), person(box=FAR, labelled=False), person({"stand": {}}, box=CUP)],
]
DETECTIONS = [
    detection(0.9),
    detection(0.8, query=1, human=FAR, object=FAR, hoi=hoi(HIT_INSTR)),
    detection(0.7, query=1, human=FAR, object=FAR, hoi=hoi(HIT_OBJ)),
    detection(0.95, image=1, human=FAR, object=None, hoi=hoi(0, None)),
    detection(0.6, image=1, query=1, object=None, hoi=hoi(0, None)),
]
CLASSES = hico_worlds.classes_table([False, True] * 6 + [False], [True] * 13)


def written(folder, people=PEOPLE, provenance=None, unlabelled=True) -> Annotations:
    """A V-COCO partition, which stands on disk."""
    annotations = vcoco_worlds.partition(people)
    if not unlabelled:
        annotations = replace(annotations, unlabelled_people=None)
    annotations.write(folder, provenance or {})
    return annotations


def evaluation(folder, protocol: str = "vcoco") -> Evaluation:
    predictions = vcoco_worlds.predictions(DETECTIONS)
    config = EvaluateConfig(protocol=protocol)
    return evaluate_partition(predictions, folder, VOCABULARY, CLASSES, config)


def test_vcoco_says_what_its_parts_say(tmp_path):
    annotations = written(tmp_path, provenance={"missing_roles": True})
    found = evaluation(tmp_path)
    predictions = vcoco_worlds.predictions(DETECTIONS)
    roles = evaluate_vcoco(predictions, annotations, VOCABULARY)
    beside = evaluate_hico(predictions, annotations, VOCABULARY, CLASSES)
    expected = metrics(beside) | roles.metrics()
    expected |= {"protocol": "vcoco", "missing_roles": True, "unlabelled_people": True}
    assert found.metrics() == expected
    assert found.metrics()["vcoco"]["ap_role_scenario_2"] == pytest.approx(100)
    assert found.diagnosis == diagnose_vcoco(predictions, annotations, VOCABULARY)
    assert found.diagnosis["map"] == found.metrics()["vcoco"]["ap_role_scenario_1"]


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_hico_protocols_say_what_their_parts_say_on_vcoco_too(tmp_path, protocol):
    annotations = written(tmp_path)
    found = evaluation(tmp_path, protocol)
    predictions = vcoco_worlds.predictions(DETECTIONS)
    rules = PROTOCOLS[protocol]
    result = evaluate_hico(predictions, annotations, VOCABULARY, CLASSES, rules)
    assert found.metrics() == metrics(result)
    assert found.diagnosis == diagnose(predictions, annotations, VOCABULARY, rules)


@pytest.mark.parametrize("protocol", ["hico", "vcoco"])
def test_recall_steps_are_passed_on(tmp_path, protocol):
    # Three of ten people who stand are found, without a false alarm.
    standing = [[person({"stand": {}})] for _ in range(10)]
    written(tmp_path, standing)
    rows = [detection(0.9, image=i, hoi=hoi(STAND, None), object=None) for i in range(3)]
    predictions = vcoco_worlds.predictions(rows)
    for steps, reached in ((None, 3), ("matlab", 3), ("exact", 4)):
        config = EvaluateConfig(protocol=protocol, recall_steps=steps)
        found = evaluate_partition(predictions, tmp_path, VOCABULARY, CLASSES, config)
        assert found.metrics()["default"]["full"] == pytest.approx(100 * reached / 11)
        assert found.metrics().get("recall_steps") == ("exact" if reached == 4 else None)
        if protocol == "hico":
            assert found.diagnosis["map"] == pytest.approx(100 * reached / 11)


def test_params_name_recall_steps(tmp_path):
    path = tmp_path / "params.yaml"
    for text, expected in (("null", None), ("exact", "exact")):
        path.write_text(f"evaluate:\n  protocol: hico\n  recall_steps: {text}\n")
        assert load(EvaluateConfig, "evaluate", path).recall_steps == expected
    path.write_text("evaluate:\n  protocol: hico\n  recall_steps: voc\n")
    with pytest.raises(ParamsError, match="recall_steps: 'voc', expected one of 'exact', 'matlab'"):
        load(EvaluateConfig, "evaluate", path)


def test_people_without_labels_are_used_where_the_file_is_there(tmp_path):
    written(tmp_path / "with")
    written(tmp_path / "without", unlabelled=False)
    known, unknown = (evaluation(tmp_path / name).metrics() for name in ("with", "without"))
    assert (known["unlabelled_people"], unknown["unlabelled_people"]) == (True, False)
    assert known["vcoco"]["ap_role_scenario_1"] > unknown["vcoco"]["ap_role_scenario_1"]


@pytest.mark.parametrize(
    ("provenance", "people", "expected"),
    [
        ({"missing_roles": True}, [[holding()]], True),
        ({"missing_roles": False}, PEOPLE, False),
        ({}, PEOPLE, True),
        ({}, [[holding()]], False),
    ],
)
def test_missing_roles_are_stated_or_seen(tmp_path, provenance, people, expected):
    written(tmp_path, people + [[]] * (2 - len(people)), provenance)
    assert evaluation(tmp_path).metrics()["missing_roles"] is expected


def test_files(tmp_path):
    written(tmp_path / "test")
    found = evaluation(tmp_path / "test")
    found.write_tables(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "diagnosis.json",
        "per_class.csv",
        "per_class.parquet",
        "per_verb.csv",
        "pr_curves.csv",
    ]
    assert json.loads((tmp_path / "out/diagnosis.json").read_text()) == found.diagnosis
    assert schema.read_provenance(tmp_path / "out/per_class.parquet") == {"protocol": "vcoco"}
    table = csv.read_csv(tmp_path / "out/per_verb.csv")
    assert table.column_names == schema.PER_VERB.names
    rows = {row["verb"]: row for row in table.to_pylist()}
    assert list(rows) == [verb.name for verb in VOCABULARY.verbs]
    assert rows["hold_obj"] == {
        "verb": "hold_obj", "hoi_classes": 3, "positives": 2, "ap": 75.0,
        "ap_scenario_1": 100.0, "ap_scenario_2": 100.0,
    }  # fmt: skip
    assert rows["hit_obj"]["ap_scenario_1"] == 0
    assert rows["hit_obj"]["ap_scenario_2"] == 100
    assert rows["stand"] == {
        "verb": "stand", "hoi_classes": 1, "positives": 1, "ap": 0.0,
        "ap_scenario_1": None, "ap_scenario_2": None,
    }  # fmt: skip
    assert rows["point_instr"]["ap"] is None


def test_all_files(tmp_path):
    written(tmp_path / "test")
    found, out = evaluation(tmp_path / "test"), tmp_path / "out"
    found.write_tables(out)
    tables = {path.name: path.read_bytes() for path in out.iterdir()}
    found.write(out)
    added = {"metrics.json", "per_role.csv"}
    assert {path.name for path in out.iterdir()} == tables.keys() | added
    assert all((out / name).read_bytes() == content for name, content in tables.items())
    assert json.loads((out / "metrics.json").read_text()) == found.metrics()
    assert csv.read_csv(out / "per_role.csv").to_pylist() == found.vcoco.per_role()
    # A diagnosis of an earlier evaluation does not outlive it, nor do roles make HOI files.
    roles = replace(found, hico=None, diagnosis=None)
    roles.write(out)
    assert not (out / "diagnosis.json").exists()
    assert roles.metrics()["default"] is None
    roles.write(tmp_path / "roles")
    assert {path.name for path in (tmp_path / "roles").iterdir()} == added


def test_the_average_precision_of_a_verb_is_the_mean_of_its_classes(tmp_path):
    written(tmp_path / "test")
    found = evaluation(tmp_path / "test", "hico")
    found.write(tmp_path / "out")
    values = found.hico.scores.average_precision["default"]
    for verb, row in enumerate(csv.read_csv(tmp_path / "out/per_verb.csv").to_pylist()):
        of_verb = values[VOCABULARY.verb_of_hoi == verb]
        known = of_verb[~np.isnan(of_verb)]
        assert row["ap"] == (pytest.approx(100 * known.mean()) if len(known) else None)
        assert row["ap_scenario_1"] is row["ap_scenario_2"] is None


def test_boxes_in_the_protocols_own_convention(tmp_path):
    written(tmp_path)

    def moved(box: tuple | None, by: tuple) -> tuple | None:
        return box and tuple(a + b for a, b in zip(box, by, strict=True))

    offsets = {name: protocol.offset_xyxy for name, protocol in PROTOCOLS.items()}
    for protocol, offset in {**offsets, "vcoco": (0, 0, -1, -1)}.items():
        own = [
            d | {"human": moved(d["human"], offset), "object": moved(d["object"], offset)}
            for d in DETECTIONS
        ]
        predictions = vcoco_worlds.predictions(own, float64=True)
        config = EvaluateConfig(protocol=protocol)
        found = evaluate_partition(
            predictions, tmp_path, VOCABULARY, CLASSES, config, boxes="protocol"
        )
        expected = evaluation(tmp_path, protocol)
        assert found.metrics() == expected.metrics()
        assert found.diagnosis == expected.diagnosis


def test_vcoco_does_not_fit_other_vocabularies():
    message = r"vocabulary: no verb named <action>_obj or <action>_instr.*hico, hoiclip or pocket"
    with pytest.raises(InputError, match=message):
        Actions.of(hico_det())
    verbs = (Verb("hold_obj", None), Verb("ride", None))
    mixed = Vocabulary(("person", "cup"), verbs, (Hoi(0, 1), Hoi(1, 1)))
    with pytest.raises(InputError, match=r"vocabulary, row 1, hoi: 'ride cup' has an object, but"):
        Actions.of(mixed)
    assert len(Actions.of(vcoco()).roles) == 25


def test_config():
    for protocol in (*PROTOCOLS, "vcoco"):
        value = from_mapping(EvaluateConfig, {"protocol": protocol}, "evaluate")
        assert value.protocol == protocol
    with pytest.raises(ParamsError, match=r"evaluate.protocol: 'voc', expected one of 'hico'"):
        from_mapping(EvaluateConfig, {"protocol": "voc"}, "evaluate")


def test_unlabelled_people_of_other_images_are_named(tmp_path):
    written(tmp_path)
    path = tmp_path / "unlabelled_people.parquet"
    table = pa.Table.from_pylist(
        [{"image_id": 9, "box_xyxy": [0.0, 0.0, 1.0, 1.0]}], schema=schema.UNLABELLED
    )
    schema.write_table(path, table, schema.UNLABELLED, {})
    with pytest.raises(InputError, match=r"unlabelled_people, row 0, image_id: 9 is not in"):
        evaluation(tmp_path)
