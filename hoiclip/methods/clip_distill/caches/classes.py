"""The HOI classes of each object, which compete with each other and with no others. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoiclip.core.vocabulary import NO_INTERACTION, Vocabulary


@dataclass(frozen=True)
class ObjectClasses:
    """The HOI classes of each object, by class id.

    Attributes:
        indices: (O, K) int64, ascending, filled up with 0.
        mask: (O, K) bool, which of them are classes of the object.
        has_null: (O,) bool, whether the null prompt competes with them: not where the object has
            the class `no_interaction`, whose prompt says the same.
    """

    indices: np.ndarray
    mask: np.ndarray
    has_null: np.ndarray


def classes_of_object(vocabulary: Vocabulary) -> ObjectClasses:
    """The HOI classes of each object of a vocabulary."""
    rows = vocabulary.num_objects + vocabulary.has_missing_objects
    classes = [np.flatnonzero(vocabulary.object_of_hoi == row) for row in range(rows)]
    width = max(map(len, classes))
    indices = np.zeros((rows, width), np.int64)
    mask = np.zeros((rows, width), bool)
    for row, ids in enumerate(classes):
        indices[row, : len(ids)] = ids
        mask[row, : len(ids)] = True
    none = np.array([verb.name == NO_INTERACTION for verb in vocabulary.verbs])
    says_null = none[vocabulary.verb_of_hoi]
    return ObjectClasses(indices, mask, ~(says_null[indices] & mask).any(1))
