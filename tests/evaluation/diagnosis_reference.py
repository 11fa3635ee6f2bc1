"""Both diagnoses, written out with plain loops from the tables of kinds."""

from __future__ import annotations

import math

import hico_reference as hico
import vcoco_reference as vcoco

HICO_KINDS = (
    "duplicate",
    "verb",
    "object",
    "human_box",
    "object_box",
    "verb_and_object",
    "both_boxes",
    "background",
)
VCOCO_KINDS = (
    "duplicate",
    "object",
    "verb",
    "human_box",
    "object_box",
    "both_boxes",
    "background",
)


def diagnosis_of(detections, annotations, kinds, reclassed, average):
    """The numbers of a diagnosis.

    Args:
        detections: dicts rank (a sort key, best first), group, kind ("right", or why not) and
            target (index of an annotation, or None), without those that do not count.
        annotations: their groups.
        kinds: of wrong detections.
        reclassed: the kinds whose fixing takes the annotation's group.
        average: flags in falling order of score, number of annotations → AP.
    """
    detections = sorted(detections, key=lambda d: d["rank"])
    owned = {d["target"] for d in detections}
    missed = [i for i in range(len(annotations)) if i not in owned]

    def mean_ap(rows, left):
        values = []
        for group in sorted(set(annotations)):
            flags = [int(right) for g, right in rows if g == group]
            num = sum(annotations[i] == group for i in left)
            values.append(average(flags, num) if num else 1.0)
        return 100 * sum(values) / len(values) if values else None

    everything = range(len(annotations))
    before = mean_ap([(d["group"], d["kind"] == "right") for d in detections], everything)
    after = {}
    for kind in kinds:
        rows, taken = [], set()
        for d in detections:
            if kind in ("duplicate", "background"):
                if d["kind"] != kind:
                    rows.append((d["group"], d["kind"] == "right"))
            elif d["kind"] in (kind, "right"):
                if d["target"] not in taken:
                    taken.add(d["target"])
                    group = annotations[d["target"]] if kind in reclassed else d["group"]
                    rows.append((group, True))
            else:
                rows.append((d["group"], False))
        after[kind] = mean_ap(rows, everything)
    rows = [(d["group"], d["kind"] == "right") for d in detections]
    after["missed"] = mean_ap(rows, [i for i in everything if i not in missed])
    counts = {kind: sum(d["kind"] == kind for d in detections) for kind in kinds}
    nothing = before is None
    return {
        "map": before,
        "lost": None if nothing else 100 - before,
        "delta_ap": {k: None if nothing else v - before for k, v in after.items()},
        "count": counts | {"missed": len(missed)},
    }


def of_hico(detections, truths, vocabulary, protocol):
    convert, iou, enough = hico.PROTOCOLS[protocol]
    verb, object_ = vocabulary.verb_of_hoi, vocabulary.object_of_hoi
    rows = []
    for d in detections:
        rank = (-d["score"], d["image"], d["query"], d["hoi"])
        row = {"rank": rank, "group": d["hoi"], "kind": "background", "target": None, "near": []}
        for number, t in enumerate(truths):
            if t["image"] == d["image"]:
                human = iou(convert(d["human"]), convert(t["human"]))
                thing = iou(convert(d["object"]), convert(t["object"]))
                row["near"].append((number, human, thing))
        rows.append(row)
    rows.sort(key=lambda row: row["rank"])
    taken = set()
    for row in rows:
        own = [n for n in row["near"] if truths[n[0]]["hoi"] == row["group"]]
        best = max(own, key=lambda n: (min(n[1:]), -n[0]), default=None)
        if best is not None and enough(min(best[1:])) and best[0] not in taken:
            taken.add(best[0])
            row.update(kind="right", target=best[0])
    for row in rows:
        if row["kind"] == "right":
            continue
        for kind in HICO_KINDS[:-1]:
            fits = []
            for number, human, thing in row["near"]:
                other = truths[number]["hoi"]
                same_verb = verb[other] == verb[row["group"]]
                same_object = object_[other] == object_[row["group"]]
                close = [v >= 0.1 and not enough(v) for v in (human, thing)]
                right = [enough(v) for v in (human, thing)]
                if {
                    "duplicate": same_verb and same_object and all(right),
                    "verb": not same_verb and same_object and all(right),
                    "object": same_verb and not same_object and all(right),
                    "human_box": same_verb and same_object and close[0] and right[1],
                    "object_box": same_verb and same_object and right[0] and close[1],
                    "verb_and_object": not same_verb and not same_object and all(right),
                    "both_boxes": same_verb and same_object and all(close),
                }[kind]:
                    is_taken = number in taken and kind != "duplicate"
                    fits.append((is_taken, -min(human, thing), number))
            if fits:
                row.update(kind=kind, target=min(fits)[2])
                break
    found = diagnosis_of(
        rows,
        [t["hoi"] for t in truths],
        HICO_KINDS,
        ("verb", "object", "verb_and_object"),
        lambda flags, num: hico.eleven_points(flags, num, protocol),
    )
    return found | {"pair_recall": hico.pair_recall(detections, truths, object_, protocol)}


def of_vcoco(images, detections, verbs, verb_of_hoi, left_out=("point_instr",)):
    """Scenario 1; images and detections as of `vcoco_reference.evaluate`."""
    roles = [v for v in verbs if v.endswith(("_obj", "_instr")) and v not in left_out]
    annotations, objects = [], {}
    for i, image in enumerate(images):
        for p, person in enumerate(image["people"]):
            for role in roles:
                if (action := role.rsplit("_", 1)[0]) in person["actions"]:
                    objects[i, p, role] = person["actions"][action].get(role)
                    annotations.append((i, p, role))
    rows, of_roles = [], []
    for role in roles:
        chosen = vcoco.best_of_queries(detections, lambda v, r=role: v == r, verbs, verb_of_hoi)
        of_roles += chosen
        for d in chosen:
            rank = (-d["score"], d["image"], d["query"], roles.index(role))
            row = {"rank": rank, "group": role, "kind": "background", "target": None, "d": d}
            image = images[d["image"]]
            row["person"], row["human"] = vcoco.best_person(d, image)
            unlabelled = (
                row["person"] is not None and not image["people"][row["person"]]["labelled"]
            )
            if not unlabelled:
                rows.append(row)
    rows.sort(key=lambda row: row["rank"])

    def overlap(row, role):
        place = (row["d"]["image"], row["person"], role)
        if place not in objects:
            return None
        return vcoco.role_overlap(row["d"], objects[place], images[row["d"]["image"]], 1)

    taken = set()
    for row in rows:
        place = (row["d"]["image"], row["person"], row["group"])
        own = overlap(row, row["group"])
        if own is not None and row["human"] >= 0.5 and own >= 0.5 and place not in taken:
            taken.add(place)
            row.update(kind="right", target=annotations.index(place))
    for row in rows:
        if row["kind"] != "right":
            classify(row, roles, overlap, objects, taken, annotations)
    pairs = {
        (i, p, box) for (i, p, _), of_role in objects.items() for box in vcoco.boxes_of(of_role)
    }
    covered = sum(any(covers(d, pair, images) for d in of_roles) for pair in pairs)
    found = diagnosis_of(rows, [a[2] for a in annotations], VCOCO_KINDS, ("verb",), vcoco.area)
    return found | {"pair_recall": 100 * covered / len(pairs) if pairs else None}


def covers(d, pair, images):
    i, p, box = pair
    if d["image"] != i:
        return False
    size = images[i]["size"]
    truth = vcoco.truth_box(images[i]["people"][p]["box"], size)
    human = vcoco.iou(vcoco.inclusive(d["human"]), truth)
    return human >= 0.5 and vcoco.role_overlap(d, box, images[i], 1) >= 0.5


def classify(row, roles, overlap, objects, taken, annotations):
    d, human = row["d"], row["human"]
    own = overlap(row, row["group"])
    place = (d["image"], row["person"], row["group"])
    right, near = human >= 0.5, 0.1 <= human < 0.5
    others = []
    for number, role in enumerate(roles):
        value = overlap(row, role)
        if role != row["group"] and value is not None and value >= 0.5 and right:
            other = (d["image"], row["person"], role)
            others.append((other in taken, -value, number, other))
    kind = None
    if own is not None:
        annotated = any(box is not None for box in vcoco.boxes_of(objects[place]))
        if right and own >= 0.5:
            kind = "duplicate"
        elif right and annotated != (d["object"] is not None):
            kind = "object"
    if kind is None and others:
        row.update(kind="verb", target=annotations.index(min(others)[3]))
        return
    if kind is None and own is not None:
        if near and own >= 0.5:
            kind = "human_box"
        elif right and 0.1 <= own < 0.5:
            kind = "object_box"
        elif near and 0.1 <= own < 0.5:
            kind = "both_boxes"
    if kind is not None:
        row.update(kind=kind, target=annotations.index(place))


def assert_equal(found, expected):
    """Compares numbers to 1e-9, where either may be None."""
    assert found["count"] == expected["count"]
    assert found["delta_ap"].keys() == expected["delta_ap"].keys()
    pairs = [(found[key], expected[key]) for key in ("map", "lost", "pair_recall")]
    pairs += [(found["delta_ap"][kind], value) for kind, value in expected["delta_ap"].items()]
    for number, value in pairs:
        assert (number is None) == (value is None)
        assert value is None or math.isclose(number, value, rel_tol=0, abs_tol=1e-9)
