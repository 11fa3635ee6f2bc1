from __future__ import annotations

import gzip
import math
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import open_clip
import pyarrow as pa
import pytest
import torch

from hoiclip.catalog.vocabularies import hico_det, vcoco
from hoiclip.core import schema
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.errors import InputError
from hoiclip.text_embeddings.prompts import HICO_DET, V_COCO, vocabulary_prompts
from hoiclip.text_embeddings.table import (
    embed_vocabulary,
    read_text_embeddings,
    write_text_embeddings,
)

VERBS = (Verb("hold", "holding"), Verb("walk", None, "walking"))
VOCABULARY = Vocabulary(("person", "cup"), VERBS, (Hoi(0, 1), Hoi(0, 0)))
WITH_MISSING = Vocabulary(("person", "cup"), VERBS, (Hoi(0, 1), Hoi(1, None)))


class FakeEncoder:
    """A unit vector that depends on the text alone."""

    embed_dim = 5
    provenance = {"model": "fake", "weights_sha256": "0" * 64}  # noqa: RUF012

    def encode_text(self, texts):
        rows = [[np.sin(k * sum(map(ord, text))) for k in range(1, 6)] for text in texts]
        return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32), dim=-1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "text.parquet"


def write(path, vocabulary, templates=HICO_DET):
    write_text_embeddings(path, vocabulary, templates, FakeEncoder(), vocabulary_sha256="abc")


@pytest.mark.parametrize(
    ("vocabulary", "templates"), [(VOCABULARY, HICO_DET), (WITH_MISSING, V_COCO)]
)
def test_every_row_is_the_feature_of_its_prompt(path, vocabulary, templates):
    write(path, vocabulary, templates)
    table = schema.read_table(path)
    prompts = vocabulary_prompts(vocabulary, templates)
    columns = zip(*(table[name].to_pylist() for name in ("kind", "id", "prompt")), strict=True)
    assert list(columns) == [tuple(prompt) for prompt in prompts]
    expected = FakeEncoder().encode_text([prompt.text for prompt in prompts]).numpy()
    np.testing.assert_array_equal(schema.fixed_lists_to_numpy(table["embedding"]), expected)


def test_reading_sorts_rows_by_what_they_are(path):
    write(path, VOCABULARY)
    read = read_text_embeddings(path, VOCABULARY)
    encode = FakeEncoder().encode_text
    np.testing.assert_array_equal(read.hoi, encode(
        ["a photo of a person holding a cup", "a photo of a person holding a person"]
    ))  # fmt: skip
    np.testing.assert_array_equal(read.verb[1:], encode(["a photo of a person walking"]))
    classifier = ["a photo of a person", "a photo of a cup", "a photo of nothing"]
    np.testing.assert_array_equal(read.object_classifier, encode(classifier))
    null = ["a photo of a person and a person", "a photo of a person and a cup"]
    np.testing.assert_array_equal(read.null, encode(null))


def test_pairs_without_an_object_have_a_row_before_nothing(path):
    write(path, WITH_MISSING, V_COCO)
    read = read_text_embeddings(path, WITH_MISSING)
    expected = FakeEncoder().encode_text(["a photo of a person only", "a photo of nothing"])
    np.testing.assert_array_equal(read.object_classifier[2:], expected)
    assert len(read.null) == 3
    alone = FakeEncoder().encode_text(["a photo of a person"])
    np.testing.assert_array_equal(read.null[2:], alone)


def test_a_cache_from_before_the_null_prompts_is_refused(path):
    table = embed_vocabulary(VOCABULARY, HICO_DET, FakeEncoder())
    rows = [row for row in table.to_pylist() if row["kind"] != "null"]
    table = pa.Table.from_pylist(rows, table.schema)
    schema.write_table(path, table, schema.text_embeddings_schema(5), {})
    with pytest.raises(InputError, match=r"'null' .* Run the text_embeddings stage"):
        read_text_embeddings(path, VOCABULARY)


def test_provenance_names_clip_templates_and_vocabulary(path):
    write(path, VOCABULARY)
    provenance = schema.read_provenance(path)
    assert provenance["clip"] == FakeEncoder.provenance
    assert provenance["templates"] == HICO_DET.to_json()
    assert provenance["vocabulary_sha256"] == "abc"


@pytest.mark.parametrize("kind", ["hoi", "object", "no_object", "verb", "null"])
def test_a_missing_row_is_refused_by_kind(path, kind):
    table = embed_vocabulary(VOCABULARY, HICO_DET, FakeEncoder())
    rows = table.to_pylist()
    rows.remove([row for row in rows if row["kind"] == kind][-1])
    table = pa.Table.from_pylist(rows, table.schema)
    schema.write_table(path, table, schema.text_embeddings_schema(5), {})
    with pytest.raises(InputError, match=f"ids of kind '{kind}' .* Run the text_embeddings stage"):
        read_text_embeddings(path, VOCABULARY)


def test_another_vocabularys_file_is_refused(path):
    write(path, WITH_MISSING)
    with pytest.raises(InputError, match="'object'"):
        read_text_embeddings(path, VOCABULARY)


@pytest.mark.parametrize("scale", [0.5, 0.0, float("nan")])
def test_a_row_that_is_not_of_unit_length_is_refused(path, scale):
    table = embed_vocabulary(VOCABULARY, HICO_DET, FakeEncoder())
    values = schema.fixed_lists_to_numpy(table["embedding"]).copy()
    values[3] *= scale
    table = table.set_column(3, table.schema.field(3), schema.numpy_to_fixed_lists(values))
    schema.write_table(path, table, schema.text_embeddings_schema(5), {})
    with pytest.raises(InputError, match="row 3, embedding"):
        read_text_embeddings(path, VOCABULARY)


def test_a_file_of_another_form_is_refused(path):
    VOCABULARY.write(path, {})
    with pytest.raises(InputError, match="embedding"):
        read_text_embeddings(path, VOCABULARY)


def slow_bpe(word, ranks):
    """Merges the pair of lowest rank everywhere, until none is left (Sennrich et al., 2016)."""
    symbols = [*word[:-1], f"{word[-1]}</w>"]
    while len(symbols) > 1:
        pairs = [(ranks.get(pair, math.inf), pair) for pair in pairwise(symbols)]
        rank, (first, second) = min(pairs)
        if rank == math.inf:
            break
        merged, index = [], 0
        while index < len(symbols):
            if symbols[index : index + 2] == [first, second]:
                merged.append(first + second)
                index += 2
            else:
                merged.append(symbols[index])
                index += 1
        symbols = merged
    return symbols


def slow_tokenizer():
    """OpenAI's rule: bytes as printable characters, merges of the vocabulary file, end of word.

    Ids: 256 bytes, the same at a word's end, the merges, start, end.
    """
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    letters = {byte: chr(byte) for byte in visible}
    letters |= {byte: chr(256 + place) for place, byte in enumerate(hidden)}
    path = Path(open_clip.tokenizer.__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    number = 49152 - 256 - 2
    merges = [tuple(line.split()) for line in lines[1 : number + 1]]
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    order = [letters[byte] for byte in [*visible, *hidden]]
    symbols = [*order, *(f"{letter}</w>" for letter in order), *("".join(m) for m in merges)]
    ids = {symbol: index for index, symbol in enumerate(symbols)}
    start, end = len(symbols), len(symbols) + 1

    def tokenize(text):
        row = [start]
        for word in re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", " ".join(text.lower().split())):
            spelled = "".join(letters[byte] for byte in word.encode("utf-8"))
            row += [ids[symbol] for symbol in slow_bpe(spelled, ranks)]
        row.append(end)
        return row + [0] * (77 - len(row))

    return tokenize


def test_tokens_are_those_of_openais_rule():
    """Every prompt of HICO-DET and of V-COCO, and what the rule says of spaces and capitals."""
    prompts = [
        prompt.text
        for vocabulary, templates in ((hico_det(), HICO_DET), (vcoco(), V_COCO))
        for prompt in vocabulary_prompts(vocabulary, templates)
    ]
    texts = [*sorted(set(prompts)), "  A photo\tof  A person  ", "a photo of 12 hot-dogs!", ""]
    tokenize = slow_tokenizer()
    assert open_clip.tokenize(texts).tolist() == [tokenize(text) for text in texts]


def test_tokens_by_hand():
    """Ids that the field knows by heart."""
    row = open_clip.tokenize(["a photo of a cat"])[0]
    assert row.tolist() == [49406, 320, 1125, 539, 320, 2368, 49407, *[0] * 70]
