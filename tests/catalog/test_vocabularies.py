import json
from pathlib import Path

import pytest
from layouts import write_json
from own_layouts import VOCABULARY

from hoiclip.catalog.vocabularies import COCO_IDS, hico_det, read_vocabulary, vcoco
from hoiclip.errors import InputError
from hoiclip.text_embeddings.prompts import HICO_DET, V_COCO, vocabulary_prompts

SHARED = Path(__file__).parents[3] / "shared"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared")


def prompts(vocabulary, templates):
    return {(p.kind, p.id): p.text for p in vocabulary_prompts(vocabulary, templates)}


def test_coco_ids():
    assert len(COCO_IDS) == len(set(COCO_IDS)) == 80
    assert (COCO_IDS[0], COCO_IDS[11], COCO_IDS[-1]) == (1, 13, 90)
    assert hico_det().objects == vcoco().objects
    assert dict(zip(COCO_IDS, hico_det().objects, strict=True))[67] == "dining_table"


def test_hico_det():
    vocabulary = hico_det()
    sizes = vocabulary.num_objects, vocabulary.num_verbs, vocabulary.num_hois
    assert sizes == (80, 117, 600)
    names = [verb.name for verb in vocabulary.verbs]
    assert names == sorted(names)
    assert [verb.name for verb in vocabulary.verbs if verb.phrase is None] == ["no_interaction"]
    texts = prompts(vocabulary, HICO_DET)
    for hoi, text in {
        0: "a photo of a person boarding an airplane",
        7: "a photo of a person sitting on an airplane",
        9: "a photo of a person and an airplane",
        599: "a photo of a person and a zebra",
    }.items():
        assert texts["hoi", hoi] == text
    phrases = {verb.name: verb.phrase for verb in vocabulary.verbs}
    for name, phrase in {
        "brush_with": "brushing with",
        "control": "controlling",
        "cut_with": "cutting with",
        "hop_on": "hopping on",
        "lasso": "lassoing",
        "lie_on": "lying on",
        "pick_up": "picking up",
        "sip": "sipping",
        "tie": "tying",
    }.items():
        assert phrases[name] == phrase


def test_vcoco():
    vocabulary = vcoco()
    assert (vocabulary.num_verbs, vocabulary.num_hois) == (29, 263)
    assert vocabulary.has_missing_objects
    texts = prompts(vocabulary, V_COCO)
    assert texts["hoi", 0] == "a photo of a person holding a cup"
    assert texts["hoi", 1] == "a photo of a person cutting with something"


@needs_shared
def test_hico_det_against_its_own_file():
    document = json.loads((SHARED / "data/hico_det/instances_test2015.json").read_text())
    vocabulary = hico_det()
    assert sorted(vocabulary.objects) == document["objects"]
    assert [verb.name for verb in vocabulary.verbs] == document["verbs"]
    for number, object_, verb in document["correspondence"]:
        name = f"{document['verbs'][verb]} {document['objects'][object_]}"
        assert vocabulary.hoi_name(number) == name


@needs_shared
def test_vcoco_against_the_released_list():
    document = json.loads((SHARED / "spec/vcoco_classes.json").read_text())
    vocabulary = vcoco()
    assert [verb.name for verb in vocabulary.verbs] == document["action_roles"]
    assert [[hoi.verb, hoi.object] for hoi in vocabulary.hois] == document["hoi_classes"]
    for verb in vocabulary.verbs:
        phrases = document["phrases"][verb.name]
        assert (verb.phrase, verb.phrase_alone) == (
            phrases["with_object"],
            phrases["without_object"],
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objects": ["ladder", "rope"]}, "the objects do not include 'person'"),
        ({"objects": ["person", "ladder", "rope", "rope"]}, "object names are not unique"),
        ({"objects": "person"}, "objects: 'person', expected a list"),
        ({"verbs": [{"phrase": "climbing"}]}, r"row 0, verbs\.name: None, expected text"),
        ({"verbs": [{"name": "climb", "phrase": 3}]}, r"row 0, verbs\.phrase: 3, expected text"),
        ({"hois": [["climb", "stairs"]]}, "row 0, hois: 'stairs' is not one of `objects`"),
        ({"hois": [["fly", None]]}, "row 0, hois: 'fly' is not one of `verbs`"),
        ({"hois": [["climb"]]}, r"row 0, hois: \['climb'\], expected"),
        ({"hois": [["climb", "rope"]] * 2}, "HOI classes are not unique"),
    ],
)
def test_malformed(tmp_path, changes, message):
    path = write_json(tmp_path / "vocabulary.json", VOCABULARY | changes)
    with pytest.raises(InputError, match=message):
        read_vocabulary(path)
