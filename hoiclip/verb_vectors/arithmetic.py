"""Verb vectors by visual semantic arithmetic (HOICLIP, CVPR 2023, "verb adapter").

Over the HOI rows (pair, HOI class) of the training images, with CLIP's projected image features
before normalisation:

    f_c = normalised mean, over the rows of class c, of the feature of the enclosing rectangle of
          the human and the object box;
    g_o = normalised mean, over the rows whose class has object o, of the feature of the object box.

A pair with several HOI classes counts once for each. With C(v) the classes of verb v that have rows
and an object:

    arithmetic:  E_v = normalised mean over C(v) of (f_c - g_object(c))
    average:     E_v = normalised mean, over all classes of v with rows, of f_c
    text:        E_v = text embedding of the verb's prompt

A class without an object has the human box for a crop and nothing to subtract: it enters
`arithmetic` as f_c, and only for a verb of which no class with an object has rows. A verb without
rows, as an unseen one, and one whose sum vanishes, get their text embedding.

Which rows enter the sums how is in `crops`; `feature_sums` sums them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from hoiclip.core import schema
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.util.ranges import BatchSize, Config, Device, Threads, Workers
from hoiclip.verb_vectors.crops import Accumulation
from hoiclip.verb_vectors.feature_sums import FeatureSums

REPRESENTATIONS = ("arithmetic", "average", "text")

_VANISHING = 1e-9


@dataclass(frozen=True, kw_only=True)
class VerbVectorsConfig(Config):
    """Visual semantic arithmetic (`verb_vectors` in params.yaml).

    Attributes:
        accumulation: `correct` counts each annotated row once; `released` repeats the released
            code's, for comparison.
        device: `cpu`, `cuda` or `auto`.
        threads: CPU threads.
        workers: processes that read and cut images beside the encoding one; 0 cuts in it.
        batch_size: crops encoded at once, at least.
    """

    accumulation: Accumulation
    device: Device
    threads: Threads
    workers: Workers
    batch_size: BatchSize


class VerbVectors(NamedTuple):
    """Vectors (num_verbs, D) float32 of unit length; the rows behind each; whether from crops."""

    vectors: np.ndarray
    pairs: np.ndarray
    from_crops: np.ndarray


def verb_vectors(
    sums: FeatureSums, vocabulary: Vocabulary, text: np.ndarray, representation: str
) -> VerbVectors:
    """E_v of every verb by one of `REPRESENTATIONS`, as the module defines them.

    Args:
        sums: from `hoiclip.verb_vectors.feature_sums.CropPass`.
        vocabulary: the same as there.
        text: (num_verbs, D), L2-normalised text embeddings of the verbs.
        representation: one of `REPRESENTATIONS`.
    """
    vectors = text.astype(np.float32).copy()
    pairs = np.zeros(vocabulary.num_verbs, np.int64)
    from_crops = np.zeros(vocabulary.num_verbs, bool)
    if representation == "text":
        return VerbVectors(vectors, pairs, from_crops)
    features = _normalised(sums.hoi)
    has_object = vocabulary.object_of_hoi < vocabulary.num_objects
    if representation == "arithmetic":
        objects = _normalised(sums.object)
        features[has_object] -= objects[vocabulary.object_of_hoi[has_object]]
    for verb in range(vocabulary.num_verbs):
        classes = (vocabulary.verb_of_hoi == verb) & (sums.rows > 0)
        if representation == "arithmetic" and (classes & has_object).any():
            classes &= has_object
        total = features[classes].sum(axis=0)
        length = np.linalg.norm(total)
        if length > _VANISHING:
            vectors[verb] = total / length
            pairs[verb] = sums.rows[classes].sum()
            from_crops[verb] = True
    return VerbVectors(vectors, pairs, from_crops)


def _normalised(sums: np.ndarray) -> np.ndarray:
    """Rows at unit length; a zero row, a class without crops, stays zero."""
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return sums / np.where(lengths > 0, lengths, 1.0)


def verb_vectors_table(sums: FeatureSums, vocabulary: Vocabulary, text: np.ndarray) -> pa.Table:
    """All representations as `schema.verb_vectors_schema`."""
    parts = []
    for representation in REPRESENTATIONS:
        made = verb_vectors(sums, vocabulary, text, representation)
        columns = {
            "representation": [representation] * vocabulary.num_verbs,
            "verb": np.arange(vocabulary.num_verbs, dtype=np.int32),
            "source": np.where(made.from_crops, "crops", "text"),
            "pairs": made.pairs,
            "vector": schema.numpy_to_fixed_lists(made.vectors),
        }
        parts.append(pa.table(columns).cast(schema.verb_vectors_schema(text.shape[1])))
    return pa.concat_tables(parts)
