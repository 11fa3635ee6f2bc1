"""Of which objects an image is asked what is done with them. NumPy only."""

from __future__ import annotations

import numpy as np

from hoiclip.core.vocabulary import Vocabulary
from hoiclip.methods.clip_distill.caches.detections import Detections


def detected_objects(detections: Detections, vocabulary: Vocabulary) -> np.ndarray:
    """Object classes of which the image is asked what is done with them, whichever pairs are kept.

    Every detected class with HOI classes, also where nobody is detected beside it. A person counts
    where there are two or more: one alone is the human of his pairs, and the object of none. Where
    some HOI class has no object, 'no object' counts as soon as there is a person.

    Args:
        detections: of the image.
        vocabulary: objects and HOI classes.

    Returns:
        Each class once, ascending; the number of objects stands for 'no object'. Where there is a
        person these are the classes of the image's pairs, were all of them taken.
    """
    people = np.count_nonzero(detections.objects == vocabulary.person)
    found = np.intersect1d(detections.objects, vocabulary.object_of_hoi)
    if people == 1:
        found = found[found != vocabulary.person]
    if people and vocabulary.has_missing_objects:
        found = np.append(found, vocabulary.num_objects)
    return found
