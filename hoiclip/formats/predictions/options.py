"""What predictions are read against, and what every format gives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hoiclip.core.vocabulary import Vocabulary
from hoiclip.evaluation.vcoco_truth import Actions
from hoiclip.formats.annotations.source import Source
from hoiclip.formats.predictions.hoia_numbering import NumberingName
from hoiclip.formats.predictions.image_names import ImageNames
from hoiclip.formats.predictions.people import PersonDetections
from hoiclip.formats.predictions.rows import Rows


@dataclass(frozen=True, kw_only=True)
class PredictionOptions:
    """What a file of predictions does not say itself.

    Attributes:
        source: the annotations.
        numbering: of the classes in HOIA predictions; by default found out.
        actions: V-COCO's actions and roles, where the annotations have them.
    """

    source: Source
    numbering: NumberingName | None = None
    actions: Actions | None = None

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes."""
        return self.source.vocabulary

    @cached_property
    def images(self) -> ImageNames:
        """The annotated images."""
        return ImageNames(self.source.annotations.images)


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predictions as they were read; boxes are as the file has them.

    Attributes:
        rows: predictions of HOI classes; None where the file names people instead.
        people: detected people with their actions and roles, where the file names these.
        numbering: of the classes, in HOIA predictions.
        notes: what a person should know, one line each.
    """

    rows: Rows | None = None
    people: PersonDetections | None = None
    numbering: NumberingName | None = None
    notes: tuple[str, ...] = ()
