from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hoiclip.batches.batch import Sample, collate
from hoiclip.batches.boxes import cxcywh_to_xyxy
from hoiclip.catalog.vocabularies import hico_det, vcoco
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.detr.file import PretrainedDetr
from hoiclip.detr.network import Detr
from hoiclip.errors import WeightsError
from hoiclip.methods.clip_distill.caches.config import DetectionsConfig
from hoiclip.methods.clip_distill.detect import ObjectDetector, detect

NAMES = ("zebra", "cup", "person", "ball")
VOCABULARY = Vocabulary(
    ("person", "ball", "cup", "kite"), (Verb("hold", "holding"),), (Hoi(0, 1), Hoi(0, 3))
)
EVERYTHING = DetectionsConfig(
    num_queries=None, test_scale=0, max_side=1333, score_threshold=0.0, nms_iou=None,
    min_instances=0, max_instances=None, max_pairs=None,
)  # fmt: skip


@pytest.fixture
def detr(model_config) -> PretrainedDetr:
    torch.manual_seed(0)
    return PretrainedDetr(Detr(model_config.detector, 2, len(NAMES), 6).eval(), NAMES)


CPU = torch.device("cpu")


def batch_of(*sizes: tuple[int, int]):
    torch.manual_seed(1)
    samples = [
        Sample(
            torch.randint(256, (3, height, width), dtype=torch.uint8),
            None,
            i,
            False,
            (2 * width, 2 * height),
        )
        for i, (width, height) in enumerate(sizes)
    ]
    return collate(samples)


def test_classes_are_found_by_name(detr):
    detector = ObjectDetector.of(detr, VOCABULARY)
    assert detector.columns == (1, 2, 3)
    assert detector.objects.tolist() == [2, 0, 1]
    assert detector.unknown == ("kite",)


def test_a_space_in_a_name_is_an_underscore(detr):
    objects = ("person", "hot_dog", "dining table", "kite")
    hois = (Hoi(0, 1), Hoi(0, 2), Hoi(0, 3))
    vocabulary = Vocabulary(objects, (Verb("hold", "holding"),), hois)
    theirs = PretrainedDetr(detr.model, ("hot dog", "cup", "person", "dining_table"))
    detector = ObjectDetector.of(theirs, vocabulary)
    assert detector.columns == (0, 2, 3)
    assert detector.objects.tolist() == [1, 0, 2]
    assert detector.unknown == ("kite",)


@pytest.mark.parametrize("vocabulary", [hico_det(), vcoco()], ids=["hico_det", "vcoco"])
def test_cocos_names_are_those_of_the_published_vocabularies(detr, vocabulary):
    coco = PretrainedDetr(detr.model, hico_det().objects)
    assert ObjectDetector.of(coco, vocabulary).unknown == ()


def test_scores_are_of_the_vocabularys_objects_with_all_others_in_the_denominator(detr):
    detector, batch = ObjectDetector.of(detr, VOCABULARY), batch_of((64, 96))
    with torch.no_grad():
        outputs = detr.model(*batch.inputs(CPU))
    (found,) = detect(detector, batch, EVERYTHING)
    numbers = outputs.logits[-1, 0].double().exp().numpy()
    columns, objects = [1, 2, 3], np.array([2, 0, 1])
    best = numbers[:, columns].argmax(1)
    expected = numbers[:, columns].max(1) / numbers.sum(1)
    np.testing.assert_allclose(found.scores, expected, rtol=1e-5)
    assert found.objects.tolist() == objects[best].tolist()
    np.testing.assert_array_equal(found.features, outputs.features[-1, 0].numpy())
    # Boxes in pixels of the original, which is twice as large.
    boxes = cxcywh_to_xyxy(outputs.boxes_cxcywh[-1, 0]) * torch.tensor([128, 192, 128, 192])
    np.testing.assert_allclose(found.boxes_xyxy, boxes.numpy(), rtol=1e-6)
    assert found.boxes_xyxy.dtype == found.scores.dtype == np.float32


def test_padding_is_masked_and_each_image_has_its_own_size(detr):
    detector, batch = ObjectDetector.of(detr, VOCABULARY), batch_of((64, 96), (96, 64))
    found = detect(detector, batch, EVERYTHING)
    with torch.no_grad():
        outputs = detr.model(*batch.inputs(CPU))
        unmasked = detr.model(batch.inputs(CPU)[0])
    assert not torch.allclose(outputs.boxes_cxcywh, unmasked.boxes_cxcywh, atol=1e-6)
    boxes = cxcywh_to_xyxy(outputs.boxes_cxcywh[-1])
    for each, box, size in zip(found, boxes, [[128, 192] * 2, [192, 128] * 2], strict=True):
        np.testing.assert_allclose(each.boxes_xyxy, (box * torch.tensor(size)).numpy(), rtol=1e-6)


def test_the_rule_of_detections_is_applied(detr):
    detector, batch = ObjectDetector.of(detr, VOCABULARY), batch_of((64, 96))
    none = replace(EVERYTHING, score_threshold=1.0)
    assert len(detect(detector, batch, none)[0]) == 0
    few = replace(none, min_instances=1)
    (found,) = detect(detector, batch, few)
    assert 1 <= len(found) <= 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("zebra", "cup", "ball", "kite"), "knows no people"),
        (("zebra", "cup", "person", "dog"), "none of the objects that have HOI classes"),
    ],
)
def test_a_detector_of_other_things_is_refused(detr, names, message):
    with pytest.raises(ValueError, match=message):
        ObjectDetector.of(PretrainedDetr(detr.model, names), VOCABULARY)


def test_a_file_that_is_no_detector_is_one_line(tmp_path, model_config):
    with pytest.raises(WeightsError, match="no such weight file"):
        ObjectDetector.read(tmp_path / "no.safetensors", model_config.detector, None, VOCABULARY)
