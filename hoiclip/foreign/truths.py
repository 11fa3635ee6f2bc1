"""Annotations as the evaluations take them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from hoiclip.evaluation.vcoco_truth import Actions
from hoiclip.formats.annotations.reading import Source
from hoiclip.vocabulary import Hoi, Vocabulary

V_COCO = "vcoco"
"""The protocol of V-COCO."""


@dataclass(frozen=True)
class Truths:
    """What predictions are compared with.

    Attributes:
        source: the annotations.
        classes: rows of `schema.CLASSES`.
        protocol: name of the rules.
        actions: V-COCO's actions and roles, where the protocol is `vcoco`.
    """

    source: Source
    classes: pa.Table
    protocol: str
    actions: Actions | None

    @cached_property
    def tables(self) -> dict[str, Any]:
        """Arguments of the evaluation by HOI class."""
        annotations = self.source.annotations
        return {
            "images": annotations.images,
            "instances": annotations.instances,
            "interactions": annotations.interactions,
            "vocabulary": self.source.vocabulary,
        }

    @cached_property
    def verb_tables(self) -> dict[str, Any]:
        """Arguments of V-COCO's evaluation, which looks at verbs: each is its own class.

        So an object class that the vocabulary does not pair with the verb loses no detection.
        """
        vocabulary = self.source.vocabulary
        hois = tuple(Hoi(verb, None) for verb in range(vocabulary.num_verbs))
        interactions = self.source.annotations.interactions
        place = interactions.column_names.index("hoi")
        return self.tables | {
            "interactions": interactions.set_column(place, "hoi", interactions["verb"]),
            "vocabulary": Vocabulary(vocabulary.objects, vocabulary.verbs, hois),
            "unlabelled_people": self.source.unlabelled_people,
            "outside_vocabulary": self.source.outside_vocabulary,
        }
