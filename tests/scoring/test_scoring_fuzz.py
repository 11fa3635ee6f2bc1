"""Damaged prediction files: scores, or one `InputError` that names the file."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damage import places
from hico_worlds import random_world
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prediction_files import hoia_document, names_of, write_world
from test_scoring_vcoco import official_list, random_vcoco
from test_scoring_vcoco import write as write_vcoco

from hoiclip.errors import InputError
from hoiclip.formats.annotations.source import SourceOptions
from hoiclip.formats.reading import read_annotations
from hoiclip.scoring import score as score_module
from hoiclip.scoring.score import Request, score

STRANGE = st.one_of(
    st.sampled_from(
        [
            None, True, "", "x", "1", "²", "\ud800", "a\nb", [], {}, [[]], [None], [1, 2, 3, 4],
            [4, 3, 2, 1], [1e308, 1e308, -1e308, 1e308], [0, 0, 0, 0], [0, 0, 0, 0, 0.5], 0, -1,
            0.5, -0.0, 1e300, 2**31, 2**63, 10**400, -(2**61), math.nan, math.inf, -math.inf,
        ]
    ),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
)  # fmt: skip
WORLD, V_WORLD = random_world(7), random_vcoco(6)
DOCUMENTS = {
    **{
        numbering: hoia_document(WORLD.detections, names_of(WORLD), WORLD.vocabulary, numbering)[:3]
        for numbering in ("hoia", "zero-based", "hoi", "hoi-category")
    },
    "vcoco": official_list(V_WORLD)[:3],
    "printed": {"preds": hoia_document(WORLD.detections, names_of(WORLD), WORLD.vocabulary)[:3]},
}


@st.composite
def damaged_json(draw, document, text_of=json.dumps):
    """Bytes of `document` after up to three changes, now and then cut or overwritten."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(list(places(document))))
        if not path:
            continue
        parent = document
        for key in path[:-1]:
            parent = parent[key]
        kind = draw(st.sampled_from(["replace", "delete", "repeat"]))
        if kind == "replace":
            parent[path[-1]] = copy.deepcopy(draw(STRANGE))
        elif kind == "delete":
            del parent[path[-1]]
        elif isinstance(parent, list):
            parent.insert(0, copy.deepcopy(parent[path[-1]]))
    data = bytearray(text_of(document).encode())
    damage = draw(st.integers(0, 9))
    if damage == 0:
        return bytes(data[: draw(st.integers(0, len(data)))])
    if damage == 1:
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


def printed(document):
    return json.dumps(str(document))


@st.composite
def damaged_table(draw):
    """The predictions table after up to three changes of columns or values."""
    table = WORLD.predictions.slice(0, 8)
    for _ in range(draw(st.integers(0, 3))):
        if not table.num_columns:
            break
        key = draw(st.sampled_from(table.column_names))
        place = table.column_names.index(key)
        kind = draw(st.sampled_from(["value", "value", "drop", "type", "repeat"]))
        if kind == "drop":
            table = table.remove_column(place)
        elif kind == "repeat":
            table = pa.concat_tables([table, table.slice(0, 2)])
        else:
            values = table[key].to_pylist()
            if kind == "value" and values:
                values[draw(st.integers(0, len(values) - 1))] = draw(STRANGE)
            elif kind == "type":
                values = [draw(STRANGE)] * len(values)
            try:
                column = pa.array(values)
            except (pa.ArrowException, OverflowError, UnicodeEncodeError):
                continue
            # Parquet cannot hold structures without fields.
            if not pa.types.is_struct(column.type):
                table = table.set_column(place, key, column)
    return table


def run_cases(folder, suffix, cases, write, partition, examples, **options):
    """Number of files that were scored all the same."""
    source = read_annotations(partition, SourceOptions())
    path = folder / f"p.{suffix}"
    messages, scored = [], []

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def run(case):
        write(path, case)
        try:
            found = score(
                Request(
                    predictions=path,
                    annotations=partition,
                    source=SourceOptions(),
                    **options,
                )
            )
        except InputError as error:
            messages.append(str(error))
            return
        text = json.dumps(found.metrics(), allow_nan=False)
        scored.append(text)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(score_module, "read_annotations", lambda *_: replace(source))
        with np.errstate(all="ignore"):
            run()
    assert messages
    for message in messages:
        assert message.startswith(str(path)), message
        assert len(message.splitlines()) == 1
        assert len(message) < 1000
    return len(scored)


def check(folder, name, examples):
    if name == "parquet":
        cases, partition = damaged_table(), write_world(folder, WORLD)
        return run_cases(
            folder, name, cases, lambda path, t: pq.write_table(t, path), partition, examples
        )
    partition = write_vcoco(folder, V_WORLD) if name == "vcoco" else write_world(folder, WORLD)
    options = {"format": "vcoco" if name == "vcoco" else "hoia"}
    if name == "printed":
        options["numbering"] = "hoia"
    if name == "zero-based":
        # What fits it may be HOI classes too.
        options["numbering"] = name
    return run_cases(
        folder,
        "json",
        damaged_json(DOCUMENTS[name], printed if name == "printed" else json.dumps),
        lambda path, data: path.write_bytes(data),
        partition,
        examples,
        **options,
    )


FORMATS = ("parquet", "vcoco", *DOCUMENTS.keys() - {"vcoco"})


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_damaged_files(tmp_path, name):
    assert check(tmp_path, name, 500 if name in ("parquet", "vcoco") else 150) >= 10


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_damaged_files_at_length(tmp_path, name):
    assert check(tmp_path, name, 5000) > 300
