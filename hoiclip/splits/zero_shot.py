"""The published zero-shot settings of HICO-DET: lists of the HOI classes that training never sees.

`rare_first` and `non_rare_first` leave out rare or other combinations of a seen verb and a seen
object; `uc0` to `uc4` are five draws of combinations of seen objects, some of whose verbs are not
seen; `unseen_object` leaves out whole objects and `unseen_verb` whole verbs. Each list holds
positions in HICO-DET's own order of classes, so it means nothing for another vocabulary.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from itertools import zip_longest

from hoiclip.catalog.vocabularies import hico_det
from hoiclip.core.files import read_json
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.errors import ParamsError


@cache
def published_settings() -> dict[str, list[int]]:
    """Name of each setting → its unseen HOI classes."""
    with resources.as_file(
        resources.files("hoiclip.catalog") / "published" / "zero_shot_splits.json"
    ) as path:
        return read_json(path)


def unseen_hois(setting: str, vocabulary: Vocabulary) -> list[int]:
    """The unseen HOI classes of a published setting.

    Raises:
        ParamsError: the vocabulary is not HICO-DET's, class by class.
    """
    theirs, ours = (
        [known.hoi_name(hoi) for hoi in range(known.num_hois)] for known in (hico_det(), vocabulary)
    )
    for hoi, (expected, name) in enumerate(zip_longest(theirs, ours)):
        if name != expected:
            raise ParamsError(
                f"splits.zero_shot: {setting!r} is a setting of HICO-DET, of {len(theirs)} HOI "
                f"classes; the data set has {len(ours)}, and class {hoi} is {name!r}, not "
                f"{expected!r}. List your own in splits.unseen_hois"
            )
    return published_settings()[setting]
