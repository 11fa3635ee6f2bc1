import dataclasses
import json
import math
import re

import pytest
import torch
from fake_checkpoint import REAL, Sizes
from fake_gen_vlkt import LARGE, SMALL, gen_vlkt_file, gen_vlkt_shapes, gen_vlkt_state, seen_of
from gen_vlkt_networks import PATH, batch, config_of, fresh
from gen_vlkt_reference import reference_outputs
from test_gen_vlkt_network import compare

from hoiclip.catalog.vocabularies import hico_det, vcoco
from hoiclip.checkpoints.pytorch import Checkpoint
from hoiclip.convert.dispatch import convert
from hoiclip.convert.gen_vlkt import detect_gen_vlkt_setting
from hoiclip.convert.gen_vlkt_back import released_state
from hoiclip.convert.setting import setting_names
from hoiclip.core.config import from_mapping
from hoiclip.errors import WeightsError
from hoiclip.methods.gen_vlkt.model.config import GenVlktModelConfig
from hoiclip.methods.gen_vlkt.model.network import ClassEmbeddings, GenVlkt
from hoiclip.model.tensors import read_safetensors

ZERO_SHOT = ["rare_first", "non_rare_first", "unseen_object", "unseen_verb"]
SETTINGS = ["default", "vcoco", *ZERO_SHOT]


def convert_content(folder, content, **options):
    torch.save(content, folder / "a.pth")
    return convert(folder / "a.pth", folder / "a.safetensors", **options)


def read(path):
    """Header, configuration and state dict of a converted file."""
    tensors, metadata = read_safetensors(path)
    header = json.loads(metadata["hoiclip"])
    config = from_mapping(GenVlktModelConfig, header["config"], "config")
    return header, config, {name.removeprefix("model."): t for name, t in tensors.items()}


@torch.no_grad()
@pytest.mark.parametrize("setting", ["default", "vcoco", "rare_first"])
def test_the_converted_network_says_what_the_released_one_says(tmp_path, setting):
    content = gen_vlkt_file(setting=setting)
    header, config, state = read(convert_content(tmp_path, content).path)
    assert (header["method"], header["provenance"]["setting"]) == ("gen_vlkt", setting)
    network = GenVlkt(config, ClassEmbeddings.of_state(state))
    network.load_state_dict(state)
    images, mask = batch()
    compare(network.eval()(images, mask), reference_outputs(content["model"], 2, images, mask))


@pytest.mark.parametrize(
    ("sizes", "setting"),
    [(SMALL, "default"), (LARGE, "default"), (SMALL, "vcoco"), *((SMALL, s) for s in ZERO_SHOT)],
    ids=["S", "L", "V-COCO", *ZERO_SHOT],
)
def test_there_and_back_nothing_changes(tmp_path, sizes, setting):
    content = gen_vlkt_file(sizes, setting)
    before = content["model"]
    out = convert_content(tmp_path, content)
    _, config, state = read(out.path)
    assert config.decoder_layers == sizes.layers
    seen = seen_of(setting) if setting in ZERO_SHOT else None
    back = released_state(PATH, config, state, seen)
    assert back.keys() == before.keys()
    for name, tensor in back.items():
        if seen is not None and name == "visual_projection.bias":
            assert torch.equal(tensor, before["eval_visual_projection.bias"][seen])
        else:
            assert torch.equal(tensor, before[name]), name
    dropped = {"visual_projection.weight", "visual_projection.bias"} if seen is not None else set()
    assert set(out.dropped) == dropped
    again = convert_content(tmp_path, {**content, "model": back})
    assert all(torch.equal(tensor, state[name]) for name, tensor in read(again.path)[2].items())


def test_zero_shot_keeps_the_head_over_all_classes_and_its_own_bias(tmp_path):
    content = gen_vlkt_file(setting="unseen_verb")
    _, config, state = read(convert_content(tmp_path, content).path)
    assert config.gen_vlkt.classifiers == "frozen"
    for ours, theirs in (("table", "weight"), ("bias", "bias")):
        expected = content["model"][f"eval_visual_projection.{theirs}"]
        assert torch.equal(state[f"hoi_classifier.{ours}"], expected)
    network = GenVlkt(config, ClassEmbeddings.of_state(state))
    assert "hoi_classifier.table" not in dict(network.named_parameters())


@pytest.mark.parametrize("setting", setting_names())
def test_every_setting_is_told_from_its_rows(setting):
    state = gen_vlkt_state(setting=setting)
    for args in ({}, {"zero_shot_type": "default" if setting == "vcoco" else setting}):
        found = detect_gen_vlkt_setting(Checkpoint(PATH, state, args))
        assert found.name == setting
        assert found.vocabulary == (vcoco() if setting == "vcoco" else hico_det())
    other = "uc0" if setting != "uc0" else "default"
    with pytest.raises(WeightsError, match=f"of setting '{setting}', not of '{other}'"):
        detect_gen_vlkt_setting(Checkpoint(PATH, state, {}), other)
    if setting != "vcoco":
        with pytest.raises(WeightsError, match=rf"args say zero_shot_type 'x'.*'{setting}'"):
            detect_gen_vlkt_setting(Checkpoint(PATH, state, {"zero_shot_type": "x"}))


def test_rows_embedded_in_half_precision_twice_are_still_the_same():
    state = gen_vlkt_state(setting="non_rare_first")
    state["visual_projection.weight"] = state["visual_projection.weight"].half().float()
    assert detect_gen_vlkt_setting(Checkpoint(PATH, state, {})).name == "non_rare_first"
    state["visual_projection.weight"] = state["visual_projection.weight"].roll(1, 0)
    with pytest.raises(WeightsError, match="480 HOI classes with rows of their own and 81 objects"):
        detect_gen_vlkt_setting(Checkpoint(PATH, state, {}))


def test_the_header_says_what_makes_the_released_scores(tmp_path):
    header, config, _ = read(convert_content(tmp_path, gen_vlkt_file()).path)
    nms = {
        "threshold": 0.7, "human_power": 1.0, "object_power": 0.5, "plus_one_extents": True,
    }  # fmt: skip
    assert header["scores"] == {"nms": nms, "top_k": 100, "inclusive_boxes": True}
    assert header["inference_scale"] == 800
    assert header["transforms"]["max_side"] == 1333
    assert "/data/hico" not in json.dumps(header)
    assert (config.gen_vlkt.mimic, config.gen_vlkt.classifiers) == (20.0, "trained")
    args = {"thres_nms": 0.5, "nms_beta": 0.25, "with_mimic": False, "lr_clip": 1e-6}
    content = gen_vlkt_file(setting="vcoco", **args)
    header, config, _ = read(convert_content(tmp_path, content).path)
    assert header["scores"]["nms"] == nms | {"threshold": 0.5, "object_power": 0.25}
    assert not header["scores"]["inclusive_boxes"]
    assert (config.gen_vlkt.mimic, config.gen_vlkt.lr_classifiers) == (0.0, 1e-6)
    header, _, _ = read(convert_content(tmp_path, gen_vlkt_file(use_nms_filter=False)).path)
    assert header["scores"]["nms"]["threshold"] == 0


@pytest.mark.parametrize(("small", "rate"), [(True, 1e-6), (False, 2e-4)])
def test_tables_learn_at_the_small_rate_only_where_it_is_asked_for(tmp_path, small, rate):
    content = gen_vlkt_file(ft_clip_with_small_lr=small, lr_clip=1e-6, lr=2e-4)
    _, config, _ = read(convert_content(tmp_path, content).path)
    assert config.gen_vlkt.lr_classifiers == rate
    back = convert(tmp_path / "a.safetensors", tmp_path / "back.pth")
    assert convert(back.path, tmp_path / "again.safetensors").path
    assert read(tmp_path / "again.safetensors")[1] == config


def test_a_checkpoint_without_args_is_of_the_published_training(tmp_path):
    state = gen_vlkt_state(Sizes(width=64, heads=8), "rare_first")
    header, config, _ = read(convert_content(tmp_path, state).path)
    assert header["provenance"]["arguments"]["stated"] == {}
    assert config.detector.heads == 8
    assert config.gen_vlkt.classifiers == "frozen"


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("hoi_class_embedding", ("visual_projection",)),
        ("obj_class_embed", ("obj_visual_projection", "obj_class_fc")),
    ],
)
def test_the_baseline_without_text_tables_is_refused(tmp_path, name, gone):
    content = gen_vlkt_file()
    state = {n: t for n, t in content["model"].items() if not n.startswith(gone)}
    state |= {f"{name}.weight": torch.zeros(3, 12), f"{name}.bias": torch.zeros(3)}
    with pytest.raises(WeightsError, match=f"a GEN baseline, whose classifier {name} is not") as e:
        convert_content(tmp_path, {**content, "model": state})
    assert "\n" not in str(e.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


@pytest.mark.parametrize(
    ("setting", "change", "message"),
    [
        ("default", lambda s: s.update({"new.weight": torch.zeros(1)}), r"new\.weight belongs to"),
        ("default", lambda s: s.pop("logit_scale"), r"nothing fills model\.logit_scale"),
        ("default", lambda s: s.pop("visual_projection.bias"), r"nothing fills .*classifier\.bias"),
        ("default", lambda s: s.pop("visual_projection.weight"), r"visual_projection\.weight is m"),
        ("default", lambda s: s.pop("hoi_class_fc.1.bias"), r"nothing fills model\.hoi_projection"),
        ("default", lambda s: s.pop("transformer.interaction_decoder.norm.bias"), "nothing fills"),
        ("default", lambda s: s["logit_scale"].fill_(math.nan), r"logit_scale.*not finite"),
        (
            "default",
            lambda s: s.update({"hoi_class_fc.0.weight": torch.zeros(3, 3)}),
            r"hoi_projection\.0\.weight has shape \(3, 3\)",
        ),
        (
            "default",
            lambda s: s.update({"clip_model.visual.proj": torch.zeros(1)}),
            r"clip_model\.visual\.proj belongs to no known",
        ),
        ("rare_first", lambda s: s.pop("eval_visual_projection.weight"), "480 HOI classes with no"),
        ("rare_first", lambda s: s.pop("eval_visual_projection.bias"), "nothing fills"),
        (
            "unseen_verb",
            lambda s: s["obj_visual_projection.weight"].mul_(2),
            r"object_classifier\.classifier\.table are not .* CLIP's, as that of a frozen",
        ),
    ],
)
def test_whatever_does_not_fit_is_one_line_and_writes_nothing(tmp_path, setting, change, message):
    content = gen_vlkt_file(setting=setting)
    change(content["model"])
    with pytest.raises(WeightsError, match=message) as caught:
        convert_content(tmp_path, content)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"fix_clip": 1}, "args say fix_clip 1, expected bool"),
        ({"lr_clip": "1e-5"}, "args say lr_clip '1e-5', expected float"),
        ({"mimic_loss_coef": -1.0}, "its args make no training: mimic: -1"),
        ({"nheads": 3}, "heads: 3 do not divide width 16"),
    ],
)
def test_args_that_make_no_sense_are_one_line(tmp_path, args, message):
    with pytest.raises(WeightsError, match=message):
        convert_content(tmp_path, gen_vlkt_file(**args))


def test_kind_and_setting_are_checked(tmp_path):
    content = gen_vlkt_file(setting="unseen_object")
    done = convert_content(tmp_path, content, kind="gen_vlkt", setting="unseen_object")
    assert done.summary().startswith(f"{done.path}: from gen_vlkt, setting unseen_object\n  2 ten")
    with pytest.raises(WeightsError, match="its kind is 'gen_vlkt'"):
        convert_content(tmp_path, content, kind="official")
    with pytest.raises(WeightsError, match="of setting 'unseen_object', not of 'default'"):
        convert_content(tmp_path, content, setting="default")


def test_a_model_without_biases_gets_such_of_zero():
    network = fresh(classifiers="frozen", classifier_bias=False)
    config = config_of(classifiers="frozen", classifier_bias=False)
    back = released_state(PATH, config, network.state_dict(), seen=[0, 2, 5])
    assert back["eval_visual_projection.bias"].tolist() == [0.0] * 7
    assert back["obj_visual_projection.bias"].tolist() == [0.0] * 4
    rows = back["eval_visual_projection.weight"][[0, 2, 5]]
    assert torch.equal(back["visual_projection.weight"], rows)


@pytest.mark.parametrize(
    "switches", [{"guidance": "last"}, {"guidance": "none"}, {"position_guided": False}]
)
def test_what_the_released_code_does_not_have_does_not_go_back(switches):
    network = fresh(**switches)
    with pytest.raises(WeightsError, match="which the released code does not have"):
        released_state(PATH, config_of(**switches), network.state_dict())


@pytest.mark.parametrize("change", [{"stride": 8}, {"block": "basic"}])
def test_a_backbone_that_the_released_code_does_not_have_does_not_go_back(change):
    config = config_of()
    backbone = dataclasses.replace(config.detector.backbone, **change)
    changed = dataclasses.replace(
        config, detector=dataclasses.replace(config.detector, backbone=backbone)
    )
    ((name, value),) = change.items()
    with pytest.raises(WeightsError, match=f"a network with {name} {value}, which the released"):
        released_state(PATH, changed, fresh().state_dict())


def test_names_and_shapes_at_the_real_size():
    """The table of the release's tensors, read from its code, at ResNet-50."""
    shapes = gen_vlkt_shapes(REAL)
    assert shapes["visual_projection.weight"] == (600, 512)
    assert shapes["obj_visual_projection.weight"] == (81, 512)
    assert gen_vlkt_shapes(REAL, "vcoco")["visual_projection.weight"] == (263, 512)
    assert gen_vlkt_shapes(REAL, "vcoco")["obj_visual_projection.weight"] == (82, 512)
    frozen = re.compile(r"backbone\..*(bn\d|downsample\.1)\.")
    parameters = {name: shape for name, shape in shapes.items() if not frozen.match(name)}
    assert sum(math.prod(shape) for shape in parameters.values()) == 42_272_371


@pytest.mark.slow
@torch.no_grad()
def test_the_real_size_says_the_same(tmp_path):
    content = gen_vlkt_file(REAL)
    _, config, state = read(convert_content(tmp_path, content).path)
    network = GenVlkt(config, ClassEmbeddings.of_state(state))
    network.load_state_dict(state)
    images, mask = batch()
    found = network.eval()(images, mask)
    expected = reference_outputs(content["model"], REAL.heads, images, mask)
    for name in ("human_boxes_cxcywh", "object_boxes_cxcywh", "object_logits", "hoi_logits"):
        atol = 1e-4 if "boxes" in name else 1e-3
        values, wanted = getattr(found, name), getattr(expected, name)
        torch.testing.assert_close(values, wanted, atol=atol, rtol=0, msg=name)
