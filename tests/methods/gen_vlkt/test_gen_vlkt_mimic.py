import dataclasses

import pytest
import torch
from gen_vlkt_networks import PAPER

from hoiclip.methods.gen_vlkt.model.mimic import mimic_loss

# Two layers, two images, two queries, features of width two.
FEATURES = torch.tensor(
    [
        [[[1.0, 0.0], [3.0, 2.0]], [[0.0, 0.0], [0.0, 8.0]]],
        [[[5.0, 5.0], [5.0, 7.0]], [[1.0, 1.0], [-1.0, -1.0]]],
    ]
)
IMAGES = torch.tensor([[4.0, 1.0], [0.0, 0.0]])
# Means over queries: layer 0: (2, 1), (0, 4); layer 1: (5, 6), (0, 0).
# Distances: layer 0: |2|, 0, 0, |4|, of mean 1.5; layer 1: |1|, |5|, 0, 0, of mean 1.5 too.
PER_LAYER = [1.5, 1.5]


def test_two_images_by_hand():
    assert mimic_loss(FEATURES, IMAGES, PAPER).item() == pytest.approx(20 * sum(PER_LAYER))
    half = dataclasses.replace(PAPER, mimic=0.5)
    assert mimic_loss(FEATURES, IMAGES, half).item() == pytest.approx(0.5 * sum(PER_LAYER))


def test_the_last_layer_alone():
    config = dataclasses.replace(PAPER, mimic_layers="last", mimic=1.0)
    changed = FEATURES.clone()
    changed[0] += 100
    assert mimic_loss(changed, IMAGES, config).item() == pytest.approx(PER_LAYER[1])


def test_lengths_matter():
    """Neither side is L2-normalised."""
    scaled = mimic_loss(FEATURES * 3, IMAGES * 3, PAPER)
    assert scaled.item() == pytest.approx(3 * 20 * sum(PER_LAYER))


def test_every_query_is_a_student_and_the_teacher_learns_nothing():
    features = FEATURES.clone().requires_grad_()
    images = IMAGES.clone().requires_grad_()
    mimic_loss(features, images, dataclasses.replace(PAPER, mimic=1.0)).backward()
    assert images.grad is None
    # 1 / (images · width · queries), where the mean differs from the image's feature.
    assert features.grad[1, 0].abs().tolist() == [[0.125, 0.125]] * 2
    assert features.grad[0, 0, :, 0].tolist() == [-0.125, -0.125]
