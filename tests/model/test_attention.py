import pytest
import torch
from torch import nn

from hoiclip.model.attention import attend, attention
from hoiclip.model.transformer import EncoderLayer

WIDTH, HEADS = 24, 3


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


def inputs(case):
    """Queries, keys, values: as in self-attention, in DETR's with positions, over a memory."""
    queries, memory = torch.randn(2, 5, WIDTH), torch.randn(2, 7, WIDTH)
    if case == "self":
        return (queries,) * 3
    if case == "located":
        return (queries + 1, queries + 1, queries)
    return (queries, memory + 1, memory) if case == "positions" else (queries, memory, memory)


def trained(module, work, leaves, gradient):
    """Output, gradients of inputs and parameters, and what the random generator gives next."""
    torch.manual_seed(3)
    module.zero_grad()
    leaves = {id(x): x.clone().requires_grad_() for x in leaves}, [id(x) for x in leaves]
    output = work(*(leaves[0][key] for key in leaves[1]))
    output.backward(gradient)
    gradients = [p.grad.clone() for p in module.parameters()]
    return [output.detach(), *(leaf.grad for leaf in leaves[0].values()), *gradients, torch.rand(1)]


@pytest.mark.parametrize("case", ["self", "located", "positions", "memory"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.1, 0.5])
def test_training_equals_multi_head_attention_to_the_bit(case, padded, dropout):
    module = attention(WIDTH, HEADS, dropout).train()
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -0.7, 0.7)
    queries, keys, values = inputs(case)
    mask = None
    if padded:
        mask = torch.zeros(2, keys.shape[1], dtype=torch.bool)
        mask[1, -2:] = True

    def library(q, k, v):
        return module(q, k, v, key_padding_mask=mask, need_weights=False)[0]

    def ours(q, k, v):
        return attend(module, q, k, v, mask)

    gradient = torch.randn_like(queries)
    results = (trained(module, work, (queries, keys, values), gradient) for work in (ours, library))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_training_keeps_no_map_of_weights_but_one_byte_each():
    cells, kept = 70, []
    layer = EncoderLayer(WIDTH, HEADS, 8, 0.1).train()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(torch.randn(2, cells, WIDTH), torch.randn(2, cells, WIDTH), None)
    maps = [tensor for tensor in kept if tensor.shape[-2:] == (cells, cells)]
    assert [(tensor.dtype, tensor.numel()) for tensor in maps] == [
        (torch.bool, 2 * HEADS * cells * cells)
    ]
