import collections
import pickle
from pathlib import Path

import open_clip
import pytest
import torch
from fake_checkpoint import Sizes, detr_shapes, official_file, random_state
from safetensors.torch import save_file
from torch.nn import functional as F

from hoiclip.catalog.vocabularies import COCO_IDS, hico_det, vcoco
from hoiclip.checkpoints.clip import load_clip
from hoiclip.clip.encoder import build_clip
from hoiclip.convert.dispatch import convert
from hoiclip.convert.pretrained.detect import convert_file
from hoiclip.convert.pretrained.detr import check_detr_file
from hoiclip.core import schema
from hoiclip.errors import WeightsError
from hoiclip.model.tensors import read_safetensors
from hoiclip.verb_vectors.table import read_verb_vectors

CASE = Path(__file__).parents[3] / "shared/cases/convert-pre-2branch/detr-r50-pre-2branch-hico.pth"


@pytest.fixture
def vectors():
    torch.manual_seed(0)
    return F.normalize(torch.randn(hico_det().num_verbs, 8), dim=-1)


def test_verb_vectors_become_a_table(tmp_path, vectors):
    torch.save(vectors, tmp_path / "verb.pth")
    out = convert(tmp_path / "verb.pth", tmp_path / "verb.parquet")
    found = read_verb_vectors(out.path, "arithmetic", hico_det().num_verbs)
    assert (torch.from_numpy(found) == vectors).all()
    assert set(schema.read_table(out.path)["source"].to_pylist()) == {"released"}
    provenance = schema.read_provenance(out.path)
    assert provenance["accumulation"] == "released"
    assert provenance["source"] == "verb.pth"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v[:-1], r"shape \(116, 8\); verb vectors have 117 rows \(HICO-DET\) or 29"),
        (lambda v: v[0], r"shape \(8,\)"),
        (
            lambda v: v * torch.tensor([1.0] * 5 + [2.0] + [1.0] * 111)[:, None],
            "row 5 has length 2",
        ),
        (lambda v: v * float("nan"), "row 0 has length nan"),
    ],
)
def test_wrong_verb_vectors(tmp_path, vectors, change, message):
    torch.save(change(vectors), tmp_path / "verb.pth")
    with pytest.raises(WeightsError, match=message):
        convert(tmp_path / "verb.pth", tmp_path / "verb.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["verb.pth"]


STRANGE = {
    "sparse": lambda v: v.to_sparse(),
    "compressed": lambda v: v.to_sparse_csr(),
    "quantised": lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8),
    "complex": lambda v: v.to(torch.complex64),
    "without numbers": lambda v: v.to("meta"),
    "of a terabyte by one number": lambda v: v[:1, :1].expand(len(v), 1 << 40),
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.filterwarnings("ignore")
def test_a_tensor_that_is_no_plain_array(tmp_path, vectors, kind):
    tensor = STRANGE[kind](vectors)
    detr = {"model": {"transformer.decoder.norm.weight": tensor}}
    clip = {"visual.proj": tensor}
    for content, name in ((tensor, "out.parquet"), (detr, "out.safetensors")):
        torch.save(content, tmp_path / "source.pth")
        with pytest.raises(WeightsError, match="no plain array of real numbers"):
            convert(tmp_path / "source.pth", tmp_path / name)
    torch.save(clip, tmp_path / "source.pth")
    with pytest.raises(WeightsError, match="no plain array of real numbers"):
        load_clip(tmp_path / "source.pth", "ViT-B-32-quickgelu")
    assert [path.name for path in tmp_path.iterdir()] == ["source.pth"]


def test_released_vcoco_vectors_keep_their_lengths(tmp_path):
    """The released network starts from them as they are."""
    number = vcoco().num_verbs
    lengths = torch.linspace(0.4, 20.4, number)
    vectors = F.normalize(torch.randn(number, 8, dtype=torch.float64), dim=-1) * lengths[:, None]
    torch.save(vectors, tmp_path / "verb.pth")
    done = convert(tmp_path / "verb.pth", tmp_path / "verb.parquet")
    found = read_verb_vectors(done.path, "arithmetic", number)
    assert (torch.from_numpy(found) == vectors.float()).all()
    assert "lengths 0.4 to 20.4, kept" in done.summary()
    torch.save(F.normalize(vectors, dim=-1), tmp_path / "verb.pth")
    assert "lengths" not in convert(tmp_path / "verb.pth", tmp_path / "verb.parquet").summary()


@pytest.mark.parametrize(("value", "length"), [(0.0, "0"), (float("inf"), "inf")])
def test_a_vcoco_vector_without_a_direction_is_refused(tmp_path, value, length):
    vectors = torch.ones(vcoco().num_verbs, 8)
    vectors[3] = value
    torch.save(vectors, tmp_path / "verb.pth")
    with pytest.raises(WeightsError, match=f"row 3 has length {length}, expected more than 0"):
        convert(tmp_path / "verb.pth", tmp_path / "verb.parquet")


@pytest.mark.parametrize("wrapper", [None, "model", "model_state_dict", "state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_detr_is_found_under_the_usual_keys_and_prefixes(tmp_path, wrapper, prefix):
    state = random_state(detr_shapes(Sizes(heads=4), 2))
    content = {prefix + name: tensor for name, tensor in state.items()}
    if wrapper is not None:
        content = {"epoch": 3, wrapper: content, "optimizer": {}, "args": {"nheads": 4}}
    torch.save(content, tmp_path / "detr.pth")
    done = convert(tmp_path / "detr.pth", tmp_path / "detr.safetensors")
    assert done.kind == "detr"
    assert done.provenance["model_detector"]["heads"] == (8 if wrapper is None else 4)
    found, _ = read_safetensors(done.path)
    assert found
    for name in ("class_embed.weight", "class_embed.bias"):  # of COCO's ids that are classes
        state[name] = state[name][[*COCO_IDS, COCO_IDS[-1] + 1]]
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.items())


def start_weights(script):
    """What the scripts `convert_parameters.py` make of DETR's file."""
    state = random_state(detr_shapes(Sizes(heads=8), 2))
    for name in list(state):
        if name.startswith("transformer.decoder.") and script != "qpic":
            branches = {"gen-vlkt": ("instance_decoder", "interaction_decoder")}
            for branch in branches.get(script, ("decoder", "interaction_decoder")):
                state[name.replace("decoder", branch, 1)] = state[name]
            if script == "gen-vlkt":
                del state[name]
        if name.startswith("bbox_embed."):
            state |= {f"{who}_{name}": state[name] for who in ("hum", "sub", "obj")}
    state["obj_class_embed.weight"] = state["class_embed.weight"][:81]
    state["obj_class_embed.bias"] = state["class_embed.bias"][:81]
    return state


@pytest.mark.parametrize("script", ["gen-vlkt", "cdn", "qpic"])
def test_start_weights_of_other_networks_are_told(tmp_path, script):
    state = start_weights(script)
    torch.save({"model": state}, tmp_path / "a.pth")
    message = (
        r"DETR start weights made by convert_parameters\.py; give DETR's own file \(or convert it\)"
    )
    for kind in (None, "detr"):
        with pytest.raises(WeightsError, match=message):
            convert(tmp_path / "a.pth", tmp_path / "b.safetensors", kind=kind)
    save_file({name: tensor.clone() for name, tensor in state.items()}, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=message):
        check_detr_file(tmp_path / "a.safetensors")


@pytest.mark.skipif(not CASE.exists(), reason="needs the shared cases")
def test_the_reported_start_weights_are_told(tmp_path):
    with pytest.raises(WeightsError, match=r"made by convert_parameters\.py; give DETR's own file"):
        convert(CASE, tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


class Other:
    """A class of which no checkpoint may hold an object."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {
                "transformer.instance_decoder.norm.bias": torch.zeros(1),
                "transformer.interaction_decoder.norm.bias": torch.zeros(1),
            },
            r"tensor visual_projection\.weight is missing",
        ),
        (
            {
                "transformer.decoder.norm.bias": torch.zeros(1),
                "verb_class_embed.bias": torch.zeros(1),
            },
            "of QPIC or CDN",
        ),
        (
            {
                "transformer.decoder.norm.bias": torch.zeros(1),
                "transformer.level_embed": torch.zeros(1),
            },
            "Deformable DETR",
        ),
        (
            {
                "detr.bbox_embed.layers.0.bias": torch.zeros(1),
                "mask_head.lay1.bias": torch.zeros(1),
            },
            "panoptic segmentation",
        ),
        (
            {"model.backbone.a": torch.zeros(1), "class_labels_classifier.bias": torch.zeros(1)},
            "Hugging Face",
        ),
        ({"visual.conv1.weight": torch.zeros(1)}, r"names no model.*--clip-model"),
        ({"model": {"fc.weight": torch.zeros(1)}}, r"first tensor is fc\.weight"),
        ({"model": {}}, "holds no state dict .*bare or under model, model_state_dict, state_dict"),
        ({"model": {"fc.weight": 1}}, "holds no state dict"),
        ([1, 2], "holds no state dict"),
        ({"model": {}, "extra": Other()}, r"object of class .*Other"),
    ],
)
def test_other_files_are_told_apart(tmp_path, content, message):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=message) as caught:
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "a.pth") in str(caught.value)


def test_clip_weights_are_found_out_and_named(tmp_path, clip_config, monkeypatch):
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: dict(clip_config["model_cfg"]))
    state = build_clip(clip_config).state_dict()
    torch.save(state, tmp_path / "clip.pt")
    out = tmp_path / "clip.safetensors"
    done = convert(tmp_path / "clip.pt", out, clip_model="tiny")
    assert (done.kind, done.provenance["model"]) == ("clip", "tiny")
    assert load_clip(out).provenance["model"] == "tiny"
    found, _ = read_safetensors(out)
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.items())
    with pytest.raises(WeightsError, match=r"becomes a \.safetensors file"):
        convert(tmp_path / "clip.pt", tmp_path / "clip.bin", kind="clip", clip_model="tiny")


def test_broken_files(tmp_path, vectors):
    path, out = tmp_path / "a.pth", tmp_path / "a.parquet"
    with pytest.raises(WeightsError, match="a folder, expected a weight file"):
        convert(tmp_path, tmp_path / "out.safetensors")
    with pytest.raises(WeightsError, match="no such checkpoint"):
        convert(path, out)
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match="empty or truncated"):
        convert(path, out)
    torch.save(vectors, path)
    whole = path.read_bytes()
    for length in (4, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="truncated"):
            convert(path, out)
    path.write_bytes(b"no checkpoint at all")
    with pytest.raises(WeightsError, match="not a readable PyTorch checkpoint"):
        convert(path, out)
    path.write_bytes(pickle.dumps(print, protocol=2))
    with pytest.raises(WeightsError, match=r"a\.pth: holds an object of class .*print"):
        convert(path, out)
    assert not out.exists()


def test_the_format_before_zip_archives_is_read(tmp_path, vectors):
    torch.save(vectors, tmp_path / "verb.pth", _use_new_zipfile_serialization=False)
    assert convert(tmp_path / "verb.pth", tmp_path / "verb.parquet").kind == "verb"


def test_the_scheduler_state_that_torch_writes_is_read(tmp_path):
    torch.save({"model": {}, "lr_scheduler": collections.Counter({60: 1})}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="holds no state dict"):
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors")


def test_what_was_asked_for_is_checked(tmp_path, vectors):
    path = tmp_path / "verb.pth"
    torch.save(vectors, path)
    with pytest.raises(WeightsError, match=r"its kind is 'verb' \(released verb.*\), not 'detr'"):
        convert(path, tmp_path / "a.safetensors", kind="detr")
    with pytest.raises(
        WeightsError, match="kind 'dter'; known are official, gen_vlkt, detr, clip, verb"
    ):
        convert(path, tmp_path / "a.safetensors", kind="dter")
    with pytest.raises(WeightsError, match="has no setting"):
        convert(path, tmp_path / "a.parquet", setting="default")
    with pytest.raises(WeightsError, match=r"'verb' becomes a \.parquet file"):
        convert(path, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match="taken as it is"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors")


def test_a_whole_detector_is_no_start_for_training(tmp_path):
    """What weights.detector must not name: a released HOICLIP, before and after conversion."""
    torch.save(official_file(), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"'official' \(a released HOICLIP.*\), not 'detr'"):
        convert(tmp_path / "a.pth", tmp_path / "b.safetensors", kind="detr")
    model = convert(tmp_path / "a.pth", tmp_path / "a.safetensors").path
    with pytest.raises(WeightsError, match=r"a model file of a method .*weights\.detector names"):
        check_detr_file(model)
    save_file({"fc.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"no DETR \(tensor fc\.weight\)"):
        check_detr_file(tmp_path / "other.safetensors")
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(WeightsError, match="no DETR"):
        check_detr_file(tmp_path / "empty.safetensors")
    torch.save({"model": random_state(detr_shapes(Sizes(heads=8), 2))}, tmp_path / "detr.pth")
    check_detr_file(convert(tmp_path / "detr.pth", tmp_path / "detr.safetensors").path)


def test_a_model_of_a_method_is_refused_where_its_converter_is_not_at_hand(tmp_path):
    torch.save(official_file(), tmp_path / "a.pth")
    for kind in (None, "official"):
        with pytest.raises(WeightsError, match=r"HOICLIP checkpoint.*no such file is taken"):
            convert_file(tmp_path / "a.pth", tmp_path / "a.safetensors", {}, kind)
    with pytest.raises(WeightsError, match="its kind is 'official'"):
        convert_file(tmp_path / "a.pth", tmp_path / "a.safetensors", {}, "detr")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_a_converter_gets_checkpoint_place_and_setting(tmp_path):
    asked = []
    torch.save({"model": official_file()["model"]}, tmp_path / "a.pth")
    released = {"official": lambda *arguments: asked.append(arguments)}
    out = tmp_path / "a.safetensors"
    convert_file(tmp_path / "a.pth", out, released, setting="vcoco", dilation=True)
    ((checkpoint, place, setting),) = asked
    assert (place, setting, checkpoint.args["dilation"]) == (out, "vcoco", True)
