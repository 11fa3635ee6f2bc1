import dataclasses
import math

import pytest
import torch
from torch.nn import functional as F

from hoiclip.datasets.toy import toy_vocabulary
from hoiclip.model import detector_encoder
from hoiclip.model.detector_encoder import DetectorEncoder

HOIS = toy_vocabulary().num_hois


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def with_switches(config, **switches):
    verb = {k: v for k, v in switches.items() if k in ("representation", "weight")}
    interaction = {k: v for k, v in switches.items() if k not in verb}
    return dataclasses.replace(
        config,
        verb=dataclasses.replace(config.verb, **verb),
        interaction=dataclasses.replace(config.interaction, **interaction),
    )


def inputs(model, images=2, size=64):
    tokens = torch.randn(images, 5, model.visual_projection.shape[0])
    clip_global = F.normalize(torch.randn(images, model.visual_projection.shape[1]), dim=-1)
    return torch.randn(images, 3, size, size), None, tokens, clip_global


@torch.no_grad()
def test_forward_composes_the_parts(make_detector, model_config):
    """Figure 2 of the paper, written down once more from the parts."""
    model = make_detector().method.network
    images, mask, tokens, clip_global = inputs(model)
    outputs = model(images, mask, tokens, clip_global)
    memory = model.encoder(images, None)
    humans, objects = model.instance_decoder(memory)
    features = model.interaction_decoder(
        (humans[-1] + objects[-1]) / 2, memory.tokens, None, tokens
    )
    interactions = features @ model.visual_projection
    table = model.hoi_classifier.table
    similarity = F.normalize(interactions, dim=-1) @ table.T
    verbs = model.verb_classifier(interactions)
    expected = (similarity + model_config.verb.weight * verbs) / 0.07
    torch.testing.assert_close(outputs.hoi_logits, expected, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(outputs.object_logits, model.object_classifier(objects))
    torch.testing.assert_close(outputs.clip_similarity, clip_global @ table.T)
    assert outputs.hoi_logits.shape == (2, 2, 6, HOIS)
    boxes = outputs.human_boxes_cxcywh, outputs.object_boxes_cxcywh
    for found, wanted in zip(boxes, model.instance_decoder.boxes(humans, objects), strict=True):
        torch.testing.assert_close(found, wanted)


def test_scales_start_at_the_temperature_of_clip_and_are_two(make_detector):
    model = make_detector().method.network
    assert model.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    assert model.object_classifier.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    assert model.logit_scale is not model.object_classifier.logit_scale
    scales = [name for name, _ in model.named_parameters() if "logit_scale" in name]
    assert len(scales) == 2


@torch.no_grad()
def test_the_bias_of_a_released_classifier_is_inside_the_scale(make_detector):
    bias = torch.randn(HOIS)
    plain, biased = make_detector().method.network, make_detector(hoi_bias=bias).method.network
    biased.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(2, plain.visual_projection.shape[1])
    difference = biased.classify_hois(x) - plain.classify_hois(x)
    torch.testing.assert_close(difference, (bias / 0.07).expand(2, -1), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_verb_weight_and_switch(make_detector, model_config):
    none = make_detector(with_switches(model_config, representation="none")).method.network
    assert none.verb_classifier is None
    zero = make_detector(with_switches(model_config, weight=0.0)).method.network
    missing, surplus = none.load_state_dict(zero.state_dict(), strict=False)
    assert not missing
    assert all(name.startswith("verb_classifier.") for name in surplus)
    arguments = inputs(none)
    torch.testing.assert_close(none(*arguments).hoi_logits, zero(*arguments).hoi_logits)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["none", "shared"])
def test_base_is_blind_to_the_tokens_of_clip(make_detector, model_config, kind):
    model = make_detector(with_switches(model_config, clip_attention=kind)).method.network
    images, mask, tokens, clip_global = inputs(model)
    first = model(images, mask, tokens, clip_global)
    second = model(images, mask, tokens + 1, clip_global)
    assert torch.equal(first.hoi_logits, second.hoi_logits) == (kind == "none")
    assert torch.equal(first.object_logits, second.object_logits)


def padded_batch():
    """An image alone and within a larger batch.

    Only its corner has content, so that no convolution carries any across its border, where a
    padded and an unpadded image differ by nature.
    """
    alone = torch.zeros(1, 3, 160, 160)
    alone[..., :16, :16] = torch.randn(3, 16, 16)
    images = torch.randn(2, 3, 192, 256)
    images[0] = 0
    images[0, :, :160, :160] = alone[0]
    mask = torch.zeros(2, 192, 256, dtype=torch.bool)
    mask[0, 160:] = True
    mask[0, :, 160:] = True
    return alone, images, mask


@torch.no_grad()
@pytest.mark.parametrize("masked", [True, False])
def test_padding_changes_nothing_where_the_detector_memory_is_masked(
    make_detector, model_config, masked
):
    model = make_detector(with_switches(model_config, mask_detector_memory=masked)).method.network
    alone, images, mask = padded_batch()
    _, _, tokens, clip_global = inputs(model)
    single = model(alone, None, tokens[:1], clip_global[:1])
    batched = model(images, mask, tokens, clip_global)
    for name in ("human_boxes_cxcywh", "object_boxes_cxcywh", "object_logits"):
        found, expected = getattr(batched, name)[:, :1], getattr(single, name)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    close = torch.allclose(batched.hoi_logits[:, :1], single.hoi_logits, atol=1e-3)
    assert close == masked


@torch.no_grad()
def test_an_empty_mask_equals_none(make_detector):
    model = make_detector().method.network
    images, _, tokens, clip_global = inputs(model)
    none = model(images, None, tokens, clip_global)
    empty = model(images, torch.zeros(2, 64, 64, dtype=torch.bool), tokens, clip_global)
    torch.testing.assert_close(none.hoi_logits, empty.hoi_logits)


@torch.no_grad()
def test_the_mask_is_resized_by_nearest_neighbour(model_config):
    encoder = DetectorEncoder(model_config.detector).eval()
    mask = torch.zeros(1, 64, 96, dtype=torch.bool)
    mask[:, :, 65:] = True  # column 2 of the cells starts at pixel 64, which is valid
    memory = encoder(torch.randn(1, 3, 64, 96), mask)
    assert memory.padding_mask.tolist() == [[False, False, False, False, False, False]]
    mask[:, :, 64] = True
    memory = encoder(torch.randn(1, 3, 64, 96), mask)
    assert memory.padding_mask.tolist() == [[False, False, True, False, False, True]]


@torch.no_grad()
@pytest.mark.parametrize("pixels", [1, 2 * 64 * 96, 10**6])
def test_inference_takes_images_through_the_backbone_in_parts(model_config, monkeypatch, pixels):
    monkeypatch.setattr(detector_encoder, "PIXELS_AT_ONCE", pixels)
    backbone = DetectorEncoder(model_config.detector).backbone
    images, sizes = torch.randn(5, 3, 64, 96), []
    expected = backbone.train()(images)
    backbone.body.conv1.register_forward_hook(lambda _, args, __: sizes.append(len(args[0])))
    torch.testing.assert_close(backbone.eval()(images), expected)
    assert sizes == {1: [1] * 5, 2 * 64 * 96: [2, 2, 1], 10**6: [5]}[pixels]


@torch.no_grad()
def test_a_device_takes_a_batch_through_the_backbone_at_once(model_config, monkeypatch):
    monkeypatch.setattr(detector_encoder, "PIXELS_AT_ONCE", 1)
    backbone = DetectorEncoder(model_config.detector).backbone.eval().to("meta")
    sizes = []
    backbone.body.conv1.register_forward_hook(lambda _, args, __: sizes.append(len(args[0])))
    backbone(torch.empty(5, 3, 64, 96, device="meta"))
    assert sizes == [5]


def test_no_residual_branch_of_a_fresh_backbone_is_silent(model_config):
    """Its norms are frozen: one that starts at zero would stay there."""
    state = DetectorEncoder(model_config.detector).state_dict()
    norms = [tensor for name, tensor in state.items() if name.endswith("bn2.weight")]
    assert norms
    assert all((tensor == 1).all() for tensor in norms)


def test_every_parameter_that_is_trained_gets_a_gradient(make_detector):
    model = make_detector().method.network.train()
    outputs = model(*inputs(model))
    values = (outputs.hoi_logits, outputs.object_logits, outputs.human_boxes_cxcywh)
    sum((value * torch.randn_like(value)).sum() for value in values).backward(retain_graph=True)
    (outputs.object_boxes_cxcywh * torch.randn_like(outputs.object_boxes_cxcywh)).sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without == []


@pytest.mark.parametrize(
    ("training", "padded", "again"),
    [(True, True, False), (True, False, True), (False, True, False)],
)
def test_the_network_compiles_to_one_graph(make_detector, model_config, training, padded, again):
    # This back end takes the graph as it is, so that no compiler is needed; it draws dropout anew
    # where layers are computed again.
    dropout = 0.0 if again else 0.1
    config = dataclasses.replace(
        model_config,
        detector=dataclasses.replace(
            model_config.detector, checkpoint_encoder=again, dropout=dropout
        ),
    )
    model = make_detector(config).method.network.train(training)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    images, _, tokens, clip_global = inputs(model)
    mask = torch.zeros(2, 64, 64, dtype=torch.bool)
    mask[1, :, 32:] = True
    arguments = images, mask if padded else None, tokens, clip_global
    results = []
    for network in (compiled, model):
        torch.manual_seed(3)
        model.zero_grad()
        outputs = [value for value in vars(network(*arguments)).values() if value is not None]
        sum(value.square().mean() for value in outputs).backward()
        results.append([*outputs, *(p.grad for p in model.parameters() if p.grad is not None)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)
