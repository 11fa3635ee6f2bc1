"""V-COCO's original files in orders of their own, full of ties, against the reference on COCO's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import vcoco_reference as reference
from prediction_files import score_files, write_json, write_parquet
from vcoco_worlds import SIZE, predictions

from hoiclip.catalog.vocabularies import COCO_IDS, vcoco
from hoiclip.formats.annotations.source import SourceOptions
from hoiclip.formats.partition import write_partition
from hoiclip.formats.reading import read_annotations

V_COCO = vcoco()
VERBS = [verb.name for verb in V_COCO.verbs]
ROLES = {"hold": ["obj"], "stand": [], "hit": ["instr", "obj"]}
PERSON, CUP = V_COCO.person, V_COCO.objects.index("cup")


def grid_box(rng):
    """x1, y1, x2, y2 inside the image; one half way between two of them overlaps both equally."""
    x, y = 10 * int(rng.integers(4)), 10 * int(rng.integers(2))
    return (x, y, x + 20, y + 20)


def world(seed):
    """COCO's and V-COCO's documents, people per image as COCO lists them, and detections."""
    rng = np.random.default_rng(seed)
    numbers = sorted(rng.permutation(90)[:3].tolist())
    ids = iter(rng.permutation(np.arange(1, 200)).tolist())
    annotations, of_image = [], {}
    for number in numbers:
        rows, boxes = [], set()
        for _ in range(int(rng.integers(0, 9))):
            is_person, labelled, box = rng.random() < 0.75, rng.random() < 0.6, grid_box(rng)
            # Two of one class and box would be one instance; strangers may stand on anybody.
            stranger = is_person and not labelled
            if not stranger and (is_person, box) in boxes:
                continue
            boxes |= set() if stranger else {(is_person, box)}
            rows.append({"id": next(ids), "person": is_person, "labelled": labelled, "box": box})
        of_image[number] = rows
        annotations += [(number, row) for row in rows]
    labels = {name: [] for name in ROLES}
    for number, rows in of_image.items():
        for row in rows:
            if row["person"]:
                row["actions"] = {}
            if not (row["person"] and row["labelled"]):
                continue
            others = [r for r in rows if not r["person"]]
            for name, roles in ROLES.items():
                does, objects = rng.random() < 0.6, []
                for role in roles:
                    seen = others and rng.random() < 0.7
                    objects.append(others[rng.integers(len(others))] if seen else None)
                    if does:
                        played = row["actions"].setdefault(name, {})
                        played[f"{name}_{role}"] = objects[-1] and objects[-1]["box"]
                if does:
                    row["actions"].setdefault(name, {})
                played_ids = [o["id"] if o and does else 0 for o in objects]
                labels[name].append((row["id"], number, int(does), *played_ids))
    order = rng.permutation(len(annotations))
    shuffled = [annotations[i] for i in order]
    coco = {
        "images": [
            {"id": n, "file_name": f"{n}.jpg", "width": SIZE[0], "height": SIZE[1]}
            for n in numbers[::-1]
        ],
        "annotations": [
            {
                "id": row["id"], "image_id": n, "area": 9, "iscrowd": 0,
                "category_id": COCO_IDS[PERSON if row["person"] else CUP],
                "bbox": [*row["box"][:2], 20, 20],
            }
            for n, row in shuffled
        ],
    }  # fmt: skip
    actions = []
    for name, roles in ROLES.items():
        rows = [labels[name][i] for i in rng.permutation(len(labels[name]))]
        person, image, label, *objects = ([row[k] for row in rows] for k in range(3 + len(roles)))
        actions.append(
            {
                "action_name": name, "role_name": ["agent", *roles], "ann_id": person,
                "image_id": image, "label": label, "role_object_id": sum(objects, person),
                "include": [],
            }
        )  # fmt: skip
    people = [[r for n, r in shuffled if n == number and r["person"]] for number in numbers]
    return coco, actions, numbers, people, detections_of(rng, len(numbers))


def detections_of(rng, num_images):
    def box(steps):
        x, y = 5 * int(rng.integers(steps)), 10 * int(rng.integers(2))
        return (float(x), float(y), x + 20.0, y + 20.0)

    hois = [
        V_COCO.hoi_ids[VERBS.index(verb), object_]
        for verb in ("hold_obj", "hit_obj", "hit_instr", "stand")
        for object_ in (CUP, None)
        if (VERBS.index(verb), object_) in V_COCO.hoi_ids
    ]
    nowhere = (60.0, 44.0, 64.0, 48.0)
    return [
        {
            "image": image, "query": query, "hoi": hoi, "score": float(rng.integers(1, 64)) / 64,
            "human": nowhere if query % 5 == 0 else human, "object": object_,
        }
        for image in range(num_images)
        for query in range(int(rng.integers(6, 20)))
        for human, object_ in [(box(8), box(8) if rng.random() < 0.7 else None)]
        for hoi in rng.choice(hois, 3, replace=False).tolist()
    ]  # fmt: skip


def compare(scored, expected):
    for scenario, values in zip((1, 2), expected[:2], strict=True):
        wanted = list(values.values())
        np.testing.assert_allclose(scored.vcoco.role_ap[scenario], wanted, rtol=0, atol=1e-9)
    np.testing.assert_allclose(scored.vcoco.agent_ap, list(expected[2].values()), rtol=0, atol=1e-9)


def test_worlds_full_of_ties_equal_the_reference_on_cocos_order(tmp_path):
    turned_differ = 0
    for seed in range(40):
        coco, actions, numbers, people, detections = world(seed)
        if not any(action["ann_id"] for action in actions):
            continue
        ids = tmp_path / "vcoco_test.ids"
        ids.write_text("\n".join(map(str, numbers)))
        paths = [write_json(tmp_path / f"{n}.json", d) for n, d in (("v", actions), ("c", coco))]
        predicted = write_parquet(tmp_path / "p.parquet", predictions(detections, numbers, True))
        source = {"coco": (paths[1],), "image_ids": ids, "drop_unknown": True}
        scored = score_files(predicted, paths[0], source)
        rules = (detections, VERBS, V_COCO.verb_of_hoi.tolist())
        images = [{"size": SIZE, "people": listed} for listed in people]
        expected = reference.evaluate(images, *rules)
        compare(scored, expected)
        # The same as a partition that was written and read.
        read = read_annotations(paths[0], SourceOptions(**source))
        folder = tmp_path / str(seed)
        write_partition(folder, read, paths[0])
        compare(score_files(predicted, folder), expected)
        turned = [image | {"people": image["people"][::-1]} for image in images]
        other = reference.evaluate(turned, *rules)
        turned_differ += any(
            not np.allclose(list(a.values()), list(b.values()), equal_nan=True)
            for a, b in zip(expected, other, strict=True)
        )
    assert turned_differ > 20


def test_partitions_without_places_stay_readable_and_take_strangers_first(tmp_path):
    compared = 0
    for seed in range(12):
        coco, actions, numbers, people, detections = world(seed)
        paths = [write_json(tmp_path / f"{n}.json", d) for n, d in (("v", actions), ("c", coco))]
        ids = tmp_path / "vcoco_test.ids"
        ids.write_text("\n".join(map(str, numbers)))
        options = SourceOptions(coco=(paths[1],), image_ids=ids, drop_unknown=True)
        read = read_annotations(paths[0], options)
        people_only = read.annotations.unlabelled_people.drop_columns(["instances_ahead"])
        before = replace(read.annotations, unlabelled_people=people_only)
        folder = tmp_path / str(seed)
        write_partition(
            folder,
            replace(read, annotations=before),
            paths[0],
        )
        images = [
            {"size": SIZE, "people": sorted(listed, key=lambda p: p["labelled"])}
            for listed in people
        ]
        # Those that overlap nobody are wrong here, and are left out of the comparison.
        kept = [d for d in detections if reference.best_person(d, images[d["image"]])[1] > 0]
        predicted = write_parquet(tmp_path / "p.parquet", predictions(kept, numbers, True))
        expected = reference.evaluate(images, kept, VERBS, V_COCO.verb_of_hoi.tolist())
        compare(score_files(predicted, folder), expected)
        compared += bool(len(people_only)) and any(v > 0 for v in expected[2].values())
    assert compared > 6
