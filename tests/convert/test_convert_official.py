import json
import math
import time
from pathlib import Path

import pytest
import torch
from fake_checkpoint import REAL, Sizes, official_file, official_shapes, official_state
from reference_network import clip_tokens, reference_outputs

from hoiclip.convert.key_map import official_key_map, rename
from hoiclip.convert.sniff import convert
from hoiclip.data.readers.vocabularies import hico_det, vcoco
from hoiclip.errors import WeightsError
from hoiclip.model_file import load_detector

SPEC = Path(__file__).parents[3] / "shared" / "spec"
SETTINGS = ["default", "rare_first", "unseen_verb", "vcoco"]


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """`converted(setting)`: the source's state dict, the conversion and the detector."""
    folder, done = tmp_path_factory.mktemp("official"), {}

    def get(setting):
        if setting not in done:
            content = official_file(setting=setting)
            torch.save(content, folder / f"{setting}.pth")
            out = convert(folder / f"{setting}.pth", folder / f"{setting}.safetensors")
            done[setting] = content["model"], out, load_detector(out.path)
        return done[setting]

    return get


def batch(detector):
    """Two images of different size in one padded batch, and CLIP's pixels."""
    generator = torch.Generator().manual_seed(7)
    images = torch.zeros(2, 3, 96, 128)
    mask = torch.ones(2, 96, 128, dtype=torch.bool)
    for index, (height, width) in enumerate([(96, 70), (64, 128)]):
        images[index, :, :height, :width] = torch.randn(3, height, width, generator=generator)
        mask[index, :height, :width] = False
    side = detector.clip.image_size
    return images, mask, torch.randn(2, 3, side, side, generator=generator)


@torch.no_grad()
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("masked", [False, True])
def test_the_converted_network_says_what_the_released_one_says(converted, setting, masked):
    state, _, detector = converted(setting)
    assert detector.config.interaction.mask_detector_memory is False
    images, mask, pixels = batch(detector)
    detector.model.mask_detector_memory = masked
    features = detector.clip.encode_image_tokens(pixels)
    found = detector.model(images, mask, features.tokens, features.global_feature)
    detector.model.mask_detector_memory = False
    expected = reference_outputs(state, 2, 0.5, images, mask, pixels, mask_detector_memory=masked)
    for name in ("human_boxes_cxcywh", "object_boxes_cxcywh", "object_logits", "hoi_logits"):
        values, wanted = getattr(found, name), getattr(expected, name)
        assert values.shape == wanted.shape
        torch.testing.assert_close(values, wanted, atol=1e-5, rtol=1e-5, msg=name)


@torch.no_grad()
def test_masking_matters_in_the_comparison_above(converted):
    state, _, detector = converted("default")
    images, mask, pixels = batch(detector)
    masked, open_ = (
        reference_outputs(state, 2, 0.5, images, mask, pixels, mask_detector_memory=value)
        for value in (True, False)
    )
    assert (masked.hoi_logits - open_.hoi_logits).abs().max() > 1e-2


@torch.no_grad()
def test_the_image_tower_of_clip_travels(converted):
    state, _, detector = converted("default")
    _, _, pixels = batch(detector)
    found = detector.clip.encode_image_tokens(pixels)
    for index, pixel in enumerate(pixels):
        tokens, feature = clip_tokens(state, pixel)
        torch.testing.assert_close(found.tokens[index], tokens, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.global_feature[index], feature, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_tensor_lands_once_and_unchanged(converted, setting):
    state, out, detector = converted(setting)
    ours = {"model." + k: v for k, v in detector.model.state_dict().items()}
    ours |= {"clip." + k: v for k, v in detector.clip.state_dict().items()}
    renamed, dropped = rename(
        out.path, state, *official_key_map("unseen" in setting or "rare" in setting)
    )
    assert set(renamed) == set(ours)
    assert dropped == out.dropped
    assert len(state) == len(dropped) + len(renamed) - 1  # CLIP's projection lands twice
    for name, tensor in renamed.items():
        assert torch.equal(tensor, ours[name]), name


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("transformer.obj_class_fc.weight", "interaction_decoder.memory_projection.0.weight"),
        ("obj_class_fc.0.weight", "object_classifier.projection.0.weight"),
        (
            "transformer.queries2spacial_proj_norm.bias",
            "interaction_decoder.query_projection.1.bias",
        ),
        ("clip_model.visual.proj", "visual_projection"),
        ("visual_projection.bias", "hoi_classifier.bias"),
        ("obj_visual_projection.bias", "object_classifier.classifier.bias"),
        ("obj_logit_scale", "object_classifier.logit_scale"),
        ("logit_scale", "logit_scale"),
        ("query_embed_o.weight", "instance_decoder.object_queries.weight"),
    ],
)
def test_where_the_names_mislead(converted, theirs, ours):
    state, _, detector = converted("default")
    assert torch.equal(detector.model.state_dict()[ours], state[theirs])


def test_zero_shot_is_evaluated_over_all_classes_without_a_bias(converted):
    state, out, detector = converted("rare_first")
    head = detector.model.hoi_classifier
    assert torch.equal(head.table, state["eval_visual_projection.weight"])
    assert head.bias is None
    assert "visual_projection.weight" in out.dropped
    assert detector.model.verb_classifier.verb_to_hoi.shape[1] == hico_det().num_hois


def test_vcoco_keeps_the_matrix_that_it_was_trained_with(converted):
    state, out, detector = converted("vcoco")
    matrix = detector.model.verb_classifier.verb_to_hoi
    assert torch.equal(matrix, state["verb2hoi_proj"])
    assert not torch.equal(matrix, torch.from_numpy(vcoco().verb_to_hoi))
    assert matrix.any(0).sum() == 70
    assert detector.vocabulary == vcoco()
    assert out.setting == "vcoco"


def test_the_header_says_what_differs(converted):
    _, out, detector = converted("default")
    assert detector.scores == {"enhancement_kind": "sigmoid"}
    assert detector.transforms.test_scale == 800
    assert detector.provenance["setting"] == "default"
    assert "/data/hico" not in json.dumps(detector.provenance)
    assert out.summary().startswith(f"{out.path}: from official, setting default\n  ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update({"new.weight": torch.zeros(1)}), r"new\.weight belongs to no known"),
        (lambda s: s.pop("logit_scale"), r"nothing fills model\.logit_scale"),
        (lambda s: s.pop("visual_projection.weight"), r"nothing fills model\.hoi_class"),
        (lambda s: s.pop("verb_projection.weight"), r"nothing fills model\.verb_class"),
        (lambda s: s.pop("verb2hoi_proj"), r"verb2hoi_proj is missing"),
        (lambda s: s.pop("input_proj.weight"), r"input_proj\.weight is missing"),
        (
            lambda s: s.update({"input_proj.bias": torch.zeros(3)}),
            r"projection\.bias.*\(3,\)",
        ),
        (lambda s: s.update({"visual_projection.bias": torch.zeros(3)}), r"hoi_classifier\.bias"),
        (lambda s: s.update({"obj_visual_projection.weight": torch.zeros(3, 12)}), r"\(81, 12\)"),
        (lambda s: s["logit_scale"].fill_(math.nan), r"logit_scale.*not finite"),
        (lambda s: s["visual_projection.weight"].mul_(2), r"not of unit length"),
        (lambda s: s["verb2hoi_proj"].zero_(), r"of no published setting"),
    ],
)
def test_whatever_does_not_fit_is_one_line_and_writes_nothing(tmp_path, change, message):
    content = official_file()
    change(content["model"])
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=message) as caught:
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_another_setting_is_named(tmp_path):
    torch.save(official_file(setting="uc0"), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="of setting 'uc0', not of 'rare_first'"):
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors", setting="rare_first")
    with pytest.raises(WeightsError, match="unknown setting 'rarest'; known are default, "):
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors", setting="rarest")
    torch.save(official_file(setting="uc0", zero_shot_type="uc1"), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"args say zero_shot_type 'uc1'.*'uc0'"):
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors")


def test_a_checkpoint_without_biases_and_args(tmp_path):
    state = official_state(Sizes(width=64, heads=8, clip_width=128))
    del state["visual_projection.bias"], state["obj_visual_projection.bias"]
    torch.save(state, tmp_path / "a.pth")
    detector = load_detector(convert(tmp_path / "a.pth", tmp_path / "a.safetensors").path)
    assert detector.model.hoi_classifier.bias is None
    assert detector.config.detector.heads == 8
    assert detector.config.verb.weight == 0.5


def layout():
    path = SPEC / "official_checkpoint_layout.json"
    if not path.exists():
        pytest.skip("the layout of the released checkpoints is not here")
    return json.loads(path.read_text())


def test_the_fake_has_the_layout_of_the_released_checkpoint():
    expected = {name: tuple(shape) for name, shape, _, _ in layout()["state_dict"]}
    assert official_shapes(REAL) == expected
    assert len(expected) == 862
    variants = json.loads((SPEC / "official_checkpoint_variants.json").read_text())
    for name in ("rare_first", "unseen_object", "unseen_verb", "uc0", "vcoco"):
        variant = variants[name if name == "vcoco" else f"hico_{name}"]
        changed = dict(expected)
        for tensor, (_, shape) in variant["differs_from_base"].items():
            changed.pop(tensor, None)
            changed |= {} if shape is None else {tensor: tuple(shape)}
        assert official_shapes(REAL, name) == changed
        assert len(changed) == variant["n_tensors"]


@pytest.mark.slow
def test_the_real_size_converts_in_time(tmp_path):
    content = official_file(REAL)
    parameters = {n for n, _, _, kind in layout()["state_dict"] if kind == "parameter"}
    assert sum(content["model"][name].numel() for name in parameters) == 218_165_476
    torch.save(content, tmp_path / "a.pth")
    begin = time.perf_counter()
    out = convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert time.perf_counter() - begin < 60
    detector = load_detector(out.path)
    ours = len(detector.model.state_dict()) + len(detector.clip.state_dict())
    assert ours - 1 + len(out.dropped) == 862
    assert detector.config.num_queries == 64
