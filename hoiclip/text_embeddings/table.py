"""The cache of CLIP's text features: one row per HOI class, object, 'nothing', verb and null."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip.clip.encoder import ClipEncoder
from hoiclip.core import schema
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.errors import InputError
from hoiclip.text_embeddings.prompts import PromptTemplates, vocabulary_prompts

_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class TextEmbeddings:
    """L2-normalised text features of width D, float32; a row's index is a class id.

    Attributes:
        hoi: (num_hois, D).
        object: (num_objects, D), or one row more, for 'no object', where some HOI class has none.
        no_object: (1, D): the prompt of queries that found nothing.
        verb: (num_verbs, D).
        null: as many rows as `object`: a person and the object that do nothing together.
    """

    hoi: np.ndarray
    object: np.ndarray
    no_object: np.ndarray
    verb: np.ndarray
    null: np.ndarray

    @property
    def object_classifier(self) -> np.ndarray:
        """(C + 1, D): the C rows of `object`, then `no_object`."""
        return np.concatenate([self.object, self.no_object])


def embed_vocabulary(
    vocabulary: Vocabulary, templates: PromptTemplates, encoder: ClipEncoder
) -> pa.Table:
    """Every prompt of the vocabulary and its text feature, as `schema.text_embeddings_schema`."""
    prompts = vocabulary_prompts(vocabulary, templates)
    embeddings = encoder.encode_text([prompt.text for prompt in prompts]).cpu().numpy()
    return pa.table(
        {
            "kind": [prompt.kind for prompt in prompts],
            "id": [prompt.id for prompt in prompts],
            "prompt": [prompt.text for prompt in prompts],
            "embedding": schema.numpy_to_fixed_lists(embeddings),
        }
    ).cast(schema.text_embeddings_schema(embeddings.shape[1]))


def write_text_embeddings(
    path: str | Path,
    vocabulary: Vocabulary,
    templates: PromptTemplates,
    encoder: ClipEncoder,
    *,
    vocabulary_sha256: str,
) -> None:
    """Writes the cache; its footer says from which CLIP, templates and vocabulary it comes."""
    table = embed_vocabulary(vocabulary, templates, encoder)
    provenance: dict[str, Any] = {
        "clip": encoder.provenance,
        "templates": templates.to_json(),
        "vocabulary_sha256": vocabulary_sha256,
    }
    width = encoder.embed_dim
    schema.write_table(path, table, schema.text_embeddings_schema(width), provenance)


def read_text_embeddings(path: str | Path, vocabulary: Vocabulary) -> TextEmbeddings:
    """Reads the cache of `vocabulary`.

    Raises:
        InputError: ids are not those of the vocabulary in order, or a row is not of unit length.
    """
    table = schema.read_table(path)
    width = _embedding_width(path, table, "embedding")
    table = schema.read_table(path, schema.text_embeddings_schema(width))
    embeddings = schema.fixed_lists_to_numpy(table["embedding"])
    lengths = np.linalg.norm(embeddings, axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= _UNIT_TOLERANCE))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(path, f"length {lengths[row]:.4g}, expected 1", row=row, key="embedding")
    kinds = np.array(table["kind"].to_pylist())
    ids = table["id"].to_numpy()
    sizes = {
        "hoi": vocabulary.num_hois,
        "object": vocabulary.num_objects + vocabulary.has_missing_objects,
        "no_object": 1,
        "verb": vocabulary.num_verbs,
        "null": vocabulary.num_objects + vocabulary.has_missing_objects,
    }
    found = {}
    for kind, size in sizes.items():
        rows = kinds == kind
        if not np.array_equal(ids[rows], np.arange(size)):
            raise InputError(
                path,
                f"ids of kind {kind!r} are not 0 to {size - 1} in order ({rows.sum()} rows)",
                key="id",
                fix="Run the text_embeddings stage for this vocabulary",
            )
        found[kind] = embeddings[rows]
    return TextEmbeddings(**found)


def _embedding_width(path: str | Path, table: pa.Table, column: str) -> int:
    if column not in table.column_names:
        raise InputError(path, "column is missing", key=column, fix="See docs/architecture.md")
    type_ = table[column].type
    if not pa.types.is_fixed_size_list(type_):
        raise InputError(path, f"type {type_}, expected a fixed-size list", key=column)
    return type_.list_size
