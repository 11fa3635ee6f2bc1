import json
from pathlib import Path

import pytest
import torch
from fake_checkpoint import REAL, Sizes, detr_shapes, random_state

from hoiclip.config import from_mapping
from hoiclip.convert.sniff import convert
from hoiclip.errors import WeightsError
from hoiclip.model.config import DetectorConfig
from hoiclip.model.detector_encoder import DetectorEncoder
from hoiclip.tensors import read_safetensors
from hoiclip.training.warm_start import DETR_KEY_MAP

SPEC = Path(__file__).parents[3] / "shared" / "spec"
LAYERS = 3


def small_detr():
    return random_state(detr_shapes(Sizes(heads=8), LAYERS))


def test_keeps_names_and_values_of_all_that_is_used(tmp_path):
    state = small_detr()
    torch.save({"model": state}, tmp_path / "detr.pth")
    out = convert(tmp_path / "detr.pth", tmp_path / "detr.safetensors")
    found, metadata = read_safetensors(out.path)
    assert set(out.dropped) == {"class_embed.weight", "class_embed.bias", "query_embed.weight"}
    assert set(found) == set(state) - set(out.dropped)
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.items())
    assert all(name.startswith(tuple(DETR_KEY_MAP)) for name in found)
    config = json.loads(metadata["provenance"])["model_detector"]
    detector = from_mapping(DetectorConfig, config, "model.detector")
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


def test_the_fake_has_the_layout_of_the_released_detr():
    path = SPEC / "detr_checkpoint_layout.json"
    if not path.exists():
        pytest.skip("the layout of the released checkpoints is not here")
    released = json.loads(path.read_text())["detr_resnet50_state_dict"]
    assert detr_shapes(REAL, 6) == {name: tuple(shape) for name, shape in released}
