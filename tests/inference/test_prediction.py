import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from PIL import Image

from hoiclip import passes
from hoiclip.batches import loading
from hoiclip.batches.boxes import cxcywh_to_xyxy
from hoiclip.contract.scored_pairs import ScoredPairs
from hoiclip.core import schema
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.errors import WeightsError
from hoiclip.images.store import ImageStore
from hoiclip.inference.predict import as_stated, predict, predict_batches, with_scoring
from hoiclip.methods.hoiclip.model.config import Scoring
from hoiclip.pairs.pair_nms import PairNms

CPU = torch.device("cpu")
QUERIES = 6
ANNOTATIONS = Path(__file__).parents[3] / "shared/data/hico_det/instances_test2015.json"


@pytest.fixture(scope="module")
def store(toy):
    return ImageStore(toy.folder / "images/train")


@pytest.fixture(scope="module")
def detector(make_detector):
    return make_detector()


def rows_of(table):
    """(image, query, hoi) → score, for comparisons that ignore the order of near ties."""
    keys = zip(*(table[key].to_pylist() for key in ("image_id", "query", "hoi")), strict=True)
    return dict(zip(keys, table["score"].to_pylist(), strict=True))


def captured_outputs(detector, call):
    outputs = []
    handle = detector.method.network.register_forward_hook(lambda _m, _i, out: outputs.append(out))
    try:
        return call(), outputs
    finally:
        handle.remove()


def test_predictions_are_a_valid_table(toy, store, detector, predict_config):
    (table,) = predict(detector, toy.train.images, store, predict_config, CPU, [Scoring(k=4)])
    assert table.schema.equals(schema.PREDICTIONS)
    assert all(table[field.name].null_count == 0 for field in schema.PREDICTIONS)
    image_ids = table["image_id"].to_numpy()
    assert sorted(set(image_ids.tolist())) == toy.train.images["image_id"].to_pylist()
    assert table["query"].to_numpy().max() < QUERIES
    score, hoi, object_, clip = (
        table[key].to_numpy() for key in ("score", "hoi_score", "object_score", "clip_score")
    )
    np.testing.assert_allclose(score, hoi + object_**2 + clip, rtol=1e-5)
    for image_id in set(image_ids.tolist()):
        own = score[image_ids == image_id]
        assert 0 < len(own) <= predict_config.top_k
        assert (np.diff(own) <= 0).all()
        assert len(set(table["hoi"].to_numpy()[(image_ids == image_id) & (clip != 0)])) <= 4
    assert len(rows_of(table)) == len(table)


def test_scores_and_boxes_are_those_of_the_network(toy, store, detector, predict_config):
    """Recomputed from the outputs of the last layer, row by row."""
    everything = dataclasses.replace(
        predict_config, top_k=10_000, nms=dataclasses.replace(predict_config.nms, threshold=0.0)
    )
    images = toy.train.images.slice(0, 2)
    (table,), (outputs,) = captured_outputs(
        detector, lambda: predict(detector, images, store, everything, CPU, [Scoring(k=0)])
    )
    num_hois = toy.vocabulary.num_hois
    assert len(table) == 2 * QUERIES * num_hois
    position = {image_id: i for i, image_id in enumerate(images["image_id"].to_pylist())}
    size = images["width"][0].as_py()
    for row in table.to_pylist()[::37]:
        i, q, c = position[row["image_id"]], row["query"], row["hoi"]
        object_ = toy.vocabulary.object_of_hoi[c]
        hoi_score = outputs.hoi_logits[-1, i, q, c].sigmoid().item()
        object_score = outputs.object_logits[-1, i, q, object_].sigmoid().item()
        assert row["hoi_score"] == pytest.approx(hoi_score, rel=1e-5)
        assert row["object_score"] == pytest.approx(object_score, rel=1e-5)
        assert row["clip_score"] == 0
        for key in ("human", "object"):
            boxes = cxcywh_to_xyxy(getattr(outputs, f"{key}_boxes_cxcywh")[-1, i, q]) * size
            assert row[f"{key}_box_xyxy"] == pytest.approx(boxes.tolist(), rel=1e-4)


def test_boxes_are_in_pixels_of_the_original_image(tmp_path, detector, predict_config):
    """An image that is resized before it is shown to the network, and not square."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)).save(
        tmp_path / "a.png"
    )
    images = pa.Table.from_pylist(
        [{"image_id": 5, "file_name": "a.png", "width": 90, "height": 60}], schema.IMAGES
    )
    small = dataclasses.replace(
        detector, transforms=dataclasses.replace(detector.transforms, test_scale=40)
    )
    (table,), (outputs,) = captured_outputs(
        small,
        lambda: predict(small, images, ImageStore(tmp_path), predict_config, CPU, [Scoring(k=0)]),
    )
    boxes = cxcywh_to_xyxy(outputs.human_boxes_cxcywh[-1, 0]) * torch.tensor([90.0, 60, 90, 60])
    for row in table.to_pylist():
        assert row["human_box_xyxy"] == pytest.approx(boxes[row["query"]].tolist(), rel=1e-4)


def test_batch_size_does_not_matter_without_padding(toy, store, detector, predict_config):
    images = toy.train.images.slice(0, 5)
    tables = [
        predict(
            detector,
            images,
            store,
            dataclasses.replace(predict_config, batch_size=size),
            CPU,
            [Scoring(k=3)],
        )[0]
        for size in (1, 2, 5)
    ]
    first, *others = (rows_of(table) for table in tables)
    for other in others:
        assert other == pytest.approx(first, abs=1e-5)


def test_a_sweep_equals_separate_runs(toy, store, detector, predict_config):
    images, ks = toy.train.images.slice(0, 4), [0, 1, 5, 44]
    scorings = [Scoring(k=k) for k in ks]
    swept = predict(detector, images, store, predict_config, CPU, scorings)
    for scoring, table in zip(scorings, swept, strict=True):
        (alone,) = predict(detector, images, store, predict_config, CPU, [scoring])
        assert table.equals(alone)
    assert not swept[0].equals(swept[-1])


def test_the_scoring_of_the_method_holds_where_none_is_given(
    toy, store, make_detector, predict_config
):
    images = toy.train.images.slice(0, 1)
    detector = make_detector(scoring=Scoring(k=3, kind="sigmoid"))
    (table,) = predict(detector, images, store, predict_config, CPU)
    assert table["clip_score"].to_numpy().min() >= 0.25  # the sigmoid of zero or of a cosine
    cosine = with_scoring(detector, {"kind": "cosine"})
    assert cosine.method.scoring == Scoring(k=3)
    (table,) = predict(cosine, images, store, predict_config, CPU)
    assert table["clip_score"].to_numpy().min() < 0.25


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"kind": "tanh"}, r"states scoring\.kind: 'tanh', expected one of .*HOICLIP"),
        ({"k": None}, r"scoring\.k: None"),
        ({"k": -1}, r"scoring\.k: -1, expected at least 0"),
        ({"power": 2}, r"scoring\.power: unknown key; known are k, weight, kind"),
    ],
)
def test_a_scoring_that_is_asked_for_is_checked(make_detector, asked, message):
    with pytest.raises(WeightsError, match=message):
        with_scoring(make_detector(), asked)


STATED = {
    "top_k": 17,
    "nms": {"threshold": 0.0, "human_power": 2.0, "object_power": 0.25, "plus_one_extents": True},
    "inclusive_boxes": True,
}


@pytest.mark.parametrize("key", list(STATED))
def test_what_a_file_states_goes_before_the_params(key, toy, store, detector, predict_config):
    """Each setting alone: stated by the file, and given as params to a file that states nothing."""
    images = toy.train.images.slice(0, 3)
    value = PairNms(**STATED[key]) if key == "nms" else STATED[key]
    in_params = dataclasses.replace(predict_config, **{key: value})
    in_file = dataclasses.replace(detector, scores={key: STATED[key]})
    assert as_stated(predict_config, in_file.scores) == in_params
    (stated,) = predict(in_file, images, store, predict_config, CPU)
    (given,) = predict(detector, images, store, in_params, CPU)
    (neither,) = predict(detector, images, store, predict_config, CPU)
    assert stated.equals(given)
    assert not stated.equals(neither)


def test_inclusive_boxes_end_one_pixel_later_and_change_nothing_else(
    toy, store, detector, predict_config
):
    released = dataclasses.replace(detector, scores={"inclusive_boxes": True})
    images = toy.train.images.slice(0, 2)
    (inclusive,) = predict(released, images, store, predict_config, CPU, [Scoring(k=0)])
    (continuous,) = predict(detector, images, store, predict_config, CPU, [Scoring(k=0)])
    for name in schema.PREDICTIONS.names:
        found, expected = inclusive[name], continuous[name]
        if name.endswith("box_xyxy"):
            expected = schema.fixed_lists_to_numpy(expected) + np.array([0, 0, 1, 1], np.float32)
            np.testing.assert_array_equal(schema.fixed_lists_to_numpy(found), expected)
        else:
            assert found.equals(expected)


def test_a_file_that_states_nothing_leaves_the_params(predict_config):
    assert as_stated(predict_config, {}) == predict_config
    everything = as_stated(predict_config, STATED)
    assert everything.nms == PairNms(**STATED["nms"])
    assert (everything.device, everything.batch_size) == ("cpu", predict_config.batch_size)


def test_a_part_of_the_nms_settings_may_be_stated(predict_config):
    found = as_stated(predict_config, {"nms": {"plus_one_extents": True}})
    assert found.nms == dataclasses.replace(predict_config.nms, plus_one_extents=True)


def test_a_threshold_of_0_is_no_suppression(predict_config):
    found = predict_config.ranking
    assert (found.top_k, found.nms) == (predict_config.top_k, predict_config.nms)
    off = dataclasses.replace(predict_config.nms, threshold=0.0)
    assert dataclasses.replace(predict_config, nms=off).ranking.nms is None


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({"batch_size": 3}, r"the model file states scores\.batch_size; known are top_k, nms, "),
        ({"top_k": 0}, r"the model file states scores\.top_k: 0, expected at least 1"),
        ({"nms": 0.7}, r"scores\.nms: 0\.7, expected a section with keys"),
        ({"nms": {"treshold": 0.7}}, r"scores\.nms\.treshold: unknown key"),
    ],
)
def test_what_a_file_states_is_checked(predict_config, scores, message):
    with pytest.raises(WeightsError, match=message):
        as_stated(predict_config, scores)


def test_training_mode_is_left_for_prediction(toy, store, make_detector, predict_config):
    detector, images = make_detector(), toy.train.images.slice(0, 1)
    (expected,) = predict(detector, images, store, predict_config, CPU, [Scoring(k=0)])
    detector.method.network.train()
    (found,) = predict(detector, images, store, predict_config, CPU, [Scoring(k=0)])
    assert found.equals(expected)


@pytest.mark.parametrize(
    "name", ["visual_projection", "instance_decoder.human_box_head.layers.0.weight"]
)
def test_finite_weights_whose_scores_or_boxes_are_not_are_refused(
    name, toy, store, make_detector, predict_config
):
    detector = make_detector()
    detector.method.network.state_dict()[name].fill_(3e38)
    first = toy.train.images["file_name"][0].as_py()
    with pytest.raises(WeightsError, match=f"^{first}: the model gives scores or boxes that are"):
        predict(detector, toy.train.images, store, predict_config, CPU, [Scoring(k=4)])


def test_no_images_make_an_empty_table(store, detector, predict_config):
    tables = predict(
        detector,
        schema.IMAGES.empty_table(),
        store,
        predict_config,
        CPU,
        [Scoring(k=0), Scoring(k=2)],
    )
    assert [len(table) for table in tables] == [0, 0]
    assert all(table.schema.equals(schema.PREDICTIONS) for table in tables)


@pytest.mark.parametrize("missing", [True, False])
def test_a_pair_that_says_no_object_has_a_null_box(
    toy, store, make_detector, predict_config, missing
):
    vocabulary = Vocabulary(
        ("person", "cup"),
        (Verb("hold", "holding"), Verb("walk", None, "walking")),
        (Hoi(0, 1), Hoi(1, None)),
    )
    bias = torch.tensor([0.0, 0.0, 9.0 if missing else -9.0, 20.0])  # 'nothing' does not count
    detector = make_detector(vocabulary=vocabulary, object_bias=bias)
    (table,) = predict(
        detector, toy.train.images.slice(0, 1), store, predict_config, CPU, [Scoring(k=0)]
    )
    assert table["object_box_xyxy"].null_count == (len(table) if missing else 0)
    assert table["human_box_xyxy"].null_count == 0


@pytest.mark.parametrize("change", [{"top_k": 0}, {"batch_size": 0}])
def test_settings_out_of_range_are_refused(predict_config, change):
    with pytest.raises(ValueError, match=r"top_k|batch_size"):
        dataclasses.replace(predict_config, **change)


@pytest.mark.parametrize("value", [float("nan"), 1e38])
def test_damaged_weights_are_an_error_and_no_scores(
    toy, store, make_detector, predict_config, value
):
    damaged = make_detector()
    with torch.no_grad():
        damaged.method.network.hoi_classifier.table.fill_(value)
    with pytest.raises(WeightsError, match="the model gives scores or boxes that are not finite"):
        predict(damaged, toy.train.images.slice(0, 1), store, predict_config, CPU, [Scoring(k=0)])


@pytest.fixture
def sizes_mixed(toy, store, tmp_path):
    """Eight images, every other one a quarter of its size, in a folder; the table of all."""
    images = toy.train.images.slice(0, 8)
    rows = images.to_pylist()
    for number, row in enumerate(rows):
        image = store.read(row["file_name"])
        if number % 2:
            image = image.resize((image.width // 2, image.height // 2))
        image.save(tmp_path / row["file_name"])
        row["width"], row["height"] = image.size
    return pa.Table.from_pylist(rows, images.schema), ImageStore(tmp_path)


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_come_in_the_order_of_the_images_whatever_their_sizes(
    sizes_mixed, detector, predict_config, workers
):
    images, store = sizes_mixed
    config = dataclasses.replace(predict_config, batch_size=2, workers=workers)
    (found,) = predict(detector, images, store, config, CPU)
    one_by_one = [
        predict(detector, images.slice(row, 1), store, predict_config, CPU)[0] for row in range(8)
    ]
    assert list(dict.fromkeys(found["image_id"].to_pylist())) == images["image_id"].to_pylist()
    # Batches are of one size: nothing is padded, so that images are as they are alone.
    expected = pa.concat_tables(one_by_one)
    assert found["image_id"].equals(expected["image_id"])
    np.testing.assert_allclose(found["score"].to_numpy(), expected["score"].to_numpy(), rtol=1e-4)


def batches_of_prediction(detector, sizes, config, monkeypatch):
    """The sizes that the detector sees, and the batches in which `predict` gives it the images."""
    made = []

    class Loader(list):
        """Loads nothing, for there are no such images."""

        def __init__(self, dataset, *, batch_sampler, **named):
            made.append((dataset, batch_sampler))

    monkeypatch.setattr(loading, "DataLoader", Loader)
    rows = [
        {"image_id": number, "file_name": f"{number}.png", "width": width, "height": height}
        for number, (width, height) in enumerate(sizes)
    ]
    images = pa.Table.from_pylist(rows, schema.IMAGES)
    predict(detector, images, ImageStore("."), config, CPU)
    ((dataset, batches),) = made
    return dataset.sizes, batches


@pytest.mark.skipif(not ANNOTATIONS.exists(), reason="needs HICO-DET's annotations")
def test_hardly_anything_is_padded_in_the_shards_of_a_prediction(
    detector, predict_config, monkeypatch
):
    published = dataclasses.replace(
        detector, transforms=dataclasses.replace(detector.transforms, test_scale=800)
    )
    sizes = json.loads(ANNOTATIONS.read_text(encoding="utf-8"))["size"]
    config = dataclasses.replace(predict_config, batch_size=16)
    shown, batches = batches_of_prediction(published, sizes, config, monkeypatch)
    assert sorted(index for batch in batches for index in batch) == list(range(len(sizes)))
    assert loading.padded_share(shown, batches) < 1.02


def test_batches_are_those_of_the_whole_table_sorted_by_size(detector, predict_config, monkeypatch):
    sides = np.random.default_rng(0).integers(20, 60, (70, 2)).tolist()
    monkeypatch.setattr(passes, "SHARD", 8)
    config = dataclasses.replace(predict_config, batch_size=4)
    shown, batches = batches_of_prediction(detector, sides, config, monkeypatch)
    order = loading.order_of_sizes(sides)
    expected = [order[start : start + 4] for start in range(0, 70, 4)]
    sizes = [[tuple(sides[index]) for index in batch] for batch in expected]
    assert [[shown[index] for index in batch] for batch in batches] == sizes


def test_predictions_of_sorted_images_are_in_the_tables_order(
    tmp_path, detector, predict_config, monkeypatch
):
    """Images of falling size, whose ids are in no order, in shards of two."""
    monkeypatch.setattr(passes, "SHARD", 2)
    ids, sides = [7, 3, 9, 1, 4], [64, 56, 48, 40, 32]
    rng = np.random.default_rng(0)
    for side in sides:
        pixels = rng.integers(0, 256, (side, side, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{side}.png")
    images = pa.Table.from_pylist(
        [
            {"image_id": image_id, "file_name": f"{side}.png", "width": side, "height": side}
            for image_id, side in zip(ids, sides, strict=True)
        ],
        schema.IMAGES,
    )
    config = dataclasses.replace(predict_config, batch_size=1)
    (table,) = predict(detector, images, ImageStore(tmp_path), config, CPU)
    assert list(dict.fromkeys(table["image_id"].to_pylist())) == ids
    for row in range(len(images)):
        (alone,) = predict(detector, images.slice(row, 1), ImageStore(tmp_path), config, CPU)
        of_image = table.filter(pc.equal(table["image_id"], ids[row]))
        assert of_image.equals(alone)


@pytest.mark.gpu
@pytest.mark.parametrize("workers", [0, 2])
def test_a_gpu_predicts_what_the_cpu_predicts(
    toy, store, make_detector, predict_config, monkeypatch, workers
):
    """In shards, of which each batch is on the device before it is asked for."""
    monkeypatch.setattr(passes, "SHARD", 5)
    everything = dataclasses.replace(
        predict_config, batch_size=2, workers=workers, top_k=10_000,
        nms=dataclasses.replace(predict_config.nms, threshold=0.0),
    )  # fmt: skip
    found = []
    for device in ("cpu", "cuda"):
        detector = make_detector()
        given = detector, toy.train.images, store, everything, torch.device(device)
        found.append(rows_of(predict(*given, [Scoring(k=0)])[0]))
    assert found[0].keys() == found[1].keys()
    assert list(found[0].values()) == pytest.approx([found[1][key] for key in found[0]], rel=1e-3)


@pytest.mark.gpu
def test_batches_are_transferred_ahead_and_whole(toy, store, detector):
    dataset = loading.InferenceDataset(toy.train.images, store, detector.transforms, None)
    shards = [range(0, 7), range(7, len(dataset))]
    shown = {}
    for device in ("cpu", "cuda"):
        loaded = loading.shard_batches(dataset, shards, 2, 1, torch.device(device))
        shown[device] = [batch for batches, _ in loaded for batch in batches]
    for host, there in zip(shown["cpu"], shown["cuda"], strict=True):
        assert there.images.is_cuda
        assert host.indices == there.indices
        assert torch.equal(host.images, there.images.cpu())


def test_rows_of_batches_come_in_the_order_of_the_images(predict_config):
    """Of an image in its own: the best first."""

    def score_pairs(batch, settings, scorings):
        image = np.array([0, 0, 1])
        ones, boxes = np.ones(3, np.float32), np.ones((3, 4), np.float32)
        query = np.array([5, 3, 4], np.int32)
        columns = image, query, image.astype(np.int32), *[ones] * 4, boxes, boxes
        return [ScoredPairs(*columns)]

    method = SimpleNamespace(score_pairs=score_pairs, eval=lambda: None, scoring=None)
    batches = [SimpleNamespace(indices=indices) for indices in ([3, 1], [2, 0])]
    (found,) = predict_batches(method, batches, np.array([10, 11, 12, 13]), predict_config, str)
    assert found["image_id"].to_pylist() == [10, 11, 12, 12, 13, 13]
    assert found["query"].to_pylist() == [4, 4, 5, 3, 5, 3]
