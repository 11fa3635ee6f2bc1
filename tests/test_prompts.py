from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hoiclip.errors import ParamsError
from hoiclip.prompts import (
    HICO_DET,
    V_COCO,
    PromptTemplates,
    hoi_prompt,
    object_prompt,
    verb_prompt,
    vocabulary_prompts,
)
from hoiclip.vocabulary import Hoi, Verb, Vocabulary

VCOCO_CLASSES = Path(__file__).parents[2] / "shared" / "spec" / "vcoco_classes.json"

SIT = Verb("sit_on", "sitting on")
NONE = Verb("no_interaction", None)
HIT = Verb("hit_instr", "hitting with", "hitting with something")
WALK = Verb("walk", None, "walking")


@pytest.mark.parametrize(
    ("verb", "object_", "text"),
    [
        (SIT, "airplane", "a photo of a person sitting on an airplane"),
        (SIT, "dining_table", "a photo of a person sitting on a dining table"),
        (Verb("hold", "holding"), "umbrella", "a photo of a person holding a umbrella"),
        (Verb("eat", "eating"), "apple", "a photo of a person eating an apple"),
        (NONE, "hair_drier", "a photo of a person and a hair drier"),
        (NONE, "oven", "a photo of a person and an oven"),
        (HIT, "baseball_bat", "a photo of a person hitting with a baseball bat"),
        (HIT, None, "a photo of a person hitting with something"),
        (Verb("eat", "eating"), None, "a photo of a person eating"),
        (WALK, None, "a photo of a person walking"),
    ],
)
def test_hoi_prompts_read_as_the_released_ones(verb, object_, text):
    assert hoi_prompt(verb, object_) == text


def test_exactly_five_names_of_cocos_80_take_an():
    assert HICO_DET.an == ("airplane", "apple", "elephant", "orange", "oven")
    assert object_prompt("orange") == "a photo of an orange"
    assert object_prompt("umbrella") == "a photo of a umbrella"


def test_the_names_with_an_are_a_parameter():
    grammatical = replace(HICO_DET, an=(*HICO_DET.an, "umbrella"))
    assert object_prompt("umbrella", grammatical) == "a photo of an umbrella"


def test_vcoco_objects_are_shown_with_a_person():
    assert object_prompt("apple", V_COCO) == "a photo of a person and an apple"


def test_a_verb_by_itself_prefers_its_stand_alone_phrase():
    assert verb_prompt(SIT) == "a photo of a person sitting on"
    assert verb_prompt(HIT) == "a photo of a person hitting with something"
    assert verb_prompt(NONE) == "a photo of a person"


@pytest.mark.parametrize(
    "make",
    [
        lambda: hoi_prompt(WALK, "dog"),
        lambda: hoi_prompt(Verb("stare", None), None),
        lambda: verb_prompt(Verb("stare", None)),
    ],
)
def test_a_missing_phrase_is_refused_by_the_verbs_name(make):
    with pytest.raises(ValueError, match=r"'(walk|stare)' has no phrase"):
        make()


@pytest.mark.parametrize(
    "template", ["a photo of {objekt}", "a photo of {", "a {verb} {object}", "{}"]
)
def test_a_wrong_template_is_refused_by_name(template):
    with pytest.raises(ParamsError, match="prompt template object"):
        PromptTemplates(object=template)


def _vocabulary(*hois: Hoi) -> Vocabulary:
    return Vocabulary(("person", "apple"), (SIT, HIT, NONE), hois)


def test_a_vocabulary_yields_every_class_once_in_order():
    prompts = vocabulary_prompts(_vocabulary(Hoi(0, 1), Hoi(2, 0)))
    assert prompts == [
        ("hoi", 0, "a photo of a person sitting on an apple"),
        ("hoi", 1, "a photo of a person and a person"),
        ("object", 0, "a photo of a person"),
        ("object", 1, "a photo of an apple"),
        ("no_object", 0, "a photo of nothing"),
        ("verb", 0, "a photo of a person sitting on"),
        ("verb", 1, "a photo of a person hitting with something"),
        ("verb", 2, "a photo of a person"),
    ]


def test_the_class_of_pairs_without_an_object_exists_only_where_such_pairs_do():
    objects = [
        p for p in vocabulary_prompts(_vocabulary(Hoi(1, None)), V_COCO) if p.kind == "object"
    ]
    assert objects[-1] == ("object", 2, "a photo of a person only")
    assert len(objects) == 3


def test_templates_survive_json():
    stored = json.loads(json.dumps(V_COCO.to_json()))
    assert PromptTemplates(**stored | {"an": tuple(stored["an"])}) == V_COCO


@pytest.mark.skipif(not VCOCO_CLASSES.exists(), reason="needs the shared class lists")
def test_all_263_vcoco_classes_have_distinct_prompts():
    classes = json.loads(VCOCO_CLASSES.read_text())
    verbs = [
        Verb(name, phrases["with_object"], phrases["without_object"])
        for name in classes["action_roles"]
        for phrases in [classes["phrases"][name]]
    ]
    names = [f"thing_{i}" for i in range(80)]
    texts = [
        hoi_prompt(verbs[verb], None if object_ is None else names[object_], V_COCO)
        for verb, object_ in classes["hoi_classes"]
    ]
    assert len(set(texts)) == 263
    assert texts[0] == "a photo of a person holding a thing 41"
    assert texts[1] == "a photo of a person cutting with something"
    assert texts[13] == "a photo of a person standing"
