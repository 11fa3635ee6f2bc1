import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hoiclip.model.transformer import Decoder, DecoderLayer, Encoder, EncoderLayer, Memory
from hoiclip.set_prediction.model.instance_decoder import InstanceDecoder


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def randomised(module):
    """Also norms and biases, which would hide a mix-up at their initial values."""
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -0.7, 0.7)
    return module.eval()


def slow_attention(module, queries, keys, values, hidden=None):
    """Multi-head attention from its definition; `hidden` (keys,) marks padding."""
    width, heads = module.embed_dim, module.num_heads
    weights, biases = module.in_proj_weight.chunk(3), module.in_proj_bias.chunk(3)
    q, k, v = (
        F.linear(x, w, b) for x, w, b in zip((queries, keys, values), weights, biases, strict=True)
    )
    outputs = []
    for head in torch.arange(width).chunk(heads):
        scores = q[..., head] @ k[..., head].transpose(1, 2) / len(head) ** 0.5
        if hidden is not None:
            scores = scores.masked_fill(hidden[:, None], float("-inf"))
        outputs.append(scores.softmax(-1) @ v[..., head])
    return module.out_proj(torch.cat(outputs, -1))


def feed_forward(layer, x):
    return layer.linear2(layer.linear1(x).relu())


def memory(images=2, cells=5, width=8, padded=True):
    mask = torch.zeros(images, cells, dtype=torch.bool)
    mask[-1, -2:] = padded
    return Memory(torch.randn(images, cells, width), torch.randn(images, cells, width), mask)


def test_encoder_layer_adds_positions_to_queries_and_keys_only():
    layer, v_d = randomised(EncoderLayer(8, 2, 12, 0.1)), memory()
    located = v_d.tokens + v_d.position
    attended = slow_attention(layer.self_attn, located, located, v_d.tokens, v_d.padding_mask)
    x = layer.norm1(v_d.tokens + attended)
    expected = layer.norm2(x + feed_forward(layer, x))
    torch.testing.assert_close(layer(v_d.tokens, v_d.position, v_d.padding_mask), expected)


def test_encoder_stacks_layers_without_a_final_norm():
    encoder, v_d = randomised(Encoder(2, 8, 2, 12, 0.1)), memory()
    first, second = encoder.layers
    expected = second(
        first(v_d.tokens, v_d.position, v_d.padding_mask), v_d.position, v_d.padding_mask
    )
    encoded = encoder(v_d.tokens, v_d.position, v_d.padding_mask)
    torch.testing.assert_close(encoded.tokens, expected)
    assert encoded.position is v_d.position
    assert encoded.padding_mask is v_d.padding_mask


def trained(encoder, v_d):
    """Output and gradients of a training pass, and bytes kept for the backward pass."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(3)
    encoder.zero_grad()
    tokens = v_d.tokens.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = encoder(tokens, v_d.position, v_d.padding_mask).tokens
    output.square().sum().backward()
    gradients = [tokens.grad, *(parameter.grad for parameter in encoder.parameters())]
    return [output.detach(), *gradients], sum(kept.values())


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_layers_computed_again_give_the_same_for_less_memory(dropout):
    plain, saving = (Encoder(2, 8, 2, 12, dropout, checkpoint_layers=c) for c in (False, True))
    saving.load_state_dict(plain.state_dict())
    v_d = memory(cells=40)
    (expected, much), (found, little) = (trained(e.train(), v_d) for e in (plain, saving))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert little < much / 4
    assert trained(saving.eval(), v_d)[1] > little


def slow_decoder_layer(layer, x, v_d, queries):
    located = x + queries
    x = layer.norm1(x + slow_attention(layer.self_attn, located, located, x))
    keys = v_d.tokens + v_d.position
    attended = slow_attention(layer.multihead_attn, x + queries, keys, v_d.tokens, v_d.padding_mask)
    x = layer.norm2(x + attended)
    return layer.norm3(x + feed_forward(layer, x))


def test_decoder_layer_adds_the_query_embedding_to_queries_and_keys_only():
    layer, v_d = randomised(DecoderLayer(8, 2, 12, 0.1)), memory()
    x, queries = torch.randn(2, 2, 3, 8)
    torch.testing.assert_close(layer(x, v_d, queries), slow_decoder_layer(layer, x, v_d, queries))


def test_decoder_starts_at_zero_and_shares_one_norm():
    decoder, v_d = randomised(Decoder(3, 8, 2, 12, 0.1)), memory()
    queries = torch.randn(3, 8)
    x, expected = torch.zeros(2, 3, 8), []
    for layer in decoder.layers:
        x = slow_decoder_layer(layer, x, v_d, queries.expand(2, -1, -1))
        expected.append(decoder.norm(x))
    torch.testing.assert_close(decoder(queries, v_d), torch.stack(expected))


def test_a_layer_takes_its_own_query_embedding():
    decoder, v_d = randomised(Decoder(3, 8, 2, 12, 0.1)), memory()
    queries = torch.randn(3, 2, 4, 8)
    x, expected = torch.zeros(2, 4, 8), []
    for layer, own in zip(decoder.layers, queries, strict=True):
        x = slow_decoder_layer(layer, x, v_d, own)
        expected.append(decoder.norm(x))
    torch.testing.assert_close(decoder(queries, v_d), torch.stack(expected))
    with pytest.raises(ValueError, match="zip"):
        decoder(queries[:2], v_d)


def test_one_query_embedding_is_that_of_every_layer_in_value_and_gradient():
    decoder, v_d = randomised(Decoder(3, 8, 2, 12, 0.1)), memory()
    queries = torch.randn(4, 8, dtype=torch.float64, requires_grad=True)
    decoder, v_d = decoder.double(), Memory(v_d.tokens.double(), v_d.position.double(), None)
    weights = torch.randn(3, 2, 4, 8).double()
    found = []
    for given in (queries, queries.expand(2, -1, -1), queries.expand(3, 2, -1, -1)):
        decoded = decoder(given, v_d)
        (gradient,) = torch.autograd.grad((decoded * weights).sum(), queries)
        found.append((decoded, gradient))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


def test_instance_queries_are_humans_first_and_share_the_position_of_the_pair(model_config):
    config = model_config.detector
    decoder = InstanceDecoder(config, 4, 2).eval()
    v_d = memory(width=config.width)
    pair = decoder.position_guided.weight
    queries = torch.cat([decoder.human_queries.weight + pair, decoder.object_queries.weight + pair])
    decoded = decoder.decoder(queries, v_d)
    humans, objects = decoder(v_d)
    torch.testing.assert_close(humans, decoded[:, :, :4])
    torch.testing.assert_close(objects, decoded[:, :, 4:])
    human_boxes, object_boxes = decoder.boxes(humans, objects)
    torch.testing.assert_close(human_boxes, decoder.human_box_head(humans).sigmoid())
    torch.testing.assert_close(object_boxes, decoder.object_box_head(objects).sigmoid())
    assert human_boxes.shape == (2, 2, 4, 4)


def test_initial_queries_are_normal_and_positions_uniform(model_config):
    decoder = InstanceDecoder(model_config.detector, 300, 1)
    for queries in (decoder.human_queries.weight, decoder.object_queries.weight):
        assert queries.mean().item() == pytest.approx(0, abs=0.1)
        assert queries.std().item() == pytest.approx(1, abs=0.1)
    positions = decoder.position_guided.weight
    assert positions.min() >= 0
    assert positions.max() < 1
    assert positions.mean().item() == pytest.approx(0.5, abs=0.05)
