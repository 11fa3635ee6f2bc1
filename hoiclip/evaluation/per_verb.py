"""Average precision of each verb."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from hoiclip.core import schema
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.evaluation.hico import HicoResult
from hoiclip.evaluation.vcoco import VcocoResult
from hoiclip.evaluation.vcoco_matching import SCENARIOS


def per_verb_table(hico: HicoResult, vcoco: VcocoResult | None, vocabulary: Vocabulary) -> pa.Table:
    """One row per verb, columns of `schema.PER_VERB`.

    Args:
        hico: scores of the HOI classes.
        vcoco: scores of the action-roles, by the protocol `vcoco`.
        vocabulary: the classes.

    Returns:
        `hoi_classes`, the HOI classes of the verb; `positives`, their annotations; `ap`, the mean
        AP (Default) in percent of those that have annotations; `ap_scenario_1` and `_2`, AP_role of
        the verb in percent. Null where undefined.
    """
    verb, num_verbs = vocabulary.verb_of_hoi, vocabulary.num_verbs
    values = hico.scores.average_precision["default"]
    known = ~np.isnan(values)
    total = np.bincount(verb[known], values[known], minlength=num_verbs)
    count = np.bincount(verb[known], minlength=num_verbs)
    mean = np.divide(total, count, out=np.full(num_verbs, np.nan), where=count > 0)
    positives = np.bincount(verb, hico.scores.ground_truths, minlength=num_verbs)
    columns = {
        "verb": [verb.name for verb in vocabulary.verbs],
        "hoi_classes": np.bincount(verb, minlength=num_verbs),
        "positives": positives.astype(np.int64),
        "ap": _percent(mean),
    }
    for scenario in SCENARIOS:
        values = np.full(num_verbs, np.nan)
        if vcoco is not None:
            roles = vcoco.actions.role_of_verb
            values[roles >= 0] = vcoco.role_ap[scenario][roles[roles >= 0]]
        columns[f"ap_scenario_{scenario}"] = _percent(values)
    return pa.table(columns, schema=schema.PER_VERB)


def _percent(values: np.ndarray) -> pa.Array:
    return pa.array(values * 100, mask=np.isnan(values))
