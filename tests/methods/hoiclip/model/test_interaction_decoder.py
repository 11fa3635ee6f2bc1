import dataclasses

import pytest
import torch
from torch import nn

from hoiclip.methods.hoiclip.model.interaction_decoder import (
    InteractionDecoder,
    InteractionDecoderLayer,
)
from hoiclip.model.attention import attend

QUERIES, CELLS, TOKENS, DETECTOR_WIDTH, WIDTH = 3, 5, 4, 8, 12


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(params=["none", "separate", "shared"])
def kind(request):
    return request.param


@pytest.fixture
def config_of(model_config):
    return lambda kind: dataclasses.replace(model_config.interaction, clip_attention=kind)


def randomised(module):
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -0.7, 0.7)
    return module.eval()


def inputs():
    mask = torch.zeros(2, CELLS, dtype=torch.bool)
    mask[1, -2:] = True
    return (
        torch.randn(2, QUERIES, DETECTOR_WIDTH),
        torch.randn(2, CELLS, DETECTOR_WIDTH),
        mask,
        torch.randn(2, TOKENS, WIDTH),
    )


def reference_layer(layer, x, v_d, mask, v_s, kind):
    """The layer composed by hand from its parts, each attended to in turn."""
    x = layer.norm1(x + attend(layer.self_attn, x, x, x))
    total = layer.norm2(x + attend(layer.multihead_attn, x, v_d, v_d, mask))
    if kind == "shared":
        total = total + layer.norm2(x + attend(layer.multihead_attn, x, v_s, v_s))
    elif kind == "separate":
        total = total + layer.clip_norm(x + attend(layer.clip_attn, x, v_s, v_s))
    return layer.norm3(total + layer.linear2(layer.linear1(total).relu()))


def test_decoder_equals_its_parts_composed_by_hand(config_of, kind):
    decoder = randomised(InteractionDecoder(config_of(kind), DETECTOR_WIDTH, WIDTH, 2))
    pairs, tokens, mask, v_s = inputs()
    linear, norm = decoder.query_projection
    x = norm(linear(pairs))
    linear, norm = decoder.memory_projection
    v_d = norm(linear(tokens))
    expected = []
    for layer in decoder.layers:
        x = reference_layer(layer, x, v_d, mask, v_s, kind)
        expected.append(decoder.norm(x))
    torch.testing.assert_close(decoder(pairs, tokens, mask, v_s), torch.stack(expected))


def test_only_separate_attention_has_weights_of_its_own(config_of):
    names = {
        kind: set(dict(InteractionDecoderLayer(WIDTH, config_of(kind)).named_parameters()))
        for kind in ("none", "separate", "shared")
    }
    assert names["none"] == names["shared"]
    surplus = {name.split(".")[0] for name in names["separate"] - names["shared"]}
    assert surplus == {"clip_attn", "clip_norm"}


def test_only_none_ignores_the_tokens_of_clip(config_of, kind):
    decoder = randomised(InteractionDecoder(config_of(kind), DETECTOR_WIDTH, WIDTH, 2))
    pairs, tokens, mask, v_s = inputs()
    same = torch.equal(
        decoder(pairs, tokens, mask, v_s), decoder(pairs, tokens, mask, torch.randn_like(v_s))
    )
    assert same == (kind == "none")


def test_padding_of_the_detector_memory_is_masked_on_demand(config_of, kind):
    decoder = randomised(InteractionDecoder(config_of(kind), DETECTOR_WIDTH, WIDTH, 2))
    pairs, tokens, mask, v_s = inputs()
    changed = torch.where(mask[..., None], tokens + 5, tokens)
    masked, unmasked = (
        [decoder(pairs, t, m, v_s) for t in (tokens, changed)] for m in (mask, None)
    )
    torch.testing.assert_close(masked[0], masked[1])
    assert not torch.allclose(unmasked[0][:, 1], unmasked[1][:, 1])


def test_dropout_acts_in_training_alone(config_of):
    config = dataclasses.replace(config_of("shared"), dropout=0.5)
    decoder = InteractionDecoder(config, DETECTOR_WIDTH, WIDTH, 1)
    arguments = inputs()
    assert not torch.equal(decoder(*arguments), decoder(*arguments))
    decoder.eval()
    assert torch.equal(decoder(*arguments), decoder(*arguments))
