import dataclasses
from pathlib import Path

import pytest
import torch
import yaml
from fake_checkpoint import Sizes
from fake_gen_vlkt import SMALL, gen_vlkt_state
from gen_vlkt_networks import PAPER, PATH, RATES, batch, fresh, network_of
from gen_vlkt_reference import reference_outputs
from torch.nn import functional as F

from hoiclip.catalog.vocabularies import hico_det
from hoiclip.convert.gen_vlkt import gen_vlkt_key_map
from hoiclip.convert.pretrained.key_map import inverted
from hoiclip.core.config import from_mapping
from hoiclip.methods.gen_vlkt.build import starting_tables
from hoiclip.methods.gen_vlkt.model.config import GenVlktModelConfig
from hoiclip.methods.gen_vlkt.model.groups import gen_vlkt_groups
from hoiclip.methods.gen_vlkt.model.network import ClassEmbeddings, GenVlkt
from hoiclip.set_prediction.criterion import focal_loss

ROOT = Path(__file__).parents[3]
NAMES = (
    "hoi_logits", "object_logits", "human_boxes_cxcywh", "object_boxes_cxcywh",
    "interaction_features",
)  # fmt: skip


def compare(found, expected, atol=1e-5):
    for name in NAMES:
        values, wanted = getattr(found, name), getattr(expected, name)
        assert values.shape == wanted.shape
        torch.testing.assert_close(values, wanted, atol=atol, rtol=1e-5, msg=name)
    assert found.clip_similarity is None


@torch.no_grad()
@pytest.mark.parametrize("setting", ["default", "vcoco", "unseen_verb"])
@pytest.mark.parametrize("layers", [1, 3])
def test_the_network_says_what_its_transcription_says(setting, layers):
    sizes = Sizes(layers=layers)
    state = gen_vlkt_state(sizes, setting, seed=layers)
    images, mask = batch()
    compare(network_of(state, sizes)(images, mask), reference_outputs(state, 2, images, mask))


@torch.no_grad()
def test_images_of_one_size_need_no_mask():
    state = gen_vlkt_state()
    images, mask = batch()
    network = network_of(state)
    expected = reference_outputs(state, 2, images, torch.zeros_like(mask))
    compare(network(images, None), expected)
    padded = reference_outputs(state, 2, images, mask)
    assert (padded.hoi_logits - expected.hoi_logits).abs().max() > 1e-2


@torch.no_grad()
def test_padding_of_an_image_changes_nothing():
    """Masked in the encoder and in both decoders. The backbone's own padding is at a border."""
    network = fresh(sizes=Sizes(layers=3)).eval()
    memory = network.encoder(torch.randn(1, 3, 64, 96), torch.zeros(1, 64, 96, dtype=torch.bool))
    hidden = memory.padding_mask.clone()
    hidden[:, -2:] = True

    def decoded(tokens):
        seen = dataclasses.replace(memory, tokens=tokens, padding_mask=hidden)
        humans, objects = network.instance_decoder(seen)
        guide = network.guide(humans, objects)
        return humans, network.interaction_decoder(guide.detach().clone(), seen)

    changed = memory.tokens.clone()
    changed[:, -2:] += 10
    for a, b in zip(decoded(memory.tokens), decoded(changed), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    changed[:, 0] += 10
    assert not torch.allclose(decoded(changed)[1], decoded(memory.tokens)[1])


@torch.no_grad()
@pytest.mark.parametrize("guidance", ["per_layer", "last", "none"])
@pytest.mark.parametrize("position_guided", [True, False])
def test_every_variant_says_what_its_transcription_says(guidance, position_guided):
    sizes = Sizes(layers=3)
    network = fresh(sizes=sizes, guidance=guidance, position_guided=position_guided).eval()
    state = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    queries = state.pop("model.interaction_queries.weight", None)
    released = inverted(PATH, state, gen_vlkt_key_map(zero_shot=False)[0])
    released["interaction_queries.weight"] = queries
    if not position_guided:
        assert "pos_guided_embedd.weight" not in released
        released["pos_guided_embedd.weight"] = torch.zeros(sizes.queries, sizes.width)
    images, mask = batch()
    compare(network(images, mask), reference_outputs(released, 2, images, mask, guidance))


@torch.no_grad()
def test_variants_of_guidance_differ_from_the_first_layer_on_and_in_nothing_but_interactions():
    found = {}
    for guidance in ("per_layer", "last", "none"):
        torch.manual_seed(3)
        network = fresh(sizes=Sizes(layers=3), guidance=guidance).eval()
        if guidance != "per_layer":
            network.load_state_dict(found["per_layer"][0].state_dict(), strict=False)
        found[guidance] = network, network(*batch())
    base = found["per_layer"][1]
    for guidance in ("last", "none"):
        other = found[guidance][1]
        torch.testing.assert_close(other.human_boxes_cxcywh, base.human_boxes_cxcywh)
        torch.testing.assert_close(other.object_logits, base.object_logits)
        for layer in range(3):
            assert (other.hoi_logits[layer] - base.hoi_logits[layer]).abs().max() > 1e-2
    without = found["none"][1].hoi_logits
    assert (without[:, :, 0] - without[:, :, 1]).abs().max() > 1e-2


@pytest.mark.parametrize("guidance", ["per_layer", "last", "none"])
def test_the_hoi_loss_trains_the_instance_decoder_by_its_guidance(guidance):
    network = fresh(sizes=Sizes(layers=3), guidance=guidance).train()
    outputs = network(*batch())
    focal_loss(outputs.hoi_logits, torch.zeros_like(outputs.hoi_logits), 0.5, 2.0).sum().backward()
    gradients = {n: p.grad for n, p in network.instance_decoder.named_parameters()}
    decoder = {n: g for n, g in gradients.items() if n.startswith("decoder.layers.")}
    if guidance == "none":
        assert all(gradient is None for gradient in decoder.values())
        assert network.interaction_queries.weight.grad.abs().sum() > 0
        return
    for layer in range(3):
        weight = decoder[f"decoder.layers.{layer}.linear1.weight"]
        assert weight is not None
        assert weight.abs().sum() > 0
    assert gradients["position_guided.weight"].abs().sum() > 0
    assert gradients["human_box_head.layers.0.weight"] is None


def test_each_layer_is_guided_by_the_same_layer_of_instances():
    """A gradient of layer 0's interactions must reach no later layer of the instance decoder."""
    network = fresh(sizes=Sizes(layers=3)).eval()
    network(*batch()).hoi_logits[0].sum().backward()
    layers = network.instance_decoder.decoder.layers
    reached = [layer.linear1.weight.grad.abs().sum().item() > 0 for layer in layers]
    assert reached == [True, False, False]


def test_parameters_of_the_published_small_model():
    """All of them, and those without the backbone's stem and first stage (published: 42.05 M)."""
    params = yaml.safe_load((ROOT / "params/hico.yaml").read_text(encoding="utf-8"))["model"]
    sizes = {key: params[key] for key in ("num_queries", "decoder_layers", "detector")}
    switches = {"gen_vlkt": dataclasses.asdict(PAPER)}
    config = from_mapping(GenVlktModelConfig, sizes | switches, "model")
    vocabulary, width = hico_det(), 512
    with torch.device("meta"):
        hois = torch.empty(vocabulary.num_hois, width)
        objects = torch.empty(vocabulary.num_objects + 1, width)
        network = GenVlkt(config, ClassEmbeddings(hois, objects))
    gen_vlkt_groups(network, RATES, config.gen_vlkt)
    numbers = [(p.numel(), p.requires_grad) for p in network.parameters()]
    assert sum(number for number, _ in numbers) == 42_272_371
    assert sum(number for number, trained in numbers if trained) == 42_049_971


def test_tables_start_as_unit_rows_and_biases_at_zero():
    network = fresh()
    torch.manual_seed(0)
    hois, objects = torch.randn(7, SMALL.embed), torch.randn(4, SMALL.embed)
    for classifier, table in (
        (network.hoi_classifier, hois),
        (network.object_classifier.classifier, objects),
    ):
        torch.testing.assert_close(classifier.table.data, F.normalize(table, dim=-1))
        assert classifier.bias.tolist() == [0.0] * len(table)
    for scale in (network.logit_scale, network.object_classifier.logit_scale):
        assert scale.exp().item() == pytest.approx(1 / 0.07)


def test_trained_tables_are_not_normalised_again():
    network = fresh().eval()
    before = network(*batch())
    with torch.no_grad():
        network.hoi_classifier.table.mul_(2)
    after = network(*batch())
    torch.testing.assert_close(after.hoi_logits, 2 * before.hoi_logits)


def test_tables_start_from_texts_or_from_random_directions():
    tables = ClassEmbeddings(torch.ones(5, 3), torch.ones(2, 3))
    assert starting_tables(tables, PAPER) is tables
    torch.manual_seed(0)
    drawn = starting_tables(tables, dataclasses.replace(PAPER, classifier_start="random"))
    assert drawn.hoi_embeddings.shape == (5, 3)
    assert drawn.object_embeddings.shape == (2, 3)
    assert drawn.hoi_embeddings.unique().numel() == 15


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("classifiers", ["trained", "frozen"])
def test_tables_learn_at_their_own_rate_or_not_at_all(classifiers, bias):
    network = fresh(classifiers=classifiers, classifier_bias=bias).train()
    config = dataclasses.replace(PAPER, lr_classifiers=3e-5)
    groups = gen_vlkt_groups(network, RATES, config)
    name_of = {id(p): name for name, p in network.named_parameters()}
    names = [{name_of[id(p)] for p in group["params"]} for group in groups]
    assert [group["lr"] for group in groups][:2] == [1e-4, 1e-5]
    assert all(name.startswith("encoder.backbone.body.layer") for name in names[1])
    assert "logit_scale" in names[0]
    assert "object_classifier.logit_scale" in names[0]
    tables = {"hoi_classifier.table", "object_classifier.classifier.table"}
    biases = {"hoi_classifier.bias", "object_classifier.classifier.bias"} if bias else set()
    assert tables | biases <= set(network.state_dict())
    if classifiers == "trained":
        assert groups[2]["lr"] == 3e-5
        assert names[2] == tables | biases
    assert len(groups) == (3 if classifiers == "trained" else 2)
    assert not names[0] & (tables | biases)
    grouped = sum(len(group["params"]) for group in groups)
    assert grouped == sum(p.requires_grad for p in network.parameters())

    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.AdamW(groups, weight_decay=0.1)
    outputs = network(*batch())
    (outputs.hoi_logits.square().mean() + outputs.object_logits.square().mean()).backward()
    optimizer.step()
    after = network.state_dict()
    for name in tables | biases:
        assert torch.equal(before[name], after[name]) == (classifiers == "frozen"), name
    assert not torch.equal(before["hoi_projection.0.weight"], after["hoi_projection.0.weight"])


def test_a_rate_of_zero_freezes_the_tables():
    network = fresh()
    config = dataclasses.replace(PAPER, lr_classifiers=0.0)
    assert len(gen_vlkt_groups(network, RATES, config)) == 2
    assert not network.hoi_classifier.table.requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_the_network_compiles_to_one_graph_of_any_size(training):
    network = fresh().train(training)
    # This back end takes the graph as it is, so that no compiler is needed.
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    images, mask = batch()
    for given, hidden in ((images, mask), (images[..., :64], mask[..., :64])):
        torch.manual_seed(3)
        found = compiled(given, hidden)
        torch.manual_seed(3)
        compare(found, network(given, hidden))
