from pathlib import Path

import pytest
import torch

from hoiclip.convert.weights import WeightsConfig
from hoiclip.core.config import from_mapping
from hoiclip.detr.file import read_detr
from hoiclip.errors import WeightsError
from hoiclip.methods.hoiclip.model.config import ModelConfig
from hoiclip.methods.hoiclip.warm_start import WARM_START
from hoiclip.set_prediction.warm_start import DETR_KEY_MAP, warm_start_from_detr

ROOT = Path(__file__).parents[2]
PATH = Path("weights/detr.safetensors")


@pytest.fixture
def model(make_detector):
    return make_detector(seed=5).method.network


@pytest.fixture
def detr(toy):
    heads = {"class_embed.weight": torch.zeros(3, 16), "query_embed.weight": torch.zeros(9, 16)}
    surplus = {
        name.replace("layers.0.", "layers.2."): tensor
        for name, tensor in toy.detr.items()
        if name.startswith("transformer.decoder.layers.0.")
    }
    return toy.detr | heads | surplus


def test_fills_all_that_detr_has_and_nothing_else(model, detr):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    dropped = warm_start_from_detr(model, detr, PATH, WARM_START)
    prefixes = tuple(ours for group in DETR_KEY_MAP.values() for ours in group)
    after = model.state_dict()
    for name, tensor in after.items():
        if name.startswith(prefixes):
            (theirs, ours), *_ = (
                (t, o) for t, group in DETR_KEY_MAP.items() for o in group if name.startswith(o)
            )
            torch.testing.assert_close(tensor, detr[theirs + name.removeprefix(ours)])
        else:
            torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    fresh = {name.split(".")[0] for name in after if not name.startswith(prefixes)}
    assert {"hoi_classifier", "verb_classifier", "interaction_decoder"} <= fresh
    for queries in ("human_queries", "object_queries", "position_guided"):
        assert not f"instance_decoder.{queries}.weight".startswith(prefixes)
    surplus = {name for name in detr if name.startswith("transformer.decoder.layers.2.")}
    assert surplus
    assert set(dropped) == surplus | {"class_embed.weight", "query_embed.weight"}


def test_both_box_heads_start_from_the_one_of_detr(model, detr):
    warm_start_from_detr(model, detr, PATH, WARM_START)
    human, object_ = model.instance_decoder.human_box_head, model.instance_decoder.object_box_head
    for a, b in zip(human.parameters(), object_.parameters(), strict=True):
        torch.testing.assert_close(a, b)
        assert a.data_ptr() != b.data_ptr()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.update({"input_proj.weight": torch.zeros(2, 2)}),
            r"input_proj\.weight.*shape",
        ),
        (lambda s: s.pop("transformer.decoder.norm.bias"), r"nothing fills .*decoder\.norm\.bias"),
        (lambda s: s.pop("backbone.0.body.conv1.weight"), r"nothing fills .*conv1\.weight"),
        (lambda s: s.update({"head.weight": torch.zeros(1)}), r"head\.weight belongs to no part"),
        (lambda s: s.update({"bbox_embed.layers.7.bias": torch.zeros(1)}), "has no place"),
    ],
)
def test_whatever_does_not_fit_is_named_and_nothing_is_changed(model, detr, change, message):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    change(detr)
    with pytest.raises(WeightsError, match=f"{PATH}.*{message}"):
        warm_start_from_detr(model, detr, PATH, WARM_START)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_the_committed_weights_fit_the_committed_params(params, make_detector, monkeypatch):
    monkeypatch.chdir(ROOT)
    weights = from_mapping(WeightsConfig, params["weights"], "weights")
    own = {key: params["hoiclip"][key] for key in ("interaction", "verb")}
    config = from_mapping(ModelConfig, params["model"] | own, "model")
    path = Path(weights.raw, weights.detector)
    detr = read_detr(path, config.detector)
    warm_start_from_detr(make_detector(config).method.network, detr, path, WARM_START)
