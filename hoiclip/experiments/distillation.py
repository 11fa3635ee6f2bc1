"""What label-free distillation gives: CLIP on crops, its teacher alone, and students by branch.

Rows are fixed beforehand and all of them are written, whichever way they come out. Labels are read
here alone, of the test images, to score.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from hoiclip import schema
from hoiclip.data.annotations import Annotations
from hoiclip.data.images import ImageStore
from hoiclip.errors import HoiclipError, ParamsError
from hoiclip.evaluation.hico import evaluate_hico
from hoiclip.evaluation.outputs import metrics
from hoiclip.experiments.crops_alone import score_crops_alone
from hoiclip.experiments.run import CHECKPOINTS, DATA, with_overrides
from hoiclip.experiments.teacher_alone import score_teacher_alone
from hoiclip.inference.model_file import load_detector, only
from hoiclip.inference.predict import PredictConfig, predict
from hoiclip.methods.clip_distill.inputs import DistillPaths, DistillSettings
from hoiclip.methods.clip_distill.last_epoch import select_last
from hoiclip.methods.clip_distill.method import ClipDistillMethod
from hoiclip.methods.clip_distill.training import train
from hoiclip.model.config import SetPredictionConfig
from hoiclip.progress import say
from hoiclip.runtime import prepare
from hoiclip.set_prediction.files import TrainPaths
from hoiclip.util.config import load, read_params
from hoiclip.util.files import file_identity, read_json, write_json

CLASSES = Path("data/splits/classes.parquet")
TEST = DATA / "annotations/test"
TEST_IMAGES = DATA / "images/test"
EQUAL = 0.01
"""mAP, percent, by which the teacher alone may differ from CLIP on crops alone."""

_BRANCHES = "clip_distill.model.branches"


@dataclass(frozen=True)
class StudentRow:
    """One training of a student, and its row in the table.

    Attributes:
        name: of its result file.
        label: as the report prints it.
        what: in words.
        overrides: dotted keys of params.yaml and their values.
    """

    name: str
    label: str
    what: str
    overrides: dict[str, Any] = field(hash=False)


STUDENTS = (
    StudentRow("all", "Student", "all branches: the default", {}),
    StudentRow("global", "Student, global", "global branch alone", {_BRANCHES: ["global"]}),
    StudentRow("union", "Student, union", "union branch alone", {_BRANCHES: ["union"]}),
    StudentRow("instance", "Student, instance", "instance branch alone", {_BRANCHES: ["instance"]}),
    StudentRow(
        "pairs",
        "Student, pairs",
        "union and instance branch",
        {_BRANCHES: ["union", "instance"]},
    ),
    StudentRow(
        "unfiltered",
        "Student, no filter",
        "pairs not weighed by detection scores and by how sure CLIP is",
        {"clip_distill.teacher.filter": "none"},
    ),
    StudentRow(
        "relatedness",
        "Student, relatedness",
        "learns from itself which pair an object belongs to",
        {"clip_distill.model.relatedness": "self"},
    ),
    StudentRow(
        "shuffled",
        "Student, shuffled teacher",
        "each pair has the scores of a random pair of the same object",
        {"clip_distill.teacher.shuffle": True},
    ),
)


def run_distillation(params: Path, runs: Path, out: Path, names: list[str] | None = None) -> None:
    """Scores every row in the project's folder, after the stages `detections` and `clip_scores`.

    A result in `runs` is kept while settings, networks and data are those that it was made of; an
    interrupted training goes on. Writes the rows that have a result, in one order, into `out`.

    Args:
        params: the params file.
        runs: folder of the result files.
        out: the file of rows.
        names: of the students to train; None trains all of `STUDENTS`.

    Raises:
        HoiclipError: a param or file is wrong, the data set is not the toy world, or the teacher
            alone is not CLIP on crops alone.
    """
    if names is not None and (unknown := set(names) - {each.name for each in STUDENTS}):
        known = ", ".join(each.name for each in STUDENTS)
        raise HoiclipError(f"no student {min(unknown)!r}; there are {known}")
    _check_toy(params)
    schema.read_table(CLASSES, schema.CLASSES)  # before what takes minutes
    teacher = runs / "distill-teacher.json"
    if not _is_fresh(teacher, identity := _identity(params, {})):
        value = {"rows": list(_teacher_rows(params)), "machine": _machine()}
        write_json(teacher, value | {"identity": identity})
    for student in STUDENTS:
        result = runs / f"distill-{student.name}.json"
        identity = _identity(params, student.overrides)
        if (names is None or student.name in names) and not _is_fresh(result, identity):
            write_json(result, run_student(student, params) | {"identity": identity})
            say(f"{student.name}: {read_json(result)['metrics']['default']}")
    rows = read_json(teacher)["rows"]
    _check_equal(*(row["metrics"]["default"] for row in rows[:2]))
    best = max(_full(row) for row in rows)
    for student in STUDENTS:
        result = runs / f"distill-{student.name}.json"
        if _is_fresh(result, _identity(params, student.overrides)):
            value = read_json(result)
            row = {"name": student.label, "what": student.what}
            row |= {key: value[key] for key in ("metrics", "agreement", "steps", "cpu_seconds")}
            rows.append(row | {"beats_teacher": _full(value) > best})
    rows = [row | {"seconds": row.pop("cpu_seconds", None)} for row in rows]
    write_json(out, {"rows": rows, "machine": read_json(teacher)["machine"]})


def _check_toy(params: Path) -> None:
    """Checks that the data set is the toy world, whose detector both sides read alike.

    Raises:
        ParamsError: it is another, or the two sides would take other queries of the detector.
    """
    value, where = read_params(params), "`hoiclip distillation` measures the toy world"
    source = value.get("dataset", {}).get("source")
    if source != "toy":
        raise ParamsError(f"{params}: dataset.source: {source!r}, but {where} alone")
    queries = DistillSettings.read(params).method.detections.num_queries
    if (crops := load(SetPredictionConfig, "model", params).num_queries) != queries:
        raise ParamsError(
            f"{params}: clip_distill.detections.num_queries: {queries}, but model.num_queries is "
            f"{crops}: {where} with one detector"
        )


def _identity(params: Path, overrides: dict[str, Any]) -> str:
    """SHA-256 of the settings and files that decide a result."""
    value = with_overrides(read_params(params), overrides)
    paths = DistillPaths.of_project()
    files = [
        paths.detector, paths.clip, paths.vocabulary, paths.text_embeddings, paths.image_table,
        TEST, CLASSES,
    ]  # fmt: skip
    settings = {key: value[key] for key in ("clip_distill", "model", "predict")}
    told = json.dumps([settings, file_identity(files)], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _is_fresh(result: Path, identity: str) -> bool:
    """Whether there is a result of these settings and files."""
    return result.exists() and read_json(result).get("identity") == identity


def run_student(student: StudentRow, params_path: Path) -> dict[str, Any]:
    """Trains a student and scores it on the test images."""
    work = CHECKPOINTS / f"distill-{student.name}"
    file = work / "params.yaml"
    overrides = student.overrides
    write_json(file, with_overrides(read_params(params_path), overrides))  # YAML is a superset
    started = time.process_time()
    paths = DistillPaths.of_project()
    said = train(file, paths, work, CHECKPOINTS, lambda epoch, figures: None)
    cpu_seconds = time.process_time() - started
    select_last(file, work, work / "select")
    value = {
        "name": student.name,
        "overrides": overrides,
        "metrics": _score(work / "select/model.safetensors", file),
        "agreement": said["agreement"],
        "steps": said["steps"],
        "seconds": said["seconds"],
        "cpu_seconds": round(cpu_seconds, 1),
        "machine": _machine(),
    }
    shutil.rmtree(work)
    return value


def _score(model: Path, params: Path) -> dict[str, Any]:
    """Test metrics of a model file."""
    config = load(PredictConfig, "predict", params)
    detector = load_detector(model, only(ClipDistillMethod))
    test = Annotations.read(TEST)
    device = prepare(config.device, config.threads)
    store = ImageStore(TEST_IMAGES)
    (predictions,) = predict(detector, test.images, store, config, device)
    classes = schema.read_table(CLASSES, schema.CLASSES)
    return metrics(evaluate_hico(predictions, test, detector.vocabulary, classes))


def _teacher_rows(params: Path) -> Iterator[dict[str, Any]]:
    """CLIP on crops alone, then the teacher by itself, of which the first row has to be the same.

    Raises:
        HoiclipError: it is not.
    """
    settings = DistillSettings.read(params)
    caches = settings.method.caches
    prepare(caches.device, caches.threads)
    crops = score_crops_alone(TrainPaths(), load(SetPredictionConfig, "model", params), DATA)
    yield {
        "name": "CLIP on crops alone",
        "what": "the pretrained detector's boxes, each pair's crop classified by CLIP",
        **crops,
    }
    paths = replace(
        DistillPaths.of_project(), image_table=TEST / "images.parquet", images=TEST_IMAGES
    )
    ranking = load(PredictConfig, "predict", params).ranking
    rows = score_teacher_alone(paths, settings, ranking, TEST, CLASSES)
    for index, row in enumerate(rows):
        if index == 0:
            _check_equal(crops["metrics"]["default"], row["metrics"]["default"])
        yield row


def _check_equal(crops: dict[str, float], teacher: dict[str, float]) -> None:
    for name, value in crops.items():
        if value is not None and not abs(teacher[name] - value) <= EQUAL:
            raise HoiclipError(
                f"the teacher alone has {name} {teacher[name]:.3f}, CLIP on crops alone "
                f"{value:.3f}: they are to be the same"
            )


def _full(row: dict[str, Any]) -> float:
    return row["metrics"]["default"]["full"]


def _machine() -> str:
    return f"{platform.machine()}, {platform.system()}, torch {torch.__version__}"
