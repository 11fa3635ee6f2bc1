"""The teacher alone, from the caches, is CLIP on crops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from distill_method_world import make_method
from label_free_world import QUERIES, save_detector

from hoiclip.batches.batch import Batch
from hoiclip.checkpoints.clip import load_clip
from hoiclip.core import schema
from hoiclip.core.config import from_mapping
from hoiclip.detr.file import load_detr
from hoiclip.experiments.crops_alone import predict_by_crops
from hoiclip.experiments.teacher_alone import best_pairs, clip_scale, predict_rows, teacher_rows
from hoiclip.images.store import ImageStore
from hoiclip.inference.predict import PredictConfig, predict_batches
from hoiclip.methods.clip_distill.caches.inputs import DistillPaths
from hoiclip.methods.clip_distill.model.config import ClipDistillConfig, DistillSettings
from hoiclip.pairs.pair_nms import PAPER_NMS
from hoiclip.text_embeddings.table import read_text_embeddings

IMAGES = 6
SCALE = 31.0


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
    ranking = from_mapping(PredictConfig, params["predict"], "predict").ranking
    settings = DistillSettings(config, model_config.detector)
    return paths, settings, ranking, toy.test.images.slice(0, IMAGES)


@pytest.fixture(scope="module")
def crops_alone(world, toy) -> pa.Table:
    paths, settings, _, images = world
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
    paths, settings, ranking, images = world
    row = teacher_rows(settings.method, SCALE)[0]
    (found,) = predict_rows([row], paths, settings, ranking, images)
    assert len(crops_alone) > 50
    assert len(set(crops_alone["image_id"].to_pylist())) > 1
    for name in ("image_id", "query", "hoi", "human_box_xyxy", "object_box_xyxy", "object_score"):
        np.testing.assert_array_equal(numbers(found, name), numbers(crops_alone, name), name)
    # Sums of a softmax in another order differ in their last bits.
    for name in ("score", "hoi_score"):
        np.testing.assert_allclose(numbers(found, name), numbers(crops_alone, name), rtol=1e-5)


def test_the_other_rows_are_other_predictions(world):
    paths, settings, ranking, images = world
    # Without what the ranking drops, to compare pair by pair.
    rows = [replace(row, ranked=False) for row in teacher_rows(settings.method, SCALE)]
    tables = predict_rows(rows, paths, settings, ranking, images)
    first, null, padded, whole, default, scaled = tables
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
    # The whole image is a factor more, and no other difference.
    assert (numbers(padded, "clip_score") == 1).all()
    for name in ("image_id", "query", "hoi", "hoi_score"):
        np.testing.assert_array_equal(numbers(padded, name), numbers(whole, name), name)
    # A lower temperature leaves less certainty.
    assert len(default) == len(scaled)
    assert numbers(scaled, "hoi_score").max() < numbers(default, "hoi_score").max()
    product = numbers(whole, "object_score") * numbers(whole, "hoi_score") * clip_score
    np.testing.assert_allclose(numbers(whole, "score"), product, rtol=1e-5)


def test_no_image_has_a_pair(world):
    paths, settings, ranking, images = world
    row = teacher_rows(settings.method, SCALE)[0]
    row = replace(row, detections=replace(row.detections, score_threshold=1.0))
    (found,) = predict_rows([row], paths, settings, ranking, images)
    assert len(found) == 0


def test_all_but_the_first_row_are_ranked_as_a_student_is(world):
    _, settings, _, _ = world
    ranked = [row.ranked for row in teacher_rows(settings.method, SCALE)]
    assert ranked == [False, True, True, True, True, True]


def test_the_scale_is_the_one_that_clip_was_trained_with(toy):
    encoder = load_clip(toy.folder / "clip.safetensors")
    expected = float(np.exp(encoder.text.logit_scale.item()))
    assert clip_scale(toy.folder / "clip.safetensors") == pytest.approx(expected, rel=1e-6)


def predictions(rows: list[tuple[int, int, float, float]]) -> pa.Table:
    """(image, HOI class, score, left edge of the human of 10 x 10) each; one object for all."""
    image, hoi, score, left = zip(*rows, strict=True)
    boxes = np.array([[x, 0, x + 10, 10] for x in left], np.float32)
    objects = np.tile(np.float32([0, 0, 10, 10]), (len(rows), 1))
    columns = {
        "image_id": np.array(image),
        "query": np.arange(len(rows)),
        "hoi": np.array(hoi),
        "human_box_xyxy": schema.numpy_to_fixed_lists(boxes),
        "object_box_xyxy": schema.numpy_to_fixed_lists(objects),
        **dict.fromkeys(("score", "hoi_score", "object_score", "clip_score"), np.array(score)),
    }
    return pa.table(columns).cast(schema.PREDICTIONS)


def test_best_pairs_by_hand(world):
    ranking = replace(
        world[2], top_k=3,
        nms=PAPER_NMS,
    )  # fmt: skip
    table = predictions(
        [
            (7, 0, 0.5, 0.0),  # goes: overlaps the better one of its class by 9/11
            (7, 1, 0.4, 0.0),  # another class
            (7, 0, 0.9, 1.0),
            (7, 1, 0.1, 50.0),  # beyond the best three
            (3, 0, 0.2, 1.0),  # another image
        ]
    )
    kept = best_pairs(table, ranking)
    assert kept["query"].to_pylist() == [4, 2, 1]
    off = replace(ranking, nms=None)
    assert best_pairs(table, off)["query"].to_pylist() == [4, 2, 0, 1]
    assert len(best_pairs(table.slice(0, 0), ranking)) == 0


def test_a_student_s_rows_are_ranked_the_same(world, clip_config, predict_config):
    """Those that it gives unranked, in any order, become those that it gives."""
    method = make_method(clip_config)
    torch.manual_seed(2)
    batch = Batch(
        torch.randint(256, (3, 3, 64, 64), dtype=torch.uint8), None, torch.randn(3, 3, 32, 32),
        [0, 1, 2], [False] * 3, [(64, 64)] * 3,
    )  # fmt: skip
    config = replace(predict_config, top_k=9, nms=replace(PAPER_NMS, threshold=0.1))
    every = replace(config, top_k=10**6, nms=replace(PAPER_NMS, threshold=0.0))
    ids = np.array([4, 6, 9])
    found, unranked = (
        predict_batches(method, [batch], ids, each, str)[0] for each in (config, every)
    )
    order = np.random.default_rng(0).permutation(len(unranked))
    assert best_pairs(unranked.take(order), config.ranking).equals(found)
    assert 0 < len(found) < min(27, len(unranked))
