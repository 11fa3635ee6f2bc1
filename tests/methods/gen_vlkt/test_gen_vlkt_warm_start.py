import pytest
import torch
from fake_checkpoint import Sizes, detr_shapes, random_state
from gen_vlkt_networks import PATH, fresh

from hoiclip.errors import WeightsError
from hoiclip.methods.gen_vlkt.warm_start import WARM_START
from hoiclip.set_prediction.warm_start import warm_start_from_detr


def test_both_decoders_start_from_the_first_layers_of_detr_and_its_norm():
    network, state = fresh(), random_state(detr_shapes(Sizes(), 3))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    dropped = warm_start_from_detr(network, state, PATH, WARM_START)
    after = network.state_dict()
    for ours in ("instance_decoder.decoder.", "interaction_decoder."):
        names = [name for name in after if name.startswith(ours)]
        assert any(name.endswith("layers.1.multihead_attn.in_proj_weight") for name in names)
        assert f"{ours}norm.weight" in names
        for name in names:
            expected = state[f"transformer.decoder.{name.removeprefix(ours)}"]
            assert torch.equal(after[name], expected), name
    for name, tensor in after.items():
        kept = name.startswith(tuple(WARM_START.fresh))
        assert torch.equal(tensor, before[name]) == kept, name
    fresh_parts = {name.split(".")[0] for name in after if name.startswith(tuple(WARM_START.fresh))}
    expected = {"hoi_classifier", "hoi_projection", "logit_scale", "object_classifier"}
    assert fresh_parts - {"instance_decoder"} == expected
    surplus = {name for name in state if name.startswith("transformer.decoder.layers.2.")}
    assert set(dropped) == surplus | {
        "class_embed.weight",
        "class_embed.bias",
        "query_embed.weight",
    }


def test_the_decoders_share_no_memory():
    network = fresh()
    warm_start_from_detr(network, random_state(detr_shapes(Sizes(), 2)), PATH, WARM_START)
    layers = network.instance_decoder.decoder.layers, network.interaction_decoder.layers
    a, b = (each[0].linear1.weight for each in layers)
    assert torch.equal(a, b)
    assert a.data_ptr() != b.data_ptr()


@pytest.mark.parametrize("guidance", ["per_layer", "none"])
def test_variants_start_too(guidance):
    network = fresh(guidance=guidance, position_guided=False)
    warm_start_from_detr(network, random_state(detr_shapes(Sizes(), 2)), PATH, WARM_START)


def test_a_detr_with_too_few_layers_is_refused_and_changes_nothing():
    network = fresh(sizes=Sizes(layers=3))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(WeightsError, match=r"nothing fills instance_decoder\.decoder\.layers\.2"):
        warm_start_from_detr(network, random_state(detr_shapes(Sizes(), 2)), PATH, WARM_START)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
