from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from hoiclip.catalog.vocabularies import hico_det, vcoco
from hoiclip.core.config import from_mapping
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.errors import ParamsError
from hoiclip.text_embeddings.prompts import (
    HICO_DET,
    V_COCO,
    PromptTemplates,
    hoi_prompt,
    object_prompt,
    verb_prompt,
    vocabulary_prompts,
)

SHARED = Path(__file__).parents[3] / "shared"
VCOCO_CLASSES = SHARED / "spec" / "vcoco_classes.json"
HICO_INSTANCES = SHARED / "data" / "hico_det" / "instances_test2015.json"

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
        ("null", 0, "a photo of a person and a person"),
        ("null", 1, "a photo of a person and an apple"),
    ]


def test_the_class_of_pairs_without_an_object_exists_only_where_such_pairs_do():
    objects = [
        p for p in vocabulary_prompts(_vocabulary(Hoi(1, None)), V_COCO) if p.kind == "object"
    ]
    assert objects[-1] == ("object", 2, "a photo of a person only")
    assert len(objects) == 3
    null = [p for p in vocabulary_prompts(_vocabulary(Hoi(1, None)), V_COCO) if p.kind == "null"]
    assert null[-1] == ("null", 2, "a photo of a person")
    assert len(null) == 3


def test_templates_survive_json():
    stored = json.loads(json.dumps(V_COCO.to_json()))
    assert PromptTemplates(**stored | {"an": tuple(stored["an"])}) == V_COCO


AN = {"airplane", "apple", "elephant", "orange", "oven"}
DOUBLED = {
    "control", "cut", "drag", "flip", "hit", "hop", "hug", "pet", "run", "set", "sip", "sit",
    "spin", "stab", "stir", "stop", "tag", "zip",
}  # fmt: skip


def noun(name):
    return f"{'an' if name in AN else 'a'} {name.replace('_', ' ')}"


def gerund(verb):
    """The -ing form of a verb's first word, by the rules of English spelling."""
    word, *rest = verb.split("_")
    if word.endswith("ie"):
        word = f"{word[:-2]}y"
    elif word.endswith("e"):
        word = word[:-1]
    elif word in DOUBLED:
        word += word[-1]
    return " ".join([f"{word}ing", *rest])


def slow_hico_prompt(verb, object_):
    if verb == "no_interaction":
        return f"a photo of a person and {noun(object_)}"
    return f"a photo of a person {gerund(verb)} {noun(object_)}"


def texts_of(vocabulary, templates, kind):
    return [p.text for p in vocabulary_prompts(vocabulary, templates) if p.kind == kind]


def test_all_of_hico_dets_prompts_follow_the_rule():
    vocabulary = hico_det()
    expected = [
        slow_hico_prompt(vocabulary.verbs[hoi.verb].name, vocabulary.objects[hoi.object])
        for hoi in vocabulary.hois
    ]
    found = texts_of(vocabulary, HICO_DET, "hoi")
    assert found == expected
    assert len(set(found)) == 600
    objects = [f"a photo of {noun(name)}" for name in vocabulary.objects]
    assert texts_of(vocabulary, HICO_DET, "object") == objects
    assert len(objects) == 80
    assert texts_of(vocabulary, HICO_DET, "no_object") == ["a photo of nothing"]
    spots = {
        0: "a photo of a person boarding an airplane",
        9: "a photo of a person and an airplane",
        101: "a photo of a person lassoing a cow",
        204: "a photo of a person picking an apple",
        582: "a photo of a person standing under a umbrella",
        599: "a photo of a person and a zebra",
    }
    assert {index: found[index] for index in spots} == spots
    for text in (
        "a photo of a person brushing with a toothbrush",
        "a photo of a person hopping on an elephant",
        "a photo of a person picking up a skis",
        "a photo of a person cutting with a scissors",
        "a photo of a person tying a tie",
        "a photo of a person and a hair drier",
    ):
        assert text in found


@pytest.mark.skipif(not HICO_INSTANCES.exists(), reason="needs the shared annotations")
def test_hico_dets_prompts_stand_in_the_order_of_the_data_set():
    document = json.loads(HICO_INSTANCES.read_text())
    expected = [
        slow_hico_prompt(document["verbs"][verb], document["objects"][object_])
        for _, object_, verb in sorted(document["correspondence"])
    ]
    assert texts_of(hico_det(), HICO_DET, "hoi") == expected


@pytest.mark.skipif(not VCOCO_CLASSES.exists(), reason="needs the shared class lists")
def test_all_of_vcocos_prompts_are_those_of_the_class_list():
    classes, names = json.loads(VCOCO_CLASSES.read_text()), hico_det().objects
    expected = []
    for verb, object_ in classes["hoi_classes"]:
        phrases = classes["phrases"][classes["action_roles"][verb]]
        if object_ is None:
            expected.append(f"a photo of a person {phrases['without_object']}")
        else:
            expected.append(f"a photo of a person {phrases['with_object']} {noun(names[object_])}")
    found = texts_of(vcoco(), V_COCO, "hoi")
    assert found == expected
    assert len(set(found)) == 263
    assert found[:3] == [
        "a photo of a person holding a cup",
        "a photo of a person cutting with something",
        "a photo of a person cutting a pizza",
    ]
    objects = [f"a photo of a person and {noun(name)}" for name in names]
    objects.append("a photo of a person only")
    assert texts_of(vcoco(), V_COCO, "object") == objects
    assert len(objects) == 81
    assert texts_of(vcoco(), V_COCO, "no_object") == ["a photo of nothing"]


@pytest.mark.parametrize("profile", ["hico", "vcoco"])
def test_the_profiles_have_the_released_templates(profile, params):
    """What `python -m pipelines.profile` sets on top of params.yaml."""
    path = Path(__file__).parents[2] / "params" / f"{profile}.yaml"
    overlay = yaml.safe_load(path.read_text()).get("text_embeddings", {})
    templates = from_mapping(PromptTemplates, params["text_embeddings"] | overlay, "templates")
    assert templates == {"hico": HICO_DET, "vcoco": V_COCO}[profile]
