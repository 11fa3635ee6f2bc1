import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import ops

from hoiclip.batches.boxes import cxcywh_to_xyxy, generalized_iou_xyxy, xyxy_to_cxcywh


def boxes_xyxy(n, seed=0):
    corner, size = torch.rand(2, n, 2, generator=torch.Generator().manual_seed(seed))
    return torch.cat([corner, corner + size], 1)


def test_conversions_equal_torchvision_and_undo_each_other():
    xyxy = boxes_xyxy(50)
    cxcywh = xyxy_to_cxcywh(xyxy)
    torch.testing.assert_close(cxcywh, ops.box_convert(xyxy, "xyxy", "cxcywh"))
    torch.testing.assert_close(cxcywh_to_xyxy(cxcywh), xyxy)


def test_conversion_by_hand():
    assert xyxy_to_cxcywh(torch.tensor([1.0, 2, 5, 4])).tolist() == [3, 3, 4, 2]
    assert cxcywh_to_xyxy(torch.tensor([[3.0, 3, 4, 2]])).tolist() == [[1, 2, 5, 4]]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 999))
def test_generalized_iou_equals_torchvision(n, m, seed):
    a, b = boxes_xyxy(n, seed), boxes_xyxy(m, seed + 1)
    torch.testing.assert_close(
        generalized_iou_xyxy(a[:, None], b), ops.generalized_box_iou(a, b), atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0, 2, 2], [0, 0, 2, 2], 1),
        ([0, 0, 2, 2], [1, 0, 3, 2], 1 / 3),
        ([0, 0, 1, 1], [2, 0, 3, 1], -1 / 3),  # hull 3, union 2
        ([0, 0, 1, 1], [1, 1, 2, 2], -1 / 2),  # touching at a corner: hull 4, union 2
        ([0, 0, 4, 4], [1, 1, 3, 3], 1 / 4),
        ([1, 1, 1, 1], [1, 1, 1, 1], 0),  # two points at one place
        ([0, 0, 0, 0], [1, 1, 1, 1], -1),  # two points apart: hull 1, union 0
        ([1, 0, 1, 2], [0, 0, 2, 2], 0),  # a line inside a box
        ([0, 0, 2, 0], [0, 0, 2, 0], 0),  # a line, twice
    ],
)
def test_generalized_iou_by_hand(a, b, expected):
    value = generalized_iou_xyxy(torch.tensor(a).float(), torch.tensor(b).float())
    assert value.item() == pytest.approx(expected)
    assert generalized_iou_xyxy(torch.tensor(b).float(), torch.tensor(a).float()) == value


def test_gradient_is_finite_where_the_target_has_area():
    predicted = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.2, 0.2, 0.1, 0.1]], requires_grad=True)
    target = torch.tensor([0.2, 0.2, 0.6, 0.7])
    generalized_iou_xyxy(cxcywh_to_xyxy(predicted), target).sum().backward()
    assert torch.isfinite(predicted.grad).all()
