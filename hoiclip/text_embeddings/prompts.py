"""Prompt texts for HOI classes, objects and verbs, from a vocabulary and templates."""

from __future__ import annotations

import string
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from hoiclip.core.vocabulary import NO_INTERACTION, Verb, Vocabulary
from hoiclip.errors import ParamsError


class Prompt(NamedTuple):
    """A prompt text of one class; `kind` and `id` as in the text-embedding table."""

    kind: str
    id: int
    text: str


_PLACEHOLDERS = {
    "hoi": {"verb", "a", "object"},
    "hoi_no_interaction": {"a", "object"},
    "hoi_alone": {"verb"},
    "object": {"a", "object"},
    "missing_object": set(),
    "no_object": set(),
    "verb": {"verb"},
    "verb_no_interaction": set(),
}


@dataclass(frozen=True)
class PromptTemplates:
    """Templates; the defaults are HICO-DET's (hence those of the released text tables).

    Placeholders: `{verb}` a verb's phrase, `{object}` an object's name with spaces for underscores,
    `{a}` its article.

    Attributes:
        hoi: an HOI class with an object.
        hoi_no_interaction: an HOI class whose verb is `no_interaction`; also what is said of every
            object in a pair that does nothing (`null`).
        hoi_alone: an HOI class without an object (V-COCO).
        object: an object class.
        missing_object: the class of pairs without an object, in vocabularies that have such.
        no_object: the class of queries that found nothing.
        verb: a verb by itself.
        verb_no_interaction: the verb `no_interaction` by itself; also the `null` of no object.
        an: names that take "an". CLIP's released tables say "a umbrella", so it is not among them.
    """

    hoi: str = "a photo of a person {verb} {a} {object}"
    hoi_no_interaction: str = "a photo of a person and {a} {object}"
    hoi_alone: str = "a photo of a person {verb}"
    object: str = "a photo of {a} {object}"
    missing_object: str = "a photo of a person only"
    no_object: str = "a photo of nothing"
    verb: str = "a photo of a person {verb}"
    verb_no_interaction: str = "a photo of a person"
    an: tuple[str, ...] = ("airplane", "apple", "elephant", "orange", "oven")

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name == "an":
                continue
            template = getattr(self, field.name)
            try:
                parts = [
                    (name, spec, conversion)
                    for _, name, spec, conversion in string.Formatter().parse(template)
                    if name is not None
                ]
            except ValueError as error:
                raise ParamsError(f"prompt template {field.name}: {template!r}: {error}") from None
            used = {name for name, _, _ in parts}
            if any(spec or conversion for _, spec, conversion in parts):
                raise ParamsError(
                    f"prompt template {field.name}: {template!r}: a placeholder takes no format"
                )
            if strange := used - _PLACEHOLDERS[field.name]:
                raise ParamsError(
                    f"prompt template {field.name}: {template!r} has unknown placeholder "
                    f"{sorted(strange)[0]!r}; known: {sorted(_PLACEHOLDERS[field.name])}"
                )

    def to_json(self) -> dict[str, Any]:
        """JSON form, for provenance."""
        return asdict(self) | {"an": list(self.an)}


HICO_DET = PromptTemplates()
V_COCO = PromptTemplates(object="a photo of a person and {a} {object}")


def _noun(name: str, templates: PromptTemplates) -> dict[str, str]:
    return {"a": "an" if name in templates.an else "a", "object": name.replace("_", " ")}


def object_prompt(name: str, templates: PromptTemplates = HICO_DET) -> str:
    """Prompt of the object class `name`, e.g. "a photo of a hair drier"."""
    return templates.object.format(**_noun(name, templates))


def hoi_prompt(verb: Verb, object_: str | None, templates: PromptTemplates = HICO_DET) -> str:
    """Prompt of an HOI class, e.g. "a photo of a person sitting on an airplane".

    Raises:
        ValueError: the verb has no phrase for this use and is not `no_interaction`.
    """
    if object_ is None:
        phrase = verb.phrase_alone or verb.phrase
        if phrase is None:
            raise ValueError(f"verb {verb.name!r} has no phrase to stand without an object")
        return templates.hoi_alone.format(verb=phrase)
    noun = _noun(object_, templates)
    if verb.name == NO_INTERACTION:
        return templates.hoi_no_interaction.format(**noun)
    if verb.phrase is None:
        raise ValueError(f"verb {verb.name!r} has no phrase to stand before an object")
    return templates.hoi.format(verb=verb.phrase, **noun)


def null_prompt(name: str | None, templates: PromptTemplates = HICO_DET) -> str:
    """Prompt of a person and an object that have nothing to do with each other; of a person alone
    where `name` is None."""
    if name is None:
        return templates.verb_no_interaction
    return templates.hoi_no_interaction.format(**_noun(name, templates))


def verb_prompt(verb: Verb, templates: PromptTemplates = HICO_DET) -> str:
    """Prompt of a verb by itself; its stand-alone phrase is taken where it has one.

    Raises:
        ValueError: the verb has no phrase and is not `no_interaction`.
    """
    phrase = verb.phrase_alone or verb.phrase
    if verb.name == NO_INTERACTION:
        return templates.verb_no_interaction
    if phrase is None:
        raise ValueError(f"verb {verb.name!r} has no phrase")
    return templates.verb.format(verb=phrase)


def vocabulary_prompts(
    vocabulary: Vocabulary, templates: PromptTemplates = HICO_DET
) -> list[Prompt]:
    """Every prompt of a vocabulary: HOI classes, objects, `no_object`, verbs, `null` of objects.

    Object id `num_objects` is the class of pairs without an object; it exists only where
    `vocabulary.has_missing_objects`.

    Raises:
        ValueError: a verb lacks the phrase that one of its HOI classes needs.
    """
    prompts = []
    for index, hoi in enumerate(vocabulary.hois):
        name = None if hoi.object is None else vocabulary.objects[hoi.object]
        prompts.append(
            Prompt("hoi", index, hoi_prompt(vocabulary.verbs[hoi.verb], name, templates))
        )
    objects = [object_prompt(name, templates) for name in vocabulary.objects]
    if vocabulary.has_missing_objects:
        objects.append(templates.missing_object)
    prompts += [Prompt("object", index, text) for index, text in enumerate(objects)]
    prompts.append(Prompt("no_object", 0, templates.no_object))
    prompts += [
        Prompt("verb", index, verb_prompt(verb, templates))
        for index, verb in enumerate(vocabulary.verbs)
    ]
    names = [*vocabulary.objects, *[None] * vocabulary.has_missing_objects]
    prompts += [
        Prompt("null", index, null_prompt(name, templates)) for index, name in enumerate(names)
    ]
    return prompts
