"""The teacher alone, from the caches, is CLIP on crops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from label_free_world import QUERIES, save_detector

from hoiclip import schema
from hoiclip.clip_weights import load_clip
from hoiclip.config import from_mapping
from hoiclip.data.images import ImageStore
from hoiclip.detr_file import load_detr
from hoiclip.experiments.crops_alone import predict_by_crops
from hoiclip.experiments.teacher_alone import predict_rows, teacher_rows
from hoiclip.methods.clip_distill.config import ClipDistillConfig
from hoiclip.methods.clip_distill.inputs import DistillPaths, DistillSettings
from hoiclip.text_embeddings import read_text_embeddings

IMAGES = 6


@pytest.fixture(scope="module")
def world(tmp_path_factory, toy, model_config, params):
    folder = tmp_path_factory.mktemp("teacher")
    save_detector(folder / "detector.safetensors", model_config.detector, toy)
    paths = replace(
        DistillPaths.of_project(folder),
        vocabulary=toy.folder / "vocabulary.parquet",
        images=toy.folder / "images/test",
        text_embeddings=toy.folder / "text.parquet",
        clip=toy.folder / "clip.safetensors",
        detector=folder / "detector.safetensors",
    )
    config = from_mapping(ClipDistillConfig, params["clip_distill"], "clip_distill")
    config = replace(config, detections=replace(config.detections, num_queries=QUERIES))
    return paths, DistillSettings(config, model_config.detector), toy.test.images.slice(0, IMAGES)


@pytest.fixture(scope="module")
def crops_alone(world, toy) -> pa.Table:
    paths, settings, images = world
    return predict_by_crops(
        load_detr(paths.detector, settings.detector, QUERIES).model,
        load_clip(paths.clip),
        read_text_embeddings(paths.text_embeddings, toy.vocabulary).hoi,
        toy.vocabulary,
        images,
        ImageStore(paths.images),
    )


def numbers(table: pa.Table, name: str) -> np.ndarray:
    column = table[name]
    if pa.types.is_fixed_size_list(column.type):
        return schema.fixed_lists_to_numpy(column)
    return column.to_numpy()


def test_equals_clip_on_crops_row_by_row(world, crops_alone):
    paths, settings, images = world
    row = teacher_rows(settings.method)[0]
    (found,) = predict_rows([row], paths, settings, images)
    assert len(crops_alone) > 50
    assert len(set(crops_alone["image_id"].to_pylist())) > 1
    for name in ("image_id", "query", "hoi", "human_box_xyxy", "object_box_xyxy", "object_score"):
        np.testing.assert_array_equal(numbers(found, name), numbers(crops_alone, name), name)
    # Sums of a softmax in another order differ in their last bits.
    for name in ("score", "hoi_score"):
        np.testing.assert_allclose(numbers(found, name), numbers(crops_alone, name), rtol=1e-5)


def test_the_other_rows_are_other_predictions(world):
    paths, settings, images = world
    rows = teacher_rows(settings.method)
    first, null, whole, _ = predict_rows(rows, paths, settings, images)
    # What goes to the null prompt is missing elsewhere.
    total = {
        id(table): np.bincount(
            numbers(table, "image_id") * 100 + numbers(table, "query"), numbers(table, "hoi_score")
        )
        for table in (first, null)
    }
    once = total[id(first)] > 0
    np.testing.assert_allclose(total[id(first)][once], 1, rtol=1e-4)
    assert (total[id(null)] <= total[id(first)] + 1e-5).all()
    assert (numbers(first, "clip_score") == 1).all()
    clip_score = numbers(whole, "clip_score")
    assert ((clip_score >= 0) & (clip_score <= 1)).all()
    assert (clip_score < 1).any()
    product = numbers(whole, "object_score") * numbers(whole, "hoi_score") * clip_score
    np.testing.assert_allclose(numbers(whole, "score"), product, rtol=1e-5)


def test_no_image_has_a_pair(world):
    paths, settings, images = world
    row = teacher_rows(settings.method)[0]
    row = replace(row, detections=replace(row.detections, score_threshold=1.0))
    (found,) = predict_rows([row], paths, settings, images)
    assert len(found) == 0
