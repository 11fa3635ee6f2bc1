import argparse
import dataclasses
import json
from pathlib import Path

import pytest
import torch
from fake_checkpoint import REAL, Sizes, detr_shapes, random_state
from safetensors.torch import save_file

from hoiclip.convert.dispatch import convert
from hoiclip.core.config import from_mapping
from hoiclip.datasets.toy import toy_vocabulary
from hoiclip.detr.file import DETR_HEADER, load_detr, read_detr
from hoiclip.errors import WeightsError
from hoiclip.methods.hoiclip.model.config import InteractionConfig, ModelConfig, VerbConfig
from hoiclip.methods.hoiclip.model.network import HOICLIP, ClassifierWeights
from hoiclip.methods.hoiclip.warm_start import WARM_START
from hoiclip.model.config import DetectorConfig
from hoiclip.model.detector_encoder import DetectorEncoder
from hoiclip.model.tensors import read_safetensors
from hoiclip.set_prediction.warm_start import (
    DETR_FRESH,
    DETR_KEY_MAP,
    warm_start_from_detr,
)

SPEC = Path(__file__).parents[3] / "shared" / "spec"
LAYERS = 3
HEADS = {"class_embed.weight", "class_embed.bias", "query_embed.weight"}


def small_detr():
    return random_state(detr_shapes(Sizes(heads=8), LAYERS))


def detector_config(stated, **of_training):
    """`model.detector` of what a header states."""
    return from_mapping(DetectorConfig, {"dropout": 0.1, **stated, **of_training}, "model.detector")


def test_keeps_names_and_values_of_all_that_is_used(tmp_path):
    state = small_detr()
    torch.save({"model": state}, tmp_path / "detr.pth")
    out = convert(tmp_path / "detr.pth", tmp_path / "detr.safetensors")
    found, metadata = read_safetensors(out.path)
    assert out.dropped == {}
    assert set(found) == set(state)
    other = {name for name, tensor in found.items() if not torch.equal(tensor, state[name])}
    assert other == {"class_embed.weight", "class_embed.bias"}
    assert all(name.startswith(tuple(DETR_KEY_MAP)) for name in found)
    config = json.loads(metadata["provenance"])["model_detector"]
    detector = detector_config(config)
    encoder = DetectorEncoder(detector)
    prefixes = {"backbone.0.": "backbone.", "input_proj.": "input_projection."}
    prefixes |= {"transformer.encoder.": "transformer."}
    renamed = {
        ours + name.removeprefix(theirs): tensor
        for theirs, ours in prefixes.items()
        for name, tensor in found.items()
        if name.startswith(theirs)
    }
    encoder.load_state_dict(renamed)


def test_the_class_head_gets_the_rows_of_the_names_and_nothing_last(tmp_path):
    state = small_detr()
    # Each bias is its COCO id; ids by COCO's own list.
    state["class_embed.bias"] = torch.arange(92.0)
    torch.save({"model": state}, tmp_path / "detr.pth")
    out = convert(tmp_path / "detr.pth", tmp_path / "detr.safetensors")
    found, _ = read_safetensors(out.path)
    objects, ids = out.provenance["objects"], found["class_embed.bias"].int().tolist()
    named = dict(zip(objects, ids, strict=False))
    expected = {"person": 1, "fire_hydrant": 11, "stop_sign": 13, "bench": 15, "toothbrush": 90}
    assert {name: named[name] for name in expected} == expected
    assert len(ids) == len(objects) + 1
    assert ids[-1] == 91
    rows = state["class_embed.weight"][torch.tensor(ids)]
    assert torch.equal(found["class_embed.weight"], rows)


@pytest.mark.parametrize("rows", [81, 91, 93])
def test_a_head_of_unknown_classes_is_left_out_with_its_queries(tmp_path, rows):
    state = small_detr()
    width = state["class_embed.weight"].shape[1]
    state |= {"class_embed.weight": torch.zeros(rows, width), "class_embed.bias": torch.zeros(rows)}
    torch.save({"model": state}, tmp_path / "detr.pth")
    out = convert(tmp_path / "detr.pth", tmp_path / "detr.safetensors")
    assert set(out.dropped) == HEADS
    assert out.provenance["objects"] is None
    detector = detector_config(out.provenance["model_detector"])
    with pytest.raises(WeightsError, match="a DETR without its own class_embed"):
        load_detr(out.path, detector, None)


def test_a_converted_detr_detects_what_the_released_one_would(tmp_path):
    state = small_detr()
    torch.save({"model": state}, tmp_path / "detr.pth")
    out = convert(tmp_path / "detr.pth", tmp_path / "detr.safetensors")
    detector = detector_config(out.provenance["model_detector"])
    detr = load_detr(out.path, detector, None)
    assert list(detr.objects) == out.provenance["objects"]
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        outputs = detr.model(images)
        assert outputs.features.shape == (LAYERS, 2, 100, detector.width)
        # By the checkpoint's own numbers: COCO's ids, then 'nothing'.
        logits = outputs.features @ state["class_embed.weight"].T + state["class_embed.bias"]
    torch.testing.assert_close(outputs.logits[..., 0], logits[..., 1])
    torch.testing.assert_close(outputs.logits[..., -1], logits[..., 91])
    few = load_detr(out.path, detector, 7).model(images)
    assert few.boxes_cxcywh.shape == (LAYERS, 2, 7, 4)
    with pytest.raises(WeightsError, match="a DETR of 100 queries, 101 are asked for"):
        load_detr(out.path, detector, 101)


OF_TRAINING = {"dropout": 0.3, "checkpoint_encoder": True}


def test_settings_of_training_are_free_of_what_a_file_states(tmp_path):
    torch.save({"model": small_detr()}, tmp_path / "detr.pth")
    out = convert(tmp_path / "detr.pth", tmp_path / "detr.safetensors")
    stated = out.provenance["model_detector"]
    assert not stated.keys() & OF_TRAINING.keys()
    config = detector_config(stated, **OF_TRAINING)
    read_detr(out.path, config)
    load_detr(out.path, config, None)
    # Earlier versions stated them.
    tensors, metadata = read_safetensors(out.path)
    provenance = json.loads(metadata[DETR_HEADER])
    provenance["model_detector"] |= {"dropout": 0.1, "checkpoint_encoder": False}
    old = tmp_path / "old.safetensors"
    save_file(tensors, old, {DETR_HEADER: json.dumps(provenance)})
    assert read_detr(old, config).keys() == tensors.keys()
    provenance["model_detector"] |= {"width": 1, "dropout": 0.1}
    save_file(tensors, old, {DETR_HEADER: json.dumps(provenance)})
    with pytest.raises(WeightsError, match=r"a DETR with width 1, model\.detector\.width"):
        read_detr(old, config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update({"mask_head.weight": torch.zeros(1)}), r"mask_head\.weight belongs"),
        (lambda s: s.pop("transformer.decoder.norm.bias"), r"nothing fills .*decoder\.norm\.bias"),
        (lambda s: s.pop("backbone.0.body.bn1.running_var"), r"nothing fills .*bn1\.running_var"),
        (lambda s: s.update({"bbox_embed.layers.2.bias": torch.zeros(5)}), r"shape \(5,\)"),
    ],
)
def test_whatever_does_not_fit_is_named_and_nothing_is_written(tmp_path, change, message):
    state = small_detr()
    change(state)
    torch.save({"model": state}, tmp_path / "detr.pth")
    with pytest.raises(WeightsError, match=message):
        convert(tmp_path / "detr.pth", tmp_path / "detr.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["detr.pth"]


@pytest.mark.parametrize(
    ("blocks", "said", "asked", "stride"),
    [
        ((3, 4, 6, 3), {}, None, 32),
        ((3, 4, 23, 3), {}, None, 32),
        ((3, 4, 6, 3), {}, True, 16),
        ((3, 4, 23, 3), {"dilation": True}, None, 16),
        ((3, 4, 23, 3), {"dilation": False}, False, 32),
    ],
    ids=["R50", "R101", "R50-DC5", "R101-DC5 that says so", "R101 twice said"],
)
def test_every_released_detr(tmp_path, blocks, said, asked, stride):
    content = {"model": random_state(detr_shapes(Sizes(heads=8, blocks=blocks), LAYERS))}
    if said:
        content["args"] = argparse.Namespace(**said)
    torch.save(content, tmp_path / "detr.pth")
    out = convert(tmp_path / "detr.pth", tmp_path / "detr.safetensors", "detr", dilation=asked)
    backbone = out.provenance["model_detector"]["backbone"]
    assert backbone["layers"] == list(blocks)
    assert backbone["block"] == "bottleneck"
    assert backbone["stride"] == stride
    stated = out.provenance["arguments"]["stated"]
    assert ("dilation" in stated) == (bool(said) or asked is not None)


def test_contradicting_words_about_dilation(tmp_path):
    content = {"model": small_detr(), "args": argparse.Namespace(dilation=False)}
    torch.save(content, tmp_path / "detr.pth")
    with pytest.raises(WeightsError, match="args say dilation False, not True"):
        convert(tmp_path / "detr.pth", tmp_path / "detr.safetensors", dilation=True)
    assert [path.name for path in tmp_path.iterdir()] == ["detr.pth"]


def check_warm_start(state, path, detector, decoder_layers, queries, clip_width, embed):
    """A model warm-started from the converted file `path` has DETR's tensors and no others."""
    vocabulary = toy_vocabulary()
    config = ModelConfig(
        num_queries=queries,
        decoder_layers=decoder_layers,
        detector=detector_config(detector),
        interaction=InteractionConfig(
            clip_attention="shared", mask_detector_memory=True, heads=8, feed_forward=32,
            dropout=0.1,
        ),
        verb=VerbConfig(representation="none", weight=0.5, adapter_hidden=8),
    )  # fmt: skip
    tables = ClassifierWeights(
        torch.randn(vocabulary.num_hois, embed),
        torch.randn(vocabulary.num_objects + 1, embed),
        torch.from_numpy(vocabulary.verb_to_hoi),
    )
    model = HOICLIP(config, tables, torch.randn(clip_width, embed))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    dropped = warm_start_from_detr(model, read_detr(path, config.detector), path, WARM_START)
    backbone = dataclasses.replace(config.detector.backbone, stride=8)
    other = dataclasses.replace(config.detector, backbone=backbone)
    with pytest.raises(WeightsError, match=r"a DETR with backbone .*model\.detector\.backbone"):
        read_detr(path, other)
    _, metadata = read_safetensors(path)
    assert json.loads(metadata["provenance"])["fresh"] == DETR_FRESH
    heads = ["instance_decoder.human_box_head.", "instance_decoder.object_box_head."]
    places = {
        "backbone.0.": ["encoder.backbone."],
        "input_proj.": ["encoder.input_projection."],
        "transformer.encoder.": ["encoder.transformer."],
        "transformer.decoder.": ["instance_decoder.decoder."],
        "bbox_embed.": heads,
    }
    after, filled = model.state_dict(), set()
    for name, tensor in state.items():
        prefix = next((p for p in places if name.startswith(p)), None)
        layer = name.removeprefix("transformer.decoder.layers.").split(".")[0]
        if prefix is None or (layer.isdigit() and int(layer) >= decoder_layers):
            continue
        for ours in places[prefix]:
            filled.add(ours + name.removeprefix(prefix))
            assert torch.equal(after[ours + name.removeprefix(prefix)], tensor), name
    rest = set(after) - filled
    assert {name.split(".")[0] for name in rest} == {
        "instance_decoder", "interaction_decoder", "object_classifier", "hoi_classifier",
        "visual_projection", "logit_scale",
    }  # fmt: skip
    queries_of_pairs = {"human_queries.weight", "object_queries.weight", "position_guided.weight"}
    assert {n for n in rest if n.startswith("instance_decoder.")} == {
        f"instance_decoder.{name}" for name in queries_of_pairs
    }
    assert all(torch.equal(after[name], before[name]) for name in rest)
    return dropped


def test_a_converted_detr_is_what_training_starts_from(tmp_path):
    state = small_detr()
    torch.save({"model": state}, tmp_path / "detr.pth")
    out = convert(tmp_path / "detr.pth", tmp_path / "detr.safetensors")
    detector = out.provenance["model_detector"]
    dropped = check_warm_start(state, out.path, detector, 2, 5, 16, 8)
    assert {"transformer.decoder.layers.2.norm1.bias", *HEADS} <= set(dropped)
    assert all(name.startswith("transformer.decoder.layers.2.") for name in {*dropped} - HEADS)


@pytest.mark.slow
def test_detr_r50_at_its_real_size_is_what_training_starts_from(tmp_path):
    state = random_state(detr_shapes(REAL, 6))
    torch.save({"model": state}, tmp_path / "detr.pth")
    out = convert(tmp_path / "detr.pth", tmp_path / "detr.safetensors")
    detector = out.provenance["model_detector"]
    assert detector == {
        "backbone": {
            "block": "bottleneck", "layers": [3, 4, 6, 3], "channels": [64, 128, 256, 512],
            "stride": 32,
        },
        "width": 256, "encoder_layers": 6, "heads": 8, "feed_forward": 2048,
    }  # fmt: skip
    dropped = check_warm_start(state, out.path, detector, 3, 64, 768, 512)
    assert {name.split(".")[3] for name in {*dropped} - HEADS} == {"3", "4", "5"}


def test_the_fake_has_the_layout_of_the_released_detr():
    path = SPEC / "detr_checkpoint_layout.json"
    if not path.exists():
        pytest.skip("the layout of the released checkpoints is not here")
    released = json.loads(path.read_text())["detr_resnet50_state_dict"]
    assert detr_shapes(REAL, 6) == {name: tuple(shape) for name, shape in released}
