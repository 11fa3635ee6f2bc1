"""A run of the toy world on disk, with predictions made from the ground truth.

It can pose as one on V-COCO: the same scenes, with roles for verbs, people who just stand, and
objects that are not visible.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from hoiclip.core import schema
from hoiclip.core.files import write_json
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.images.store import write_shards
from hoiclip.methods.summary import MethodSummary
from hoiclip.report.inputs import ReportInputs
from hoiclip.toy import world
from hoiclip.toy.drawing import render

SCRIPT = "<script>alert(1)</script>"
QUOTES = "\"quoted'<b>.png"
VALIDATION = {
    str(epoch): {
        name: top * (1 - float(np.exp(-epoch / 9))) for name, top in (("full", 67), ("rare", 41))
    }
    for epoch in range(2, 31, 2)
}
METHOD = MethodSummary(
    "mine",
    "A method",
    {
        "train": {"steps": 3000, "threads": 2},
        "select": {"epoch": 28, "epochs": VALIDATION},
        "predict": {"predictions": 4150},
    },
)


def toy_vocabulary(*, hostile: bool = False) -> Vocabulary:
    objects = list(world.OBJECTS)
    verbs = [Verb(verb.name, verb.phrase) for verb in world.VERBS]
    if hostile:
        objects[1] = SCRIPT
        verbs[1] = Verb(SCRIPT, "scripting")
    return Vocabulary(tuple(objects), tuple(verbs), tuple(Hoi(*hoi) for hoi in world.HOIS))


def vcoco_vocabulary() -> Vocabulary:
    """The toy's verbs as roles, each without an object too, and the action `stand`."""
    toy = toy_vocabulary()
    roles = [Verb(f"{verb.name}_obj", verb.phrase, "acting") for verb in toy.verbs]
    alone = [Hoi(verb, None) for verb in range(len(roles) + 1)]
    stand = Verb("stand", None, "standing")
    return Vocabulary(toy.objects, (*roles, stand), (*toy.hois, *alone))


def write_run(
    root: Path, *, images: int = 6, hostile: bool = False, vcoco: bool = False, seed: int = 0
) -> ReportInputs:
    """Writes every required file of a run below `root`."""
    rng = np.random.default_rng(seed)
    paths = ReportInputs.of_project(root, METHOD.name)
    vocabulary = vcoco_vocabulary() if vcoco else toy_vocabulary(hostile=hostile)
    vocabulary.write(paths.vocabulary, {"source": "vcoco" if vcoco else "toy"})
    tables: dict[str, list[dict]] = {"images": [], "instances": [], "interactions": []}
    predictions: list[dict] = []
    files = []
    scenes = world.sample_corpus(rng, images, list(world.HOIS), world.test_weights(), 0)
    for image_id, scene in enumerate(scenes):
        pixels, boxes = render(scene)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        name = QUOTES if hostile and image_id == 0 else f"toy_{image_id:05d}.png"
        files.append((name, buffer.getvalue()))
        tables["images"].append(
            {"image_id": image_id, "file_name": name, "width": 128, "height": 128}
        )
        for number, (entity, box) in enumerate(zip(scene.entities, boxes, strict=True)):
            tables["instances"].append(
                {"image_id": image_id, "instance": number, "object": entity.category,
                 "box_xyxy": box.tolist()}
            )  # fmt: skip
        for query, pair in enumerate(scene.pairs):
            visible = not vcoco or rng.random() > 0.2
            object_ = scene.entities[pair.object].category if visible else None
            verbs = [*pair.verbs, len(world.VERBS)] if vcoco else pair.verbs
            for verb in verbs:
                alone = not visible or verb == len(world.VERBS)
                hoi = vocabulary.hoi_ids[verb, None if alone else object_]
                tables["interactions"].append(
                    {"image_id": image_id, "human": pair.human, "verb": verb, "hoi": hoi,
                     "object_instance": None if alone else pair.object}
                )  # fmt: skip
                object_box = None if alone else boxes[pair.object]
                predictions += _predictions(
                    rng, image_id, query, hoi, boxes[pair.human], object_box
                )
    schemas = (schema.IMAGES, schema.INSTANCES, schema.INTERACTIONS)
    Annotations(
        *(
            pa.Table.from_pylist(rows, schema=table_schema)
            for rows, table_schema in zip(tables.values(), schemas, strict=True)
        )
    ).write(paths.annotations, {})
    write_shards(paths.images, files)
    METHOD.write(paths.runs)
    table = pa.Table.from_pylist(predictions, schema=schema.PREDICTIONS)
    schema.write_table(paths.predictions, table, schema.PREDICTIONS, {})
    _write_evaluation(paths, vocabulary, rng)
    _write_diagnosis(paths, vocabulary, vcoco)
    paths.params.write_text("train:\n  seed: 0\n  epochs: 30  # a comment <&>\n")
    return paths


def _predictions(rng, image_id, query, hoi, human, object_) -> list[dict]:
    """Jittered truth, sometimes lost or of another class, and weak false alarms."""
    rows = []
    for kind, score in (("truth", rng.beta(5, 2)), ("noise", rng.beta(1.5, 5))):
        jitter = 2.0 if kind == "truth" else 25.0
        boxes = [
            None if box is None else
            np.sort((box + rng.normal(0, jitter, 4)).reshape(2, 2), axis=0).reshape(-1).tolist()
            for box in (human, object_)
        ]  # fmt: skip
        wrong = kind == "noise" or rng.random() < 0.25
        rows.append(
            {"image_id": image_id, "query": 2 * query + (kind == "noise"),
             "hoi": int(rng.integers(len(world.HOIS))) if wrong else hoi,
             "human_box_xyxy": boxes[0], "object_box_xyxy": boxes[1], "score": 1.6 * score,
             "hoi_score": score, "object_score": score, "clip_score": 0.0}
        )  # fmt: skip
    return rows if rng.random() > 0.1 else rows[1:]


def _write_evaluation(
    paths: ReportInputs, vocabulary: Vocabulary, rng: np.random.Generator
) -> None:
    count = vocabulary.num_hois
    train = np.maximum((6000 * np.resize(world.train_weights(), count)).astype(int), 1)
    ap = np.clip(35 + 14 * np.log(train / 6) + rng.normal(0, 12, count), 0, 100).round(3)
    table = pa.table(
        {
            "hoi": np.arange(count),
            "name": [vocabulary.hoi_name(i) for i in range(count)],
            "train_instances": train,
            "rare": train < 10,
            "seen": np.ones(count, bool),
            "test_instances": np.full(count, 30),
            "ap_default": pa.array(ap, mask=np.arange(count) == 3),
            "ap_known_object": pa.array(np.minimum(ap + 3, 100)),
            "max_recall": pa.array(np.minimum(ap + 15, 100)),
        }
    ).cast(schema.PER_CLASS)
    schema.write_table(paths.per_class, table, schema.PER_CLASS, {})
    lines = ["recall,full,rare,non_rare"]
    for recall in (r / 100 for r in range(101)):
        precision = [f"{1 - recall**power * 0.9:.4f}" for power in (3, 1.2, 4)]
        lines.append(",".join([str(recall), *precision]))
    paths.curves.write_text("\n".join(lines) + "\n")
    default = {"full": 67.1234, "rare": 41.0, "non_rare": 75.0}
    known = {"full": 70.5, "rare": None, "non_rare": 78.25}
    write_json(
        paths.metrics,
        {"protocol": "hico", "default": default, "known_object": known, "recall": 87.3},
    )


def _write_diagnosis(paths: ReportInputs, vocabulary: Vocabulary, vcoco: bool) -> None:
    kinds = ("duplicate", "verb", "object", "human_box", "object_box", "verb_and_object",
             "both_boxes", "background", "missed")  # fmt: skip
    gains = [0.4, 11.25, 2.0, 1.1, 3.3, 0.6, 0.2, 6.7, 4.9]
    write_json(
        paths.diagnosis,
        {
            "protocol": "vcoco" if vcoco else "hico", "map": 67.1234, "lost": 32.8766,
            "delta_ap": dict(zip(kinds, gains, strict=True)),
            "share": {k: 100 * v / sum(gains) for k, v in zip(kinds, gains, strict=True)},
            "count": {kind: 137 * n for n, kind in enumerate(kinds)}, "pair_recall": 87.3,
        },
    )  # fmt: skip
    lines = ["verb,hoi_classes,positives,ap,ap_scenario_1,ap_scenario_2"]
    for number, verb in enumerate(vocabulary.verbs):
        role = f"{40 + number}.5,{42 + number}.25" if vcoco and verb.name != "stand" else ","
        ap = "" if number == 2 else f"{90 - 7 * number}.125"
        lines.append(f"{verb.name},{number + 1},{30 * number},{ap},{role}")
    paths.per_verb.write_text("\n".join(lines) + "\n")
    if vcoco:
        metrics = json.loads(paths.metrics.read_text()) | {
            "protocol": "vcoco", "missing_roles": True, "unlabelled_people": True,
            "vcoco": {
                "ap_role_scenario_1": 61.25, "ap_role_scenario_2": 62.75,
                "ap_role_scenario_1_25": 59.5, "ap_role_scenario_2_25": 60.875, "ap_agent": 71.375,
            },
        }  # fmt: skip
        write_json(paths.metrics, metrics)


def write_optional(paths: ReportInputs, *, seeds: int = 3) -> None:
    """Writes the training history, a stage's summary, findings and committed results."""
    rng = np.random.default_rng(1)
    findings = [
        {"partition": partition, "file": "raw.json", "row": row, "kind": kind, "kept": kept,
         "value": "0"}
        for partition, kind, kept, count in (
            ("train", "box clipped", True, 1234), ("test", "box clipped", True, 2),
            ("train", "unknown class", False, 3),
        )
        for row in range(count)
    ]  # fmt: skip
    table = pa.Table.from_pylist(findings, schema=schema.FINDINGS)
    schema.write_table(paths.findings, table, schema.FINDINGS, {})
    rows = []
    for step in range(0, 3000, 5):
        epoch = step / 100
        for name, scale in (("total", 9), ("hoi", 4), ("object", 2), ("l1", 1.5), ("giou", 1.2)):
            value = scale * (0.15 + np.exp(-epoch / 8)) * rng.uniform(0.85, 1.15)
            rows.append({"step": step, "epoch": epoch, "name": f"loss/{name}", "value": value})
    table = pa.Table.from_pylist(rows, schema=schema.HISTORY)
    schema.write_table(paths.history, table, schema.HISTORY, {})
    counts = {"train images": 3000, "test images": 800, "HOI classes": 44}
    published = [
        {"what": "train images", "found": 3000, "published": 3001, "equal": False},
        {"what": "test images", "found": 800, "published": 800, "equal": True},
    ]
    write_json(
        paths.runs / "dataset/summary.json",
        {"counts": counts, "published": published, "findings": {}},
    )
    ablation = [
        {
            "row": row, "length": length, "seed": seed, "steps": 3000 if length == "full" else 750,
            "seconds": 700.0,
            "metrics": {"default": {"full": base + seed, "rare": base / 2, "non_rare": base + 5}},
        }
        for length, drop in (("full", 0), ("quarter", 25))
        for row, base in zip(
            ("base", "clip", "integration", "verb", "free"),
            np.array((55.0, 60.0, 61.0, 66.0, 66.5)) - drop,
            strict=True,
        )
        for seed in range(seeds)
    ]  # fmt: skip
    paths.results.mkdir(parents=True, exist_ok=True)
    write_json(
        paths.results / "ablation.json",
        {"rows": ablation, "commit": "abc1234", "machine": "two CPU cores"},
    )
    runs = [
        {"seed": s, "seconds": 750, "metrics": {"full": 66.0 + s, "rare": 40.0, "non_rare": 74.0}}
        for s in range(seeds)
    ]
    write_json(paths.results / "seeds.json", {"runs": runs})
    control = {
        "name": "No CLIP", "what": "base from random weights", "seconds": 250,
        "metrics": {"full": 13.6, "rare": 0.6, "non_rare": 17.9},
    }  # fmt: skip
    (paths.results / "honesty.json").write_text(json.dumps({"rows": [control]}))
    student = {
        "name": "Student", "what": "all branches", "seconds": 90, "beats_teacher": False,
        "metrics": {"full": 51.7, "rare": 47.3, "non_rare": 53.9},
    }  # fmt: skip
    teacher = {"name": "Teacher alone", "metrics": {"full": 52.6, "rare": 43.4, "non_rare": 56.0}}
    (paths.results / "methods.json").write_text(json.dumps({"rows": [control]}))
    (paths.results / "distillation.json").write_text(json.dumps({"rows": [teacher, student]}))
