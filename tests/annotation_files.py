"""One small content as the files that HICO-DET and V-COCO come in, and predictions of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from hoiclip.catalog.vocabularies import COCO_IDS, hico_det, vcoco

HICO, V_COCO = hico_det(), vcoco()
SIZE = (64, 48)
HUMAN, OTHER = [10, 10, 29, 39], [20, 12, 33, 25]
"""0-based, x2 and y2 the last pixel inside."""
NAMES = [f"HICO_test2015_{number:08d}.jpg" for number in (3, 8)]
HOI = HICO.hoi_ids[[v.name for v in HICO.verbs].index("ride"), HICO.objects.index("horse")]
VERB, HORSE = HICO.hois[HOI].verb, HICO.hois[HOI].object


def write_json(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def hico_instances(folder: Path) -> Path:
    objects, one_based = sorted(HICO.objects), [[v + 1 for v in box] for box in (HUMAN, OTHER)]
    pair = {
        "boxes_h": one_based[:1],
        "boxes_o": one_based[1:],
        "hoi": [HOI],
        "object": [objects.index("horse")],
        "verb": [VERB],
    }
    document = {
        "filenames": NAMES,
        "size": [list(SIZE)] * 2,
        "annotation": [pair, {key: [] for key in pair}],
        "objects": objects,
        "verbs": [verb.name for verb in HICO.verbs],
        "correspondence": [
            [i, objects.index(HICO.objects[hoi.object]), hoi.verb]
            for i, hoi in enumerate(HICO.hois)
        ],
        "empty": [1],
    }
    return write_json(folder / "instances_test2015.json", document)


def hico_hoia(folder: Path, object_id: int = 1) -> Path:
    boxes = [
        {"bbox": HUMAN, "category_id": COCO_IDS[HICO.person]},
        {"bbox": OTHER, "category_id": COCO_IDS[HORSE]},
    ]
    pair = {"subject_id": 0, "object_id": object_id, "category_id": VERB + 1}
    document = [
        {"file_name": NAMES[0], "annotations": boxes, "hoi_annotation": [pair]},
        {"file_name": NAMES[1], "annotations": [], "hoi_annotation": []},
    ]
    return write_json(folder / "test_hico.json", document)


def hico_mat(folder: Path) -> Path:
    def structs(rows: list[dict]) -> np.ndarray:
        out = np.empty((1, len(rows)), [(key, object) for key in rows[0]])
        for index, row in enumerate(rows):
            for key, value in row.items():
                out[0, index][key] = value
        return out

    def box(values: list[int]) -> np.ndarray:
        x1, y1, x2, y2 = (v + 1 for v in values)
        return structs([{"x1": x1, "x2": x2, "y1": y1, "y2": y2}])

    size = structs([{"width": SIZE[0], "height": SIZE[1], "depth": 3}])
    hoi = structs(
        [
            {
                "id": HOI + 1, "bboxhuman": box(HUMAN), "bboxobject": box(OTHER),
                "connection": np.array([[1, 1]], np.uint8), "invis": 0,
            }
        ]
    )  # fmt: skip
    images = [
        {"filename": name, "size": size, "hoi": of_image}
        for name, of_image in zip(NAMES, (hoi, np.zeros((0, 0))), strict=True)
    ]
    actions = structs(
        [{"nname": HICO.objects[h.object], "vname": HICO.verbs[h.verb].name} for h in HICO.hois]
    )
    path = folder / "anno_bbox.mat"
    train = [images[1] | {"filename": "HICO_train2015_00000001.jpg"}]
    content = {"bbox_train": structs(train), "bbox_test": structs(images), "list_action": actions}
    savemat(path, content)
    return path


def images(folder: Path) -> Path:
    for name in NAMES:
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE).save(folder / name)
    return folder


def vcoco_files(folder: Path) -> tuple[Path, Path]:
    """Somebody (COCO annotation 1) hits with a bat that is not visible; 3 is not labelled."""
    coco = {
        "images": [{"id": 5, "file_name": "COCO_val2014_000000000005.jpg",
                    "width": SIZE[0], "height": SIZE[1]}],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 1, "bbox": [10, 10, 20, 30]},
            {"id": 3, "image_id": 5, "category_id": 1, "bbox": [40, 10, 20, 30]},
        ],
    }  # fmt: skip
    actions = [
        {
            "action_name": "hit", "role_name": ["agent", "instr", "obj"], "image_id": [5],
            "ann_id": [1], "label": [1], "role_object_id": [1, 0, 0], "include": [[], [], []],
        },
    ]  # fmt: skip
    return (
        write_json(folder / "vcoco_test.json", actions),
        write_json(folder / "instances_val2014.json", coco),
    )


def vcoco_instances(folder: Path) -> Path:
    document = {
        "images": [5],
        "classes": ["hold obj"],
        "objects": ["background", *(name.replace("_", " ") for name in V_COCO.objects)],
        "annotations": [
            {
                "file_name": "COCO_val2014_000000000005.jpg", "boxes_h": [[10, 10, 30, 40]],
                "boxes_o": [[20, 12, 34, 26]], "actions": [0],
                "objects": [1 + V_COCO.objects.index("cup")],
            }
        ],
        "action_to_object": [[1]],
    }  # fmt: skip
    return write_json(folder / "instances_vcoco_test.json", document)


def vcoco_list(folder: Path) -> Path:
    """The hitting person of `vcoco_files`, and the one whom V-COCO does not label."""
    blank = {verb.name: None for verb in V_COCO.verbs if verb.name.endswith(("_obj", "_instr"))}
    stems = {name.rsplit("_", 1)[0] for name in blank} | {"stand", "walk", "run", "smile"}
    blank |= {f"{stem}_agent": None for stem in stems}
    roles = {"hit_instr": [0, 0, 0, 0, 0.8], "hit_obj": [1, 1, 9, 9, 0.8], "hit_agent": 0.8}
    document = [
        blank | {"image_id": 5, "person_box": [10, 10, 29, 39]} | roles,
        blank | {"image_id": 5, "person_box": [40, 10, 59, 39]} | roles | {"hit_agent": 0.9},
    ]
    return write_json(folder / "detections.json", document)


def hoia_predictions(folder: Path) -> Path:
    """The pair, found, and the same in the other image with a higher score."""
    boxes = [
        {"bbox": HUMAN, "category_id": COCO_IDS[HICO.person]},
        {"bbox": OTHER, "category_id": COCO_IDS[HORSE]},
    ]
    pair = {"subject_id": 0, "object_id": 1, "category_id": VERB + 1}
    document = [
        {"file_name": name, "predictions": boxes, "hoi_prediction": [pair | {"score": score}]}
        for name, score in zip(NAMES, (0.5, 0.75), strict=True)
    ]
    return write_json(folder / "predictions.json", document)
