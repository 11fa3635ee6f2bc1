"""Strategies for damaged source files."""

import copy
import io
import json
import math

import numpy as np
import own_layouts
from hypothesis import strategies as st
from layouts import HICO, mat_bytes, mat_images, random_content, structs

DIGITS = "an integer of more digits than Python converts"
DEEP = "a list nested more deeply than Python follows"
RAW = {DIGITS: "9" * 5000, DEEP: "[" * 100_000 + "]" * 100_000}
CONTENT = random_content(3, images=3, pairs=4)
STRANGE = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            "",
            "x",
            "1",
            " 7\n",
            "-",
            "--5",
            "1_0",
            "²",
            "../../etc/passwd",
            "/etc/passwd",
            "a\\b",
            "a\x00b",
            "\ud800",
            "HICO_test2015_00000007.jpg",
            "person",
            [],
            {},
            [[]],
            [None],
            [1, 2, 3, 4],
            [1e308, 1e308, -1e308, 1e308],
            0,
            -1,
            0.5,
            -0.0,
            1e300,
            2**31,
            2**62,
            2**63,
            -(2**63),
            10**400,
            DIGITS,
            DEEP,
            math.nan,
            math.inf,
            -math.inf,
        ]
    ),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
)


def places(value, path=()):
    """Every place in a document, as keys from the root; long lists are sampled."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 5)):
            yield from places(value[index], (*path, index))


@st.composite
def damaged_document(draw, document):
    """`document` after one to three changes."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(document))))
        if not path:
            document = copy.deepcopy(draw(STRANGE)) if draw(st.integers(0, 9)) == 0 else document
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
    return document


@st.composite
def damaged_json(draw, document):
    """Bytes of `document` after one to three changes."""
    return draw(damaged_bytes(dump(draw(damaged_document(document))), rarely=True))


def dump(document, write=json.dumps):
    """Bytes of `document` as JSON or by another `write`."""
    text = write(document)
    for name, raw in RAW.items():
        text = text.replace(write(name).split("\n")[0], raw)
    return text.encode(errors="surrogatepass")


@st.composite
def damaged_bytes(draw, data, rarely=False):
    """`data`, cut short or with bytes overwritten."""
    if not data or (rarely and draw(st.integers(0, 5))):
        return data
    if draw(st.booleans()):
        return data[: draw(st.integers(0, len(data)))]
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@st.composite
def damaged_lines(draw, lines):
    """`lines`, one of them a strange value, as text."""
    lines = list(lines)
    lines[draw(st.integers(0, len(lines) - 1))] = str(draw(STRANGE))
    text = draw(st.sampled_from(["\n", " ", "\r\n"])).join(lines)
    return draw(damaged_bytes(text.encode(errors="surrogatepass"), rarely=True))


def array_bytes():
    """`corre_hico.npy`."""
    valid = np.zeros((HICO.num_verbs, HICO.num_objects))
    valid[HICO.verb_of_hoi, HICO.object_of_hoi] = 1
    file = io.BytesIO()
    np.save(file, valid)
    return file.getvalue()


@st.composite
def damaged_csv(draw):
    rows = [line.split(",") for line in own_layouts.csv_text().splitlines()]
    for _ in range(draw(st.integers(1, 3))):
        row = draw(st.integers(0, len(rows) - 1))
        column = draw(st.integers(0, len(rows[row]) - 1))
        rows[row][column] = str(draw(STRANGE))
    text = "\n".join(",".join(row) for row in rows).encode(errors="surrogatepass")
    return draw(damaged_bytes(text, rarely=True))


STRANGE_IN_MAT = (
    st.sampled_from(
        [
            True,
            "",
            "x",
            "../../etc/passwd",
            math.nan,
            math.inf,
            -math.inf,
            [],
            [1, 2, 3, 4],
            np.array([[1, 1], [9, -1]]),
            np.array([[math.nan, 1]]),
            np.array([["a", "b"]]),
            structs([{"x1": 1, "x2": 2, "y1": math.nan, "y2": 1e300}]),
            structs([{"x1": [], "x2": "a", "y1": 1, "y2": 3}]),
            structs([{"width": 1}]),
        ]
    )
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
)


@st.composite
def damaged_mat(draw):
    """Image structs after one to three changes."""
    images = mat_images(CONTENT)
    for _ in range(draw(st.integers(1, 3))):
        target = draw(st.sampled_from(images))
        keys = list(target)
        hois = target["hoi"]
        if getattr(hois, "size", 0) and hois.dtype.names and draw(st.booleans()):
            target = hois[0, draw(st.integers(0, hois.size - 1))]
            keys = target.dtype.names
        target[draw(st.sampled_from(keys))] = copy.deepcopy(draw(STRANGE_IN_MAT))
    return images


@st.composite
def damaged_mat_bytes(draw):
    """`anno_bbox.mat`, cut short or with bytes overwritten, in its first variable above all."""
    data = MAT_BYTES
    if draw(st.integers(0, 3)) == 0:
        return draw(damaged_bytes(data))
    return draw(damaged_bytes(data[:FIRST_VARIABLE])) + data[FIRST_VARIABLE:]


MAT_BYTES = mat_bytes(mat_images(CONTENT), partitions=["test"])
FIRST_VARIABLE = len(MAT_BYTES) - len(mat_bytes([], partitions=[])) + 128
