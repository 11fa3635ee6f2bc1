"""Measurements on the test images without training: CLIP on crops alone, and the teacher alone.

Labels are read here of the test images alone, to score. Both run in the project's folder after the
stages `splits` and `text_embeddings`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from hoiclip.core.config import load, read_params
from hoiclip.errors import HoiclipError, ParamsError
from hoiclip.experiments.crops_alone import score_crops_alone
from hoiclip.experiments.teacher_alone import score_teacher_alone
from hoiclip.inference.predict import PredictConfig
from hoiclip.methods.clip_distill.caches.inputs import DistillPaths
from hoiclip.methods.clip_distill.model.config import DistillSettings
from hoiclip.model.config import SetPredictionConfig
from hoiclip.parallel.device import prepare
from hoiclip.set_prediction.files import TrainPaths

DATA = Path("data")
CLASSES = DATA / "splits/classes.parquet"
TEST = DATA / "annotations/test"
TEST_IMAGES = DATA / "images/test"
EQUAL = 0.01
"""mAP, percent, by which the teacher alone may differ from CLIP on crops alone."""


def measure_crops(params: Path) -> dict[str, Any]:
    """Test metrics and CPU seconds of the pretrained detector's pairs, classified crop by crop."""
    return score_crops_alone(TrainPaths(), load(SetPredictionConfig, "model", params), DATA)


def measure_teacher(params: Path) -> dict[str, Any]:
    """CLIP on crops alone, then the teacher by itself, of which the first row has to be the same.

    Returns:
        `rows`, each with `name`, `what` and `metrics`.

    Raises:
        HoiclipError: a param or file is wrong, the data set is not the toy world, or the teacher
            alone is not CLIP on crops alone.
    """
    _check_toy(params)
    return {"rows": list(_teacher_rows(params))}


def _check_toy(params: Path) -> None:
    """Checks that the data set is the toy world, whose detector both sides read alike.

    Raises:
        ParamsError: it is another, or the two sides would take other queries of the detector.
    """
    value, where = read_params(params), "`hoiclip measure teacher` measures the toy world"
    source = value.get("dataset", {}).get("source")
    if source != "toy":
        raise ParamsError(f"{params}: dataset.source: {source!r}, but {where} alone")
    queries = DistillSettings.read(params).method.detections.num_queries
    if (crops := load(SetPredictionConfig, "model", params).num_queries) != queries:
        raise ParamsError(
            f"{params}: clip_distill.detections.num_queries: {queries}, but model.num_queries is "
            f"{crops}: {where} with one detector"
        )


def _teacher_rows(params: Path) -> Iterator[dict[str, Any]]:
    settings = DistillSettings.read(params)
    caches = settings.method.caches
    prepare(caches.device, caches.threads)
    crops = measure_crops(params)
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
            check_equal(crops["metrics"]["default"], row["metrics"]["default"])
        yield row


def check_equal(crops: dict[str, float | None], teacher: dict[str, float | None]) -> None:
    """Compares the default setting's mAPs, percent, of the teacher alone and CLIP on crops alone.

    Raises:
        HoiclipError: one differs by more than `EQUAL`.
    """
    for name, value in crops.items():
        other = teacher.get(name)
        if value is not None and not (other is not None and abs(other - value) <= EQUAL):
            told = "none" if other is None else f"{other:.3f}"
            raise HoiclipError(
                f"the teacher alone has {name} {told}, CLIP on crops alone "
                f"{value:.3f}: they are to be the same"
            )
