"""Class numbers of HOIA annotations, found out or stated: perfect predictions score 100."""

from __future__ import annotations

import json
from itertools import product

import pytest
from PIL import Image

from hoiclip.catalog.vocabularies import COCO_IDS, hico_det
from hoiclip.cli import main

HUMAN, OTHER = [10, 10, 60, 90], [40, 40, 80, 80]
OWN = {
    "objects": ["person", "wrench", "hammer", "drill"],
    "verbs": [{"name": name, "phrase": f"{name}ing"} for name in ("hold", "lift", "drop")],
    "hois": [["hold", "wrench"], ["lift", "hammer"], ["drop", "drill"], ["hold", "drill"]],
}
"""No pair is a class, too, when its verb is moved by one."""
EVERY = OWN | {"hois": [[v["name"], o] for v in OWN["verbs"] for o in OWN["objects"]]}
"""Each verb with each object, so that pairs tell nothing."""
OF_COCO = OWN | {
    "objects": ["person", "cell phone", "dog"],
    "hois": [["hold", "cell phone"], ["lift", "dog"], ["drop", "cell phone"]],
}


def write(path, document):
    path.write_text(json.dumps(document), encoding="utf-8")
    return str(path)


def pairs_of(vocabulary):
    verbs = [verb["name"] for verb in vocabulary["verbs"]]
    return [(verbs.index(v), vocabulary["objects"].index(o)) for v, o in vocabulary["hois"]]


def annotations(pairs, objects, first_verb, first_hoi=None, hois=None):
    """One image per (verb, object), classes numbered by `objects` and `first_verb`."""
    document = []
    for i, (verb, object_) in enumerate(pairs):
        pair = {"subject_id": 0, "object_id": 1, "category_id": verb + first_verb}
        if first_hoi is not None:
            pair["hoi_category_id"] = hois.index((verb, object_)) + first_hoi
        boxes = [(HUMAN, objects[0]), (OTHER, objects[object_])]
        document.append(
            {
                "file_name": f"site_{i}.jpg",
                "annotations": [{"bbox": box, "category_id": c} for box, c in boxes],
                "hoi_annotation": [pair],
            }
        )
    return document


def as_predictions(document):
    return [
        {
            "file_name": entry["file_name"],
            "predictions": entry["annotations"],
            "hoi_prediction": [
                {k: v for k, v in pair.items() if k != "hoi_category_id"} | {"score": 0.9}
                for pair in entry["hoi_annotation"]
            ],
        }
        for entry in document
    ]


def evaluate(capsys, tmp_path, vocabulary, truth, found, *options):
    files = [write(tmp_path / "p.json", found), write(tmp_path / "a.json", truth)]
    name = ["--vocabulary", write(tmp_path / "v.json", vocabulary)]
    code = main(["evaluate", *files, *name, *options])
    captured = capsys.readouterr()
    return (json.loads(captured.out) if code == 0 else None), captured.err


NUMBERINGS = {
    "one-based": (range(1, 9), 1),
    "one-based-verbs-from-0": (range(1, 9), 0),
    "zero-based": (range(9), 0),
    "zero-based-verbs-from-1": (range(9), 1),
}


@pytest.mark.parametrize("stated", [False, True])
@pytest.mark.parametrize(("name", "first_hoi"), [*product(NUMBERINGS, (None, 0, 1))])
def test_own_numbers_are_found_out(capsys, tmp_path, name, first_hoi, stated):
    objects, first_verb = NUMBERINGS[name]
    pairs = pairs_of(OWN)
    truth = annotations(pairs, objects, first_verb, first_hoi, pairs)
    found = as_predictions(truth)
    options = ["--numbering", "hoia"] if stated else []
    told, error = evaluate(capsys, tmp_path, OWN, truth, found, *options)
    if name == "zero-based" and not stated:
        # A verb from 0 or an HOI class from 0?
        assert "could be those of hoia or hoi" in error
        return
    assert told is not None, error
    assert told["default"]["full"] == pytest.approx(100.0)
    assert told["input"]["annotation_numbering"] == name
    assert ("read as" in error) == (name != "one-based" or first_hoi == 0)


@pytest.mark.parametrize("first_verb", [0, 1])
def test_ids_of_coco_follow_the_names(capsys, tmp_path, first_verb):
    truth = annotations(pairs_of(OF_COCO), [1, 77, 18], first_verb)
    told, error = evaluate(capsys, tmp_path, OF_COCO, truth, as_predictions(truth))
    assert told["default"]["full"] == pytest.approx(100.0), error
    assert told["input"]["annotation_numbering"].startswith("coco")


def test_ids_of_coco_by_place_where_nothing_else_fits(capsys, tmp_path):
    objects = ["person", *(f"part {i}" for i in range(1, 15))]
    vocabulary = OWN | {"objects": objects, "hois": [["hold", name] for name in objects[1:]]}
    truth = annotations([(0, i) for i in range(1, 15)], COCO_IDS, 1)
    told, error = evaluate(capsys, tmp_path, vocabulary, truth, as_predictions(truth))
    assert told["default"]["full"] == pytest.approx(100.0), error
    assert told["input"]["annotation_numbering"] == "coco"


def test_published_classes_in_other_numbers_are_found_out(capsys, tmp_path):
    vocabulary = hico_det()
    hois = [vocabulary.hois[i] for i in range(0, vocabulary.num_hois, 7)]
    pairs = [(hoi.verb, hoi.object) for hoi in hois]
    truth = annotations(pairs, range(vocabulary.num_objects), 0)
    # A person's class is the first in this numbering alone.
    assert vocabulary.person == 0
    files = [write(tmp_path / "p.json", as_predictions(truth)), write(tmp_path / "a.json", truth)]
    assert main(["evaluate", *files, "--vocabulary", "hico_det", "--numbering", "zero-based"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["recall"] == 100.0
    assert "read as zero-based" in captured.err


def test_several_that_fit_are_asked_for_by_the_option(capsys, tmp_path):
    pairs = [(0, 1), (1, 2)]
    truth = annotations(pairs, range(1, 9), 1)
    found = as_predictions(truth)
    told, error = evaluate(capsys, tmp_path, EVERY, truth, found)
    assert told is None
    assert "could be one-based or one-based-verbs-from-0" in error
    assert "--annotation-numbering" in error
    # `hoia` says that the predictions are numbered as annotations are in this format.
    told, error = evaluate(capsys, tmp_path, EVERY, truth, found, "--numbering", "hoia")
    assert told["default"]["full"] == pytest.approx(100.0)
    assert "would fit too" in error
    for name in ("one-based", "one-based-verbs-from-0"):
        option = ("--annotation-numbering", name)
        told, _ = evaluate(capsys, tmp_path, EVERY, truth, found, *option)
        assert told["default"]["full"] == pytest.approx(100.0)
        assert told["input"]["annotation_numbering"] == name
    # One pair with a verb that is the last, or HOI classes, leave no doubt.
    more = annotations([*pairs, (2, 3)], range(1, 9), 1)
    told, _ = evaluate(capsys, tmp_path, EVERY, more, as_predictions(more))
    assert told["input"]["annotation_numbering"] == "one-based"
    stated = annotations(pairs, range(1, 9), 1, 1, pairs_of(EVERY))
    told, _ = evaluate(capsys, tmp_path, EVERY, stated, found)
    assert told["input"]["annotation_numbering"] == "one-based"


def test_a_few_odd_pairs_do_not_hide_the_numbering(capsys, tmp_path):
    pairs = [*pairs_of(OWN), (2, 1)]
    truth = annotations(pairs, range(1, 9), 1)
    told, error = evaluate(capsys, tmp_path, OWN, truth, as_predictions(truth))
    assert told is None
    assert "drop wrench (1)" in error
    told, error = evaluate(capsys, tmp_path, OWN, truth, as_predictions(truth), "--drop-unknown")
    assert told["default"]["full"] == pytest.approx(100.0)


@pytest.mark.parametrize("options", [(), ("--drop-unknown",)])
def test_numbers_that_fit_nowhere_are_no_case_for_dropping(capsys, tmp_path, options):
    truth = annotations(pairs_of(OWN), range(31, 40), 51)
    told, error = evaluate(capsys, tmp_path, OWN, truth, as_predictions(truth), *options)
    assert told is None
    assert "no numbering fits the vocabulary" in error
    assert "category_id 31 is not a person" in error
    assert "--annotation-numbering" in error
    assert "--drop-unknown" not in error


def test_a_numbering_stated_wrongly_is_told(capsys, tmp_path):
    truth = annotations(pairs_of(OWN)[:2], range(1, 9), 1)
    found = as_predictions(truth)
    options = ("--annotation-numbering", "zero-based-verbs-from-1", "--numbering", "one-based")
    told, error = evaluate(capsys, tmp_path, OWN, truth, found, *options)
    assert told is not None
    assert "2 of 2 pairs do not fit the vocabulary, read as zero-based-verbs-from-1" in error
    assert "but all do as one-based" in error


def test_dropping_is_not_advised_where_another_numbering_fits(capsys, tmp_path):
    pairs = [*pairs_of(OF_COCO)]
    truth = annotations(pairs, [1, 77, 18], 1)
    option = ("--annotation-numbering", "one-based")
    told, error = evaluate(capsys, tmp_path, OF_COCO, truth, as_predictions(truth), *option)
    assert told is None
    assert "category_id 77 (2), category_id 18 (1)" in error
    assert "all do as coco: state --annotation-numbering" in error
    assert "--drop-unknown" not in error


def test_the_option_is_of_hoia_alone(capsys, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("")
    arguments = ["import", str(path), str(tmp_path / "out"), "--annotation-numbering", "coco"]
    assert main(arguments) == 1
    assert "--annotation-numbering is of HOIA" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["one-based", "zero-based", "coco"])
def test_what_import_writes_evaluates_as_its_source(capsys, tmp_path, name):
    vocabulary = OF_COCO if name == "coco" else OWN
    objects, first_verb = NUMBERINGS.get(name, ([1, 77, 18], 1))
    truth = annotations(pairs_of(vocabulary), objects, first_verb)
    # A box that nobody touches, of a class that the vocabulary does not have.
    truth[0]["annotations"].append({"bbox": OTHER, "category_id": 60})
    images = tmp_path / "images"
    images.mkdir()
    for entry in truth:
        Image.new("RGB", (100, 100)).save(images / entry["file_name"])
    files = [write(tmp_path / n, d) for n, d in (("a.json", truth), ("v.json", vocabulary))]
    out = str(tmp_path / "out")
    arguments = [files[0], out, "--vocabulary", files[1], "--images", str(images)]
    assert main(["import", *arguments]) == 0
    assert "1 boxes of object classes outside the vocabulary" in capsys.readouterr().err
    found = write(tmp_path / "p.json", as_predictions(truth))
    predicted = json.loads((tmp_path / "p.json").read_text())
    predicted[0]["predictions"].pop()
    write(tmp_path / "p.json", predicted)
    assert main(["evaluate", found, out, "--numbering", "hoia"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["default"]["full"] == pytest.approx(100.0)
    assert told["input"]["annotation_numbering"] == name


@pytest.mark.parametrize("first_hoi", [0, 1])
def test_hoi_category_ids_count_as_those_of_the_annotations(capsys, tmp_path, first_hoi):
    truth = annotations(pairs_of(OWN), range(1, 9), 1, first_hoi, pairs_of(OWN))
    found = as_predictions(truth)
    for i, entry in enumerate(found):
        entry["hoi_prediction"][0] |= {"hoi_category_id": i + first_hoi, "category_id": 99}
    told, error = evaluate(capsys, tmp_path, OWN, truth, found)
    assert told["default"]["full"] == pytest.approx(100.0), error


def test_predictions_are_numbered_by_name_too(capsys, tmp_path):
    truth = annotations(pairs_of(OWN), range(1, 9), 1)
    for name, (objects, first_verb) in NUMBERINGS.items():
        found = as_predictions(annotations(pairs_of(OWN), objects, first_verb))
        guessed = [()] if name != "zero-based" else []
        for options in (*guessed, ("--numbering", name)):
            told, error = evaluate(capsys, tmp_path, OWN, truth, found, *options)
            assert told["default"]["full"] == pytest.approx(100.0), error


@pytest.mark.parametrize("name", NUMBERINGS)
def test_hoi_numbers_from_0_need_no_statement_of_their_own(capsys, tmp_path, name):
    objects, first_verb = NUMBERINGS[name]
    pairs = pairs_of(OWN)
    truth = annotations(pairs, objects, first_verb, 0, pairs)
    options = ["--annotation-numbering", name, "--numbering", "hoia"]
    found, err = evaluate(capsys, tmp_path, OWN, truth, as_predictions(truth), *options)
    assert found["default"]["full"] == 100.0, err


def test_numberings_that_say_the_same_are_no_question(capsys, tmp_path):
    """One verb, one object: a verb from 0 is an HOI class from 0."""
    single = OWN | {"objects": ["person"], "verbs": OWN["verbs"][:1], "hois": [["hold", "person"]]}
    truth = annotations([(0, 0)], [1], 1)
    found = as_predictions(annotations([(0, 0)], [0], 0))
    told, error = evaluate(capsys, tmp_path, single, truth, found)
    assert told is not None, error
    assert told["default"]["full"] == 100.0
