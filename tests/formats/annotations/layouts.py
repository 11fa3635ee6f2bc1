"""One small HICO-DET content, written in each of the layouts it comes in."""

import io
import json
from functools import cache

import numpy as np
from scipy.io import savemat

from hoiclip.catalog.vocabularies import COCO_IDS, hico_det

HICO = hico_det()
SIZE = (64, 48)
_MAT_HEADER = 128
HUMAN, OBJECT = (10, 10, 20, 30), (15, 12, 18, 13)
SIT_ON_BENCH = HICO.hoi_ids[(87, HICO.objects.index("bench"))]


def file_name(number):
    return f"HICO_test2015_{number:08d}.jpg"


def random_content(seed, images=4, pairs=6):
    """{image number: [(human box, object box, hoi)]}; boxes are 1-based inclusive xyxy."""
    rng = np.random.default_rng(seed)

    def box():
        x1, y1 = rng.integers(1, 20, 2).tolist()
        return (x1, y1, x1 + int(rng.integers(0, 9)), y1 + int(rng.integers(0, 9)))

    content = {}
    for number in range(1, images + 1):
        boxes = [box() for _ in range(3)]
        content[number * 7] = list(
            dict.fromkeys(
                (boxes[rng.integers(3)], boxes[rng.integers(3)], int(rng.integers(600)))
                for _ in range(int(rng.integers(0, pairs)))
            )
        )
    return content


def instances_document(content):
    """`instances_*2015.json`."""
    names = sorted(HICO.objects)
    verbs = [verb.name for verb in HICO.verbs]
    object_of = [names.index(HICO.objects[hoi.object]) for hoi in HICO.hois]
    return {
        "filenames": [file_name(number) for number in content],
        "size": [list(SIZE) for _ in content],
        "annotation": [
            {
                "boxes_h": [list(human) for human, _, _ in pairs],
                "boxes_o": [list(other) for _, other, _ in pairs],
                "hoi": [hoi for _, _, hoi in pairs],
                "object": [object_of[hoi] for _, _, hoi in pairs],
                "verb": [HICO.hois[hoi].verb for _, _, hoi in pairs],
            }
            for pairs in content.values()
        ],
        "objects": names,
        "verbs": verbs,
        "correspondence": [[i, object_of[i], hoi.verb] for i, hoi in enumerate(HICO.hois)],
        "empty": [i for i, pairs in enumerate(content.values()) if not pairs],
    }


def hoia_document(content, *, state_hoi=True):
    """HOIA JSON; boxes merge on equality within their class."""
    document = []
    for number, pairs in content.items():
        annotations, rows = [], []

        def index(box, object_, annotations=annotations):
            x1, y1, x2, y2 = box
            entry = {"bbox": [x1 - 1, y1 - 1, x2 - 1, y2 - 1], "category_id": COCO_IDS[object_]}
            if entry not in annotations:
                annotations.append(entry)
            return annotations.index(entry)

        for human, other, hoi in reversed(pairs):
            verb, object_ = HICO.hois[hoi].verb, HICO.hois[hoi].object
            row = {
                "subject_id": index(human, HICO.person),
                "object_id": index(other, object_),
                "category_id": verb + 1,
            }
            rows.append(row | ({"hoi_category_id": hoi + 1} if state_hoi else {}))
        entry = {"file_name": file_name(number), "annotations": annotations}
        document.append(entry | {"hoi_annotation": rows})
    return document


def structs(rows):
    """A MATLAB struct array of dictionaries with the same keys."""
    if not rows:
        return np.zeros((0, 0))
    out = np.empty((1, len(rows)), [(key, object) for key in rows[0]])
    for index, row in enumerate(rows):
        for key, value in row.items():
            out[0, index][key] = value
    return out


def mat_hois(pairs):
    """HOI entries of one image: one per HOI class, its boxes listed once each."""
    entries = []
    for hoi in dict.fromkeys(hoi for _, _, hoi in pairs):
        own = [(human, other) for human, other, h in pairs if h == hoi]
        humans = list(dict.fromkeys(human for human, _ in own))
        objects = list(dict.fromkeys(other for _, other in own))
        entries.append(
            {
                "id": hoi + 1,
                "bboxhuman": structs([mat_box(box) for box in humans]),
                "bboxobject": structs([mat_box(box) for box in objects]),
                "connection": np.array(
                    [[humans.index(h) + 1, objects.index(o) + 1] for h, o in own], np.uint8
                ),
                "invis": 0,
            }
        )
    return entries


def mat_box(box):
    x1, y1, x2, y2 = box
    return {"x1": x1, "x2": x2, "y1": y1, "y2": y2}


def mat_images(content):
    width, height = SIZE
    size = structs([{"width": width, "height": height, "depth": 3}])
    return [
        {"filename": file_name(number), "size": size, "hoi": structs(mat_hois(pairs))}
        for number, pairs in content.items()
    ]


def mat_actions():
    names = [(HICO.objects[h.object], HICO.verbs[h.verb].name) for h in HICO.hois]
    return structs([{"nname": nname, "vname": vname} for nname, vname in names])


@cache
def _actions_element():
    """Bytes of `list_action` within a file."""
    file = io.BytesIO()
    savemat(file, {"list_action": mat_actions()})
    return file.getvalue()[_MAT_HEADER:]


def mat_bytes(images, partitions=("train", "test")):
    """`anno_bbox.mat` whose partitions hold the same `images`."""
    file = io.BytesIO()
    savemat(file, {f"bbox_{name}": structs(images) for name in partitions})
    return file.getvalue() + _actions_element()


def write_mat(path, images):
    """Writes `mat_bytes`."""
    path.write_bytes(mat_bytes(images))
    return path


def write_json(path, document):
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def size_of(name):
    return SIZE


def pairs_in_order(annotations):
    """{file name: [(human box, object box, hoi)]} as the tables have them, by plain loops."""
    names = dict(
        zip(*(annotations.images[k].to_pylist() for k in ("image_id", "file_name")), strict=True)
    )
    boxes = {
        (row["image_id"], row["instance"]): tuple(row["box_xyxy"])
        for row in annotations.instances.to_pylist()
    }
    out = {name: [] for name in names.values()}
    for row in annotations.interactions.to_pylist():
        image = row["image_id"]
        other = row["object_instance"]
        found = (
            boxes[image, row["human"]],
            None if other is None else boxes[image, other],
            row["hoi"],
        )
        out[names[image]].append(found)
    return out


def pairs_of(annotations):
    """The same, sorted within each image."""
    return {name: sorted(pairs) for name, pairs in pairs_in_order(annotations).items()}


def expected_in_order(content):
    def shifted(box):
        return (box[0] - 1.0, box[1] - 1.0, float(box[2]), float(box[3]))

    return {
        file_name(number): [(shifted(h), shifted(o), hoi) for h, o, hoi in pairs]
        for number, pairs in content.items()
    }


def expected_pairs(content):
    return {name: sorted(pairs) for name, pairs in expected_in_order(content).items()}


def same_as_sets(a, b):
    """Whether two partitions hold the same images, instances and interactions, in any order."""
    boxes = [
        sorted(
            (row["image_id"], row["object"], *row["box_xyxy"]) for row in t.instances.to_pylist()
        )
        for t in (a, b)
    ]
    return a.images.equals(b.images) and boxes[0] == boxes[1] and pairs_of(a) == pairs_of(b)


def same(a, b):
    return all(getattr(a, k).equals(getattr(b, k)) for k in ("images", "instances", "interactions"))
