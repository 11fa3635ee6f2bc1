"""Damaged inputs of every kind: the files of each and the command that meets them.

Paths in a command are relative to the folder of the case; `../given/` holds sound files, which
`write_given` makes and which are the same for each case.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import operator
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import own_layouts
import pyarrow.parquet as pq
import test_reader_fuzz
import test_scoring_fuzz
import torch
import vcoco_layouts
import yaml
from archive_inputs import archives
from case import Case
from checkpoint_inputs import CLIP, conversions
from damage import (
    CONTENT,
    STRANGE,
    damaged_bytes,
    damaged_csv,
    damaged_document,
    damaged_json,
    damaged_mat,
    dump,
    places,
)
from distill_method_world import make_method
from fake_checkpoint import official_file
from fake_gen_vlkt import gen_vlkt_file
from hypothesis import strategies as st
from layouts import SIZE, file_name, hoia_document, instances_document, mat_bytes
from model_inputs import NUMBERS, headers, images
from PIL import Image
from prediction_files import write_json, write_world
from safetensors.torch import load_file, save_file
from scipy.io import savemat
from state_inputs import states
from test_scoring_vcoco import write as write_vcoco

from hoiclip.checkpoints.clip import save_clip
from hoiclip.clip.encoder import build_clip
from hoiclip.contract.model_file import Detector
from hoiclip.convert.dispatch import convert
from hoiclip.convert.released import RELEASED_TRANSFORMS
from hoiclip.model.tensors import HEADER_KEY, read_safetensors

ROOT = Path(__file__).resolve().parents[2]

# Annotations: `hoiclip import`, and the readers that it does not offer.

IMPORTED = {
    "hico_instances": ("i.json", damaged_json(instances_document(CONTENT)), []),
    "hoia": ("h.json", damaged_json(hoia_document(CONTENT)), ["--images", "../given/photos"]),
    "hoia_of_vcoco": (
        "h.json",
        damaged_json(test_reader_fuzz.HOIA_OF_VCOCO),
        ["--vocabulary", "vcoco", "--images", "../given/photos"],
    ),
    "vcoco": (
        "v.json", damaged_json(vcoco_layouts.vcoco_document()), ["--coco", "../given/coco.json"],
    ),
    "own_json": (
        "own.json",
        damaged_json(own_layouts.json_document()),
        ["--vocabulary", "../given/vocabulary.json"],
    ),
    "own_csv": ("own.csv", damaged_csv(), ["--vocabulary", "../given/vocabulary.json"]),
    "own_vocabulary": (
        "vocabulary.json", damaged_json(own_layouts.VOCABULARY), ["../given/own.json"],
    ),
}  # fmt: skip
# One damages objects in memory, one starts a process for each file.
READERS = sorted(set(test_reader_fuzz.READERS) - {"hico_mat", "hico_mat_in_process"})


@st.composite
def annotations(draw):
    drop = draw(st.booleans())
    if draw(st.booleans()):
        name = draw(st.sampled_from(READERS))
        if name == "hico_mat_bytes" and draw(st.booleans()):
            data = mat_bytes(draw(damaged_mat()), partitions=["test"])
        else:
            data = draw(test_reader_fuzz.READERS[name][1])
        return Case("annotations", "reader", [name, str(int(drop))], {"input": data})
    name = draw(st.sampled_from(sorted(IMPORTED)))
    file, data, options = IMPORTED[name]
    if name == "own_vocabulary":
        arguments = ["import", *options, "out", "--vocabulary", file]
    else:
        arguments = ["import", file, "out", *options]
    arguments += ["--drop-unknown"] * drop
    return Case("annotations", "hoiclip", arguments, {file: draw(data)})


# Predictions: `hoiclip evaluate`.


@st.composite
def predictions(draw):
    name = draw(st.sampled_from(sorted([*test_scoring_fuzz.FORMATS, "matlab"])))
    world = "../given/vworld" if name == "vcoco" else "../given/world"
    options = ["--diagnosis"] * draw(st.booleans()) + ["--out", "out"] * draw(st.booleans())
    if name == "parquet":
        table, file = draw(test_scoring_fuzz.damaged_table()), io.BytesIO()
        pq.write_table(table, file)
        data = draw(damaged_bytes(file.getvalue(), rarely=True))
        options += ["--protocol", draw(st.sampled_from(["hico", "hoiclip", "pocket"]))]
    elif name == "matlab":
        data = draw(matlab_detections())
        options += ["--protocol", draw(st.sampled_from(["hico", "hoiclip", "pocket"]))]
    else:
        text_of = test_scoring_fuzz.printed if name == "printed" else json.dumps
        document = test_scoring_fuzz.DOCUMENTS[name]
        data = draw(test_scoring_fuzz.damaged_json(document, text_of))
        options += ["--format", "vcoco" if name == "vcoco" else "hoia"]
        if name == "printed":
            options += ["--numbering", "hoia"]
        elif name != "vcoco" and draw(st.booleans()):
            options += ["--numbering", name]
    file = {"parquet": "p.parquet", "matlab": "p.mat"}.get(name, "p.json")
    arguments = ["evaluate", file, f"{world}/annotations/test", *options]
    door = "matlab" if name == "matlab" else "hoiclip"
    return Case("predictions", door, arguments, {file: data})


STRANGE_CELLS = st.one_of(
    st.sampled_from(
        ["x", 7.0, np.zeros((1, 8)), np.full((2, 9), np.nan), np.full((1, 9), 1e300), np.ones(9),
         np.array([[9, 9, 1, 1, 0, 0, 9, 9, 0.5]]), np.array(["a", "b"], object),
         np.ones((1, 9), np.complex64), {"x1": 1.0}]
    ),
    st.floats(),
)  # fmt: skip


@st.composite
def matlab_detections(draw):
    """One file of all classes after up to two changes of cells or their number."""
    world = test_scoring_fuzz.WORLD
    rows, columns = world.vocabulary.num_hois, world.images.num_rows
    rows, columns = (n + draw(st.sampled_from([0] * 9 + [1, -1])) for n in (rows, columns))
    cells = np.empty((rows, columns), object)
    for place in np.ndindex(cells.shape):
        cells[place] = np.array([[0, 0, 9, 9, 2, 3, 8, 9, (1 + sum(place)) / 99]], np.float32)
    for _ in range(draw(st.integers(0, 2)) if cells.size else 0):
        cells.flat[draw(st.integers(0, cells.size - 1))] = draw(STRANGE_CELLS)
    file = io.BytesIO()
    savemat(file, {"all_boxes": cells})
    return draw(damaged_bytes(file.getvalue(), rarely=True))


# Params: every section of params.yaml as its stage loads it.


@cache
def params_document():
    return yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


# What no damage to a document gives.
STRANGE_YAML = [
    b"&a [*a]", b"&a {seed: *a}", b"{? [a, [b]] : 1}", b"{? &a [*a] : 1}", b"!!python/tuple [1]",
    b"!!python/object/apply:os.system [touch ../canary/marker]", b"!!binary x", b"2026-13-45",
    b"{a: " * 5000, b"[" * 100_000, b"9" * 5000, b"0x" + b"f" * 9999, b"1:" * 5000 + b"1",
    b"&a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]", b"!!set {1, 2}", b"{<<: 3}", b"{<<: [*a]}",
]  # fmt: skip


@st.composite
def overrides(draw):
    """Those of a run: of keys that are there with other values, and of other keys."""
    texts = []
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([place for place in places(params_document()) if place]))
        value = functools.reduce(operator.getitem, path, params_document())
        value = draw(st.one_of(st.just(value), st.just(value), STRANGE, NUMBERS))
        text = value if isinstance(value, str) else _yaml(value).removesuffix("...\n").strip()
        key = ".".join(map(str, path))
        strange = draw(st.sampled_from([None] * 6 + ["", ".", "a", key + ".a", "raw", "a." * 5000]))
        equals = draw(st.sampled_from(["="] * 9 + ["", " = "]))
        texts.append(f"{key if strange is None else strange}{equals}{text}")
    return Case("params", "overrides", texts)


@st.composite
def params(draw):
    if draw(st.integers(0, 3)) == 0:
        return draw(overrides())
    document = params_document()
    section = draw(st.sampled_from(sorted(document)))
    changed = document | {section: draw(damaged_document(document[section]))}
    write = draw(st.sampled_from([json.dumps, _yaml]))
    data = draw(damaged_bytes(dump(changed, write), rarely=True))
    if draw(st.integers(0, 9)) == 0:
        changed = params_document() | {section: "HERE"}
        data = dump(changed, _yaml).replace(b"HERE", draw(st.sampled_from(STRANGE_YAML)), 1)
    return Case("params", "params", [], {"params.yaml": data})


def _yaml(document):
    # Text without surrogates, which no YAML file can hold.
    text = json.dumps(document).replace("\\ud", "\\u0")
    return yaml.safe_dump(json.loads(text), width=1 << 20)


KINDS: dict[str, tuple[float, Callable]] = {
    "annotations": (0.24, annotations),
    "predictions": (0.24, predictions),
    "params": (0.12, params),
    "headers": (0.1, headers),
    "images": (0.1, images),
    "archives": (0.1, archives),
    "checkpoints": (0.1, lambda: st.one_of(conversions(), conversions(), states())),
}
"""Share of the inputs, and their strategy."""


def write_given(folder: Path) -> None:
    """Writes the sound files that cases refer to."""
    (folder / "photos").mkdir(parents=True)
    for number in CONTENT:
        Image.new("RGB", SIZE, (9, 99, 199)).save(folder / "photos" / file_name(number))
    for number in (3, 4):
        Image.new("RGB", SIZE).save(folder / "photos" / file_name(number))
    Image.new("RGB", (24, 20), (200, 40, 30)).save(folder / "photos/a.png")
    write_json(folder / "coco.json", vcoco_layouts.coco_document())
    write_json(folder / "vocabulary.json", own_layouts.VOCABULARY)
    write_json(folder / "own.json", own_layouts.json_document())
    for name, write, world in (
        ("world", write_world, test_scoring_fuzz.WORLD),
        ("vworld", write_vcoco, test_scoring_fuzz.V_WORLD),
    ):
        (folder / name).mkdir()
        write(folder / name, world)
    torch.save(official_file(), folder / "official.pth")
    torch.save(gen_vlkt_file(), folder / "gen_vlkt.pth")
    sources = {"hoiclip": "official.pth", "gen_vlkt": "gen_vlkt.pth"}
    for name, source in sources.items():
        path = convert(folder / source, folder / f"{name}.safetensors").path
        tensors, metadata = load_file(path), read_safetensors(path)[1]
        header = json.loads(metadata[HEADER_KEY])
        header["transforms"]["test_scale"] = 32
        save_file(tensors, path, metadata | {HEADER_KEY: json.dumps(header)})
    config = {"model_cfg": CLIP}
    sizes = dataclasses.replace(RELEASED_TRANSFORMS, test_scale=32)
    Detector(make_method(config), sizes, {}, {}).save(folder / "clip_distill.safetensors")
    torch.manual_seed(0)
    save_clip(folder / "clip.safetensors", config, build_clip(config).state_dict(), {})
