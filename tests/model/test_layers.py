import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hoiclip.model.layers import (
    MLP,
    FeedForwardBlock,
    FrozenBatchNorm2d,
    sine_position_encoding,
    xavier_uniform_matrices,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def slow_sine(mask, width, temperature):
    """DETR's encoding, cell by cell: y first, then x; sine at even, cosine at odd features."""
    half, rows, columns = width // 2, len(mask), len(mask[0])
    table = []
    for i in range(rows):
        for j in range(columns):
            y = sum(not mask[r][j] for r in range(i + 1))
            x = sum(not mask[i][c] for c in range(j + 1))
            y /= sum(not mask[r][j] for r in range(rows)) + 1e-6
            x /= sum(not mask[i][c] for c in range(columns)) + 1e-6
            cell = []
            for position in (y, x):
                for k in range(half):
                    angle = position * 2 * math.pi / temperature ** (2 * (k // 2) / half)
                    cell.append(math.cos(angle) if k % 2 else math.sin(angle))
            table.append(cell)
    return table


@pytest.mark.parametrize(("valid_rows", "valid_columns"), [(3, 5), (2, 5), (3, 1), (1, 2)])
def test_sine_positions_equal_plain_loops(valid_rows, valid_columns):
    mask = torch.ones(2, 3, 5, dtype=torch.bool)
    mask[0] = False
    mask[1, :valid_rows, :valid_columns] = False
    encoding = sine_position_encoding(mask, 16)
    expected = torch.tensor([slow_sine(m, 16, 10000.0) for m in mask.tolist()])
    torch.testing.assert_close(encoding, expected, atol=2e-5, rtol=1e-5)


def test_sine_positions_of_valid_cells_do_not_see_the_padding():
    padded = torch.ones(1, 4, 6, dtype=torch.bool)
    padded[:, :3, :5] = False
    inside = sine_position_encoding(padded, 8).view(4, 6, 8)[:3, :5]
    alone = sine_position_encoding(torch.zeros(1, 3, 5, dtype=torch.bool), 8).view(3, 5, 8)
    torch.testing.assert_close(inside, alone)


def test_sine_encoding_has_the_digits_of_the_default_type():
    torch.set_default_dtype(torch.float64)
    try:
        fine = sine_position_encoding(torch.zeros(1, 1, 3, dtype=torch.bool), 8)
    finally:
        torch.set_default_dtype(torch.float32)
    # The third cell of three: 2π, but for the small number that keeps from dividing by zero.
    assert fine[0, 2, 4].item() == pytest.approx(math.sin(3 / (3 + 1e-6) * 2 * math.pi), rel=1e-9)


def test_frozen_batch_norm_equals_batch_norm_in_eval_mode():
    reference, frozen = nn.BatchNorm2d(6), FrozenBatchNorm2d(6)
    for name in ("weight", "bias", "running_mean", "running_var"):
        values = torch.rand(6) + 0.2
        getattr(reference, name).data.copy_(values)
        getattr(frozen, name).copy_(values)
    x = torch.randn(3, 6, 4, 5)
    before = {k: v.clone() for k, v in frozen.state_dict().items()}
    torch.testing.assert_close(frozen.train()(x), reference.eval()(x))
    assert not list(frozen.parameters())
    assert set(before) == {"weight", "bias", "running_mean", "running_var"}
    for name, value in frozen.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(2, 32, 9, 7), (1, 5, 1, 1), (2, 3, 0, 4)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_frozen_batch_norm_and_its_gradient_are_those_of_pytorch(shape, memory_format):
    norm = FrozenBatchNorm2d(shape[1])
    for name, values in norm.state_dict().items():
        values.copy_(torch.rand(shape[1]) - (0 if name == "running_var" else 0.5))
    inputs, gradient = (
        torch.randn(shape).contiguous(memory_format=memory_format) for _ in range(2)
    )
    statistics = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    results = []
    for work in (norm, lambda x: F.batch_norm(x, *statistics, eps=norm.eps)):
        leaf = inputs.clone().requires_grad_()
        output = work(leaf)
        output.backward(gradient)
        assert output.is_contiguous(memory_format=memory_format)
        results.append((output.detach(), leaf.grad))
    (found, gradient_found), (expected, gradient_expected) = results
    assert torch.equal(found, expected)
    torch.testing.assert_close(gradient_found, gradient_expected)


def test_frozen_batch_norm_keeps_no_activation():
    norm, kept = FrozenBatchNorm2d(6), []
    x = torch.randn(2, 6, 4, 4, requires_grad=True) * 1
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        norm(x)
    assert [tensor.numel() for tensor in kept] == [6]


def test_mlp_has_relu_between_layers_and_none_at_the_end():
    mlp, x = MLP(3, 5, 2, 3), torch.randn(7, 3)
    a, b, c = mlp.layers
    nn.init.constant_(c.bias, -9)
    assert [layer.weight.shape for layer in mlp.layers] == [(5, 3), (5, 5), (2, 5)]
    torch.testing.assert_close(mlp(x), c(torch.relu(b(torch.relu(a(x))))))
    assert (mlp(x) < 0).any()


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("training", [True, False])
def test_feed_forward_equals_its_parts_composed_by_hand(probability, training):
    block, x = FeedForwardBlock(6, 20, probability).train(training), torch.randn(2, 5, 6)
    gradient = torch.randn_like(x)

    def by_hand(x):
        hidden = F.dropout(F.relu(block.linear1(x)), probability, training)
        return F.dropout(block.linear2(hidden), probability, training)

    results = []
    for work in (block.feed_forward, by_hand):
        torch.manual_seed(3)
        block.zero_grad()
        leaf = x.clone().requires_grad_()
        output = work(leaf)
        output.backward(gradient)
        gradients = [p.grad.clone() for p in block.parameters()]
        results.append((output.detach(), leaf.grad, *gradients, torch.rand(1)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_xavier_leaves_vectors_alone():
    module = nn.Linear(300, 100)
    nn.init.constant_(module.bias, 3)
    xavier_uniform_matrices(module)
    bound = math.sqrt(6 / 400)
    assert module.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert (module.bias == 3).all()


def test_a_frozen_norm_gives_bfloat16_for_bfloat16():
    """As it gets it under autocast; or all activations of the backbone would be float32."""
    norm = FrozenBatchNorm2d(3)
    torch.manual_seed(0)
    norm.running_mean, norm.running_var = torch.randn(3), torch.rand(3) + 0.5
    convolution, images = torch.nn.Conv2d(3, 3, 1), torch.randn(2, 3, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        before = convolution(images)
        after = norm(before)
    assert before.dtype == after.dtype == torch.bfloat16
    assert norm(images).dtype == torch.float32
    assert torch.equal(after, norm(before.float()).bfloat16())
