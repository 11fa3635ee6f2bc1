import pytest
import torch
from torch import nn

from hoiclip.model.attention import attend, attention


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_padding_mask_leaves_keys_out():
    module = attention(8, 2, 0.0).eval()
    queries, keys = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    mask = torch.tensor([[False, False, True, False, True]])
    kept = keys[:, [0, 1, 3]]
    torch.testing.assert_close(
        attend(module, queries, keys, keys, mask), attend(module, queries, kept, kept)
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_an_image_of_padding_alone_gives_numbers(training, dropout):
    module = attention(8, 2, dropout).train(training)
    queries, keys = torch.randn(2, 3, 8, requires_grad=True), torch.randn(2, 5, 8)
    mask = torch.tensor([[False] * 5, [True] * 5])
    output = attend(module, queries, keys, keys, mask)
    output.sum().backward()
    torch.testing.assert_close(output[1], module.out_proj.bias.expand(3, 8))
    assert all(x.isfinite().all() for x in (output, queries.grad, module.in_proj_weight.grad))


def test_dropout_is_of_weights_and_of_training_alone():
    """Every weight is left out or doubled; equal values tell their sum over the keys."""
    module = attention(8, 2, 0.5).train()
    nn.init.eye_(module.out_proj.weight)
    module.in_proj_weight.data[:16].zero_()  # equal weights for every key
    queries, keys = torch.randn(1, 400, 8), torch.randn(1, 1, 8).expand(-1, 4, -1)
    value = nn.functional.linear(keys[0, 0], module.in_proj_weight[16:])
    shares = (attend(module, queries, keys, keys) / value)[0, :, [0, 4]]
    counts = shares * 4 / 2
    torch.testing.assert_close(counts, counts.round(), atol=1e-4, rtol=0)
    assert counts.round().unique().tolist() == [0, 1, 2, 3, 4]
    assert counts.mean().item() == pytest.approx(2, abs=0.15)
    torch.testing.assert_close(attend(module.eval(), queries, keys, keys), value.expand(1, 400, 8))
