"""Annotations as the evaluations take them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa

from hoiclip.data.annotations import Annotations
from hoiclip.evaluation.vcoco_truth import Actions
from hoiclip.formats.annotations.source import Source
from hoiclip.vocabulary import Hoi, Vocabulary


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
    def by_verb(self) -> tuple[Annotations, Vocabulary]:
        """What V-COCO's evaluation takes, which looks at verbs: each is its own class.

        So an object class that the vocabulary does not pair with the verb loses no detection.
        """
        vocabulary, annotations = self.source.vocabulary, self.source.annotations
        hois = tuple(Hoi(verb, None) for verb in range(vocabulary.num_verbs))
        interactions = annotations.interactions
        place = interactions.column_names.index("hoi")
        interactions = interactions.set_column(place, "hoi", interactions["verb"])
        return (
            replace(annotations, interactions=interactions),
            Vocabulary(vocabulary.objects, vocabulary.verbs, hois),
        )
