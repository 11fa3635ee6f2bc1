"""A million pairs in one image: every reader takes them in bounded time and memory."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import own_layouts
import pytest
import vcoco_layouts
from layouts import (
    HICO,
    SIT_ON_BENCH,
    file_name,
    instances_document,
    mat_actions,
    mat_box,
    structs,
    write_json,
)
from scipy.io import savemat

from hoiclip.catalog.vocabularies import COCO_IDS

SIDE = 1000
PAIRS = SIDE * SIDE
BENCH = HICO.objects.index("bench")
SECONDS, MEBIBYTES = 60, 2048
"""Limits of the reading process, several times what it takes."""

HUMAN, OTHER = np.divmod(np.arange(PAIRS), SIDE)


def box(number, shift=0):
    """1-based inclusive; different for each number."""
    y, x = divmod(number, 40)
    return [x + 1 + shift, y + 1, x + 10 + shift, y + 10]


HUMANS = [box(number) for number in range(SIDE)]
OTHERS = [box(number, shift=1) for number in range(SIDE)]


def hico_instances(folder):
    document = instances_document({1: []})
    document["annotation"][0] = {
        "boxes_h": [HUMANS[i] for i in HUMAN.tolist()],
        "boxes_o": [OTHERS[i] for i in OTHER.tolist()],
        "hoi": [SIT_ON_BENCH] * PAIRS,
        "object": [sorted(HICO.objects).index("bench")] * PAIRS,
        "verb": [HICO.hois[SIT_ON_BENCH].verb] * PAIRS,
    }
    write_json(folder / "i.json", document)
    return f"hico_instances.read({str(folder / 'i.json')!r})"


def hoia(folder):
    boxes = [(HICO.person, HUMANS), (BENCH, OTHERS)]
    pair = {"category_id": HICO.hois[SIT_ON_BENCH].verb + 1, "hoi_category_id": SIT_ON_BENCH + 1}
    entry = {
        "file_name": file_name(1),
        "annotations": [
            {"bbox": b, "category_id": COCO_IDS[object_]} for object_, many in boxes for b in many
        ],
        "hoi_annotation": [
            pair | {"subject_id": human, "object_id": SIDE + other}
            for human, other in zip(HUMAN.tolist(), OTHER.tolist(), strict=True)
        ],
    }
    write_json(folder / "h.json", [entry])
    return f"hoia.read({str(folder / 'h.json')!r}, hico_det(), lambda _: (64, 64))"


def hico_mat(folder):
    hoi = {
        "id": SIT_ON_BENCH + 1,
        "bboxhuman": structs([mat_box(b) for b in HUMANS]),
        "bboxobject": structs([mat_box(b) for b in OTHERS]),
        "connection": np.stack([HUMAN, OTHER], 1) + 1,
        "invis": 0,
    }
    size = structs([{"width": 64, "height": 64, "depth": 3}])
    images = structs([{"filename": file_name(1), "size": size, "hoi": structs([hoi])}])
    path = folder / "anno_bbox.mat"
    savemat(path, {"bbox_test": images, "list_action": mat_actions()})
    return f"hico_mat.read({str(path)!r}, 'test')"


def vcoco(folder):
    """A thousand people hold a thousand cups: each person is listed a thousand times."""
    ids = list(range(1, 2 * SIDE + 1))
    boxes = [[x, y, 9, 9] for x, y, *_ in HUMANS + OTHERS]
    coco = {
        "images": [{"id": 10, "file_name": "a.jpg", "width": 64, "height": 64}],
        "annotations": [
            {"id": i, "image_id": 10, "category_id": c, "bbox": b}
            for i, c, b in zip(ids, [1] * SIDE + [vcoco_layouts.CUP] * SIDE, boxes, strict=True)
        ],
    }
    people = (HUMAN + 1).tolist()
    hold = {
        "action_name": "hold",
        "role_name": ["agent", "obj"],
        "image_id": [10] * PAIRS,
        "ann_id": people,
        "label": [1] * PAIRS,
        "role_object_id": people + (SIDE + OTHER + 1).tolist(),
    }
    write_json(folder / "coco.json", coco)
    write_json(folder / "v.json", [hold])
    return f"vcoco.read({str(folder / 'v.json')!r}, [{str(folder / 'coco.json')!r}])"


def vcoco_instances(folder):
    document = vcoco_layouts.instances_document()
    document["annotations"][0] |= {
        "boxes_h": [HUMANS[i] for i in HUMAN.tolist()],
        "boxes_o": [OTHERS[i] for i in OTHER.tolist()],
        "actions": [0] * PAIRS,
        "objects": [1 + vcoco_layouts.V_COCO.objects.index("cup")] * PAIRS,
    }
    write_json(folder / "v.json", document)
    return f"vcoco_instances.read({str(folder / 'v.json')!r}, lambda _: (64, 64))"


def own_vocabulary(folder):
    return write_json(folder / "vocabulary.json", own_layouts.VOCABULARY)


def own_json(folder):
    document = own_layouts.json_document()
    document["annotations"] = [
        {"id": number, "image_id": 5, "category_id": category, "bbox": [x, y, 9, 9]}
        for number, (category, (x, y, *_)) in enumerate(
            [(9, b) for b in HUMANS] + [(1, b) for b in OTHERS]
        )
    ]
    document["interactions"] = [
        {"human": human, "object": SIDE + other, "verb": "climb"}
        for human, other in zip(HUMAN.tolist(), OTHER.tolist(), strict=True)
    ]
    path = write_json(folder / "own.json", document)
    return f"own.read({str(path)!r}, {str(own_vocabulary(folder))!r})"


def own_csv(folder):
    header = own_layouts.csv_text().splitlines()[0]
    humans, others = ([",".join(map(str, b)) for b in many] for many in (HUMANS, OTHERS))
    lines = (
        f"a.jpg,100,80,{humans[human]},ladder,{others[other]},climb\n"
        for human, other in zip(HUMAN.tolist(), OTHER.tolist(), strict=True)
    )
    path = folder / "own.csv"
    with open(path, "w") as file:
        file.write(header + "\n")
        file.writelines(lines)
    return f"own.read({str(path)!r}, {str(own_vocabulary(folder))!r})"


CODE = """
import json, resource, time
from hoiclip.formats.annotations import hico_instances, hico_mat, hoia, own, vcoco, vcoco_instances
from hoiclip.catalog.vocabularies import hico_det
tables, vocabulary, report = {call}
tables.check("made", vocabulary)
findings = report.table().num_rows
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps([
    tables.instances.num_rows, tables.interactions.num_rows, findings,
    sum(u.ru_utime + u.ru_stime for u in used), max(u.ru_maxrss for u in used) / 1024,
]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "write", [hico_instances, hoia, hico_mat, vcoco, vcoco_instances, own_json, own_csv]
)
@pytest.mark.parametrize("findings", [0, PAIRS - 1])
def test_a_million_pairs_in_one_image(tmp_path, write, findings, monkeypatch):
    if findings:
        # One pair a million times.
        for name in ("HUMAN", "OTHER"):
            monkeypatch.setitem(globals(), name, np.zeros(PAIRS, np.int64))
    code = CODE.replace("{call}", write(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    instances, interactions, found, seconds, mebibytes = json.loads(done.stdout)
    print(f"{write.__name__}: {seconds:.1f} s, {mebibytes:.0f} MiB")
    assert interactions == (1 if findings else PAIRS)
    assert instances <= 2 * SIDE
    assert found == findings
    assert seconds < SECONDS
    assert mebibytes < MEBIBYTES
