from __future__ import annotations

import itertools
import json
from functools import partial
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch.nn import functional as F

from hoiclip.batches.boxes import cxcywh_to_xyxy, generalized_iou_xyxy
from hoiclip.core.files import read_json
from hoiclip.pretraining import detector
from hoiclip.pretraining.corpus import RenderedScene
from hoiclip.pretraining.detector import MEAN, STD, DetectionBatch, detection_loss, evaluate
from hoiclip.toy.world import OBJECTS, SIZE

CLASSES, QUERIES, CELLS = 3, 4, 4


def scene(objects, boxes_xyxy, image=None):
    image = np.zeros((SIZE, SIZE, 3), np.uint8) if image is None else image
    return RenderedScene(
        image, np.array(boxes_xyxy, np.float32), np.array(objects, np.int64), pairs=()
    )


def scene_of_every_class():
    """A box for each class, in a grid of cells of a sixth of the image's side."""
    side = SIZE // 6
    corners = [(side * (i % 6), side * (i // 6)) for i in range(len(OBJECTS))]
    return scene(range(len(OBJECTS)), [(x, y, x + side - 2, y + side - 2) for x, y in corners])


class TestBatch:
    def test_a_flip_mirrors_pixels_and_boxes(self):
        image = np.zeros((SIZE, SIZE, 3), np.uint8)
        image[:, : SIZE // 2] = 255
        scenes = [scene([1], [(0, 0, SIZE // 4, SIZE)], image)] * 2
        batch = DetectionBatch(scenes, np.array([False, True]))
        assert batch.images.shape == (2, 3, SIZE, SIZE)
        torch.testing.assert_close(batch.images[1], batch.images[0].flip(-1))
        white = (1 - torch.tensor(MEAN)) / torch.tensor(STD)
        torch.testing.assert_close(batch.images[0, :, 0, 0], white)
        expected = torch.tensor([[0.125, 0.5, 0.25, 1], [0.875, 0.5, 0.25, 1]])
        torch.testing.assert_close(batch.boxes_cxcywh, expected)

    def test_objects_stand_one_image_after_the_other(self):
        scenes = [scene([2, 0], [(0, 0, 9, 9)] * 2), scene([1], [(0, 0, 9, 9)])]
        batch = DetectionBatch(scenes, np.zeros(2, bool))
        assert batch.counts == [2, 1]
        assert batch.objects.tolist() == [2, 0, 1]


def box_loss(predicted, target):
    giou = generalized_iou_xyxy(cxcywh_to_xyxy(predicted), cxcywh_to_xyxy(target))
    return 5 * (predicted - target).abs().sum() + 2 * (1 - giou)


def weighted_mean(logits, classes):
    """Cross-entropy in which 'nothing', the last class, counts a tenth."""
    classes = list(classes)
    weights = [0.1 if c == CLASSES else 1.0 for c in classes]
    losses = [
        w * F.cross_entropy(row, torch.tensor(c))
        for w, row, c in zip(weights, logits, classes, strict=True)
    ]
    return sum(losses) / sum(weights)


def matching_cost(logits, boxes, batch, objects, queries):
    return sum(
        box_loss(boxes[q], batch.boxes_cxcywh[t]) - logits[q].softmax(-1)[batch.objects[t]]
        for q, t in zip(queries, objects, strict=True)
    )


def loss_by_trying_every_matching(outputs, batch, groups):
    """The same loss, in loops; L layers, every assignment of queries to objects is tried."""
    images = len(batch.counts)
    starts = np.cumsum([0, *batch.counts])
    truths = [range(starts[i], starts[i + 1]) for i in range(images)]
    total = torch.tensor(0.0)
    for logits, boxes in zip(outputs.logits, outputs.boxes_cxcywh, strict=True):
        classes = [[CLASSES] * QUERIES for _ in range(groups * images)]
        found = []
        for row in range(groups * images):
            objects = truths[row % images]

            cost = partial(matching_cost, logits[row], boxes[row], batch, objects)
            best = min(itertools.permutations(range(QUERIES), len(objects)), key=cost)
            for query, truth in zip(best, objects, strict=True):
                classes[row][query] = int(batch.objects[truth])
                found.append(box_loss(boxes[row, query], batch.boxes_cxcywh[truth]))
        total = total + weighted_mean(logits.flatten(0, 1), chain(*classes))
        total = total + sum(found) / len(found)
    cells, found = [[CLASSES] * CELLS for _ in range(images)], []
    for image, objects in enumerate(truths):
        for truth in objects:
            x, y = batch.boxes_cxcywh[truth, :2].tolist()
            cell = 2 * (y >= 0.5) + (x >= 0.5)  # two rows of two
            cells[image][cell] = int(batch.objects[truth])
            found.append(
                box_loss(outputs.cell_boxes_cxcywh[image, cell], batch.boxes_cxcywh[truth])
            )
    total = total + weighted_mean(outputs.cell_logits.flatten(0, 1), chain(*cells))
    return total + sum(found) / len(found)


class TestLoss:
    @pytest.fixture
    def batch(self):
        left, right = (4, 4, 40, 60), (70, 10, 120, 50)
        scenes = [scene([0, 2], [left, right]), scene([1], [right])]
        return DetectionBatch(scenes, np.zeros(2, bool))

    @pytest.mark.parametrize("groups", [1, 3])
    def test_equals_the_best_of_every_matching(self, batch, groups):
        generator = torch.Generator().manual_seed(groups)

        def random(*shape):
            return torch.randn(*shape, generator=generator)

        outputs = SimpleNamespace(
            logits=random(2, groups * 2, QUERIES, CLASSES + 1) * 2,
            boxes_cxcywh=random(2, groups * 2, QUERIES, 4).sigmoid(),
            cell_logits=random(2, CELLS, CLASSES + 1),
            cell_boxes_cxcywh=random(2, CELLS, 4).sigmoid(),
        )
        loss = detection_loss(outputs, batch, groups)
        expected = loss_by_trying_every_matching(outputs, batch, groups)
        torch.testing.assert_close(loss, expected)

    def test_of_what_is_said_exactly_it_is_zero(self, batch):
        sure = 50 * torch.eye(CLASSES + 1)
        query_classes = torch.tensor([[3, 0, 3, 2], [1, 3, 3, 3]])
        boxes = torch.full((2, QUERIES, 4), 0.5)
        boxes[0, 1], boxes[0, 3], boxes[1, 0] = batch.boxes_cxcywh
        cell_boxes = torch.full((2, CELLS, 4), 0.5)
        cell_boxes[0, 0], cell_boxes[0, 1], cell_boxes[1, 1] = batch.boxes_cxcywh
        outputs = SimpleNamespace(
            logits=sure[query_classes][None],
            boxes_cxcywh=boxes[None],
            cell_logits=sure[torch.tensor([[0, 2, 3, 3], [3, 1, 3, 3]])],
            cell_boxes_cxcywh=cell_boxes,
        )
        assert detection_loss(outputs, batch, 1).item() == pytest.approx(0, abs=1e-5)


class Told:
    """Stands for a detector that says what it was told, of as many images as it is given."""

    def __init__(self, classes, boxes_xyxy):
        count = len(OBJECTS) + 1
        self.logits = 10 * torch.eye(count)[torch.tensor(classes)]
        boxes = torch.tensor(np.array(boxes_xyxy, np.float32)) / SIZE
        self.boxes = torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)

    def eval(self):
        return self

    def __call__(self, images):
        repeated = (1, len(images), 1, 1)
        return SimpleNamespace(
            logits=self.logits.repeat(repeated), boxes_cxcywh=self.boxes.repeat(repeated)
        )


class TestFigures:
    @pytest.mark.parametrize("count", [1, 53])  # more than one batch
    def test_what_is_found_counts_by_class(self, count):
        truth = scene_of_every_class()
        boxes = truth.boxes_xyxy.copy()
        boxes[2] = (0, SIZE - 9, 9, SIZE)  # far from the object of class 2
        figures = evaluate(Told(truth.objects.tolist(), boxes), [truth] * count)
        missed = f"ap50_{OBJECTS[2]}"
        assert figures.pop(missed) == 0
        assert figures.pop("ap50") == pytest.approx(100 * (1 - 1 / len(OBJECTS)))
        assert len(figures) == len(OBJECTS) - 1
        assert all(value == pytest.approx(100) for value in figures.values())


@pytest.fixture
def run(monkeypatch, model_config):
    monkeypatch.setattr(detector, "load", lambda cls, section: model_config)
    monkeypatch.setattr(detector, "render_corpus", lambda n, **_: [scene_of_every_class()] * n)

    def pretrain(out):
        sizes = {"scenes": 2, "steps": 2, "batch_size": 2, "threads": 1}
        return detector.pretrain(out, seed=3, **sizes)

    monkeypatch.setattr(detector, "evaluate", lambda model, scenes: {"ap50": float(len(scenes))})
    return pretrain


class TestRun:
    def test_writes_detrs_names_without_helpers_and_is_determined_by_its_seed(self, run, tmp_path):
        out, again = tmp_path / "detector.safetensors", tmp_path / "again.safetensors"
        assert run(out) == run(again) == {"ap50": 500}
        assert out.read_bytes() == again.read_bytes()
        with safe_open(out, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = json.loads(file.metadata()["hoiclip"])
        assert {name.split(".")[0] for name in state} == {
            "backbone", "input_proj", "transformer", "bbox_embed", "class_embed", "query_embed"
        }  # fmt: skip
        assert not [name for name in state if "num_batches_tracked" in name]
        assert state["class_embed.weight"].shape[0] == len(OBJECTS) + 1
        assert all((t.dtype == torch.float16) == (t.dim() > 1) for t in state.values())
        assert header["objects"] == list(OBJECTS)
        assert read_json(out.with_suffix(".json")).items() >= header.items()
