import math

import pytest
import torch
from torch import nn

from hoiclip.model.layers import (
    MLP,
    FrozenBatchNorm2d,
    attend,
    attention,
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


def test_mlp_has_relu_between_layers_and_none_at_the_end():
    mlp, x = MLP(3, 5, 2, 3), torch.randn(7, 3)
    a, b, c = mlp.layers
    nn.init.constant_(c.bias, -9)
    assert [layer.weight.shape for layer in mlp.layers] == [(5, 3), (5, 5), (2, 5)]
    torch.testing.assert_close(mlp(x), c(torch.relu(b(torch.relu(a(x))))))
    assert (mlp(x) < 0).any()


def test_padding_mask_leaves_keys_out():
    module = attention(8, 2, 0.0).eval()
    queries, keys = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    mask = torch.tensor([[False, False, True, False, True]])
    kept = keys[:, [0, 1, 3]]
    torch.testing.assert_close(
        attend(module, queries, keys, keys, mask), attend(module, queries, kept, kept)
    )


def test_xavier_leaves_vectors_alone():
    module = nn.Linear(300, 100)
    nn.init.constant_(module.bias, 3)
    xavier_uniform_matrices(module)
    bound = math.sqrt(6 / 400)
    assert module.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert (module.bias == 3).all()
