"""Converted files predict, and go back under the released names."""

import dataclasses
import json

import pytest
import torch
from distill_method_world import make_method
from fake_checkpoint import Sizes
from fake_gen_vlkt import LARGE, SMALL, gen_vlkt_file, seen_of
from gen_vlkt_networks import PATH, config_of, fresh
from PIL import Image

from hoiclip.batches.transforms import TransformsConfig
from hoiclip.catalog.vocabularies import hico_det
from hoiclip.checkpoints.pytorch import checkpoint_of, load_pickle
from hoiclip.cli import main
from hoiclip.contract.model_file import Detector, load_detector
from hoiclip.convert.dispatch import convert
from hoiclip.core.schema import PREDICTIONS, read_table
from hoiclip.datasets.toy import toy_vocabulary
from hoiclip.errors import WeightsError
from hoiclip.methods.gen_vlkt.model.method import GenVlktMethod
from hoiclip.methods.registry import method_named
from hoiclip.model.tensors import HEADER_KEY, read_safetensors

TRANSFORMS = TransformsConfig(
    flip=0.5, color_jitter=0.4, scales=[64], crop_scales=[], crop_sides=[384, 600], max_side=100,
    test_scale=64,
)  # fmt: skip


def there_and_back(folder, content):
    """Released file, its model file, and the released file made of that."""
    torch.save(content, folder / "a.pth")
    made = convert(folder / "a.pth", folder / "a.safetensors")
    return made, convert(folder / "a.safetensors", folder / "back.pth")


@pytest.mark.parametrize(
    ("sizes", "setting", "args"),
    [
        (SMALL, "default", {}),
        (SMALL, "vcoco", {"use_nms_filter": False}),
        (SMALL, "unseen_verb", {}),
        (LARGE, "default", {"thres_nms": 0.6, "mimic_loss_coef": 5.0, "dilation": True}),
    ],
)
def test_a_file_goes_back_to_what_it_was_made_of(tmp_path, sizes, setting, args):
    content = gen_vlkt_file(sizes, setting, **args)
    _, back = there_and_back(tmp_path, content)
    assert (back.setting, back.notes) == (setting, [])
    found = checkpoint_of(PATH, load_pickle(back.path))
    assert found.state.keys() == content["model"].keys()
    for name, tensor in found.state.items():
        if setting == "unseen_verb" and name == "visual_projection.bias":
            expected = content["model"]["eval_visual_projection.bias"][seen_of(setting)]
        else:
            expected = content["model"][name]
        assert torch.equal(tensor, expected), name
    for name, value in vars(content["args"]).items():
        assert found.args.get(name, value) == value, name
    again = convert(back.path, tmp_path / "again.safetensors")
    assert again.setting == setting
    headers, tensors = [], []
    for name in ("a", "again"):
        state, metadata = read_safetensors(tmp_path / f"{name}.safetensors")
        headers.append(json.loads(metadata[HEADER_KEY]))
        tensors.append(state)
    for key in ("method", "config", "scoring", "scores", "vocabulary", "transforms"):
        assert headers[0][key] == headers[1][key], key
    assert tensors[0].keys() == tensors[1].keys()
    assert all(torch.equal(tensor, tensors[1][name]) for name, tensor in tensors[0].items())


@pytest.mark.parametrize("setting", ["default", "rare_first"])
def test_a_converted_file_predicts(tmp_path, setting):
    torch.save(gen_vlkt_file(Sizes(queries=5), setting), tmp_path / "a.pth")
    made = convert(tmp_path / "a.pth", tmp_path / "a.safetensors").path
    state, _ = read_safetensors(made)
    assert {name.split(".")[0] for name in state} == {"model"}
    detector = load_detector(made, method_named)
    assert (detector.method.title, detector.vocabulary) == ("GEN-VLKT", hico_det())
    Image.new("RGB", (90, 70), (200, 30, 60)).save(tmp_path / "photo.png")
    out = tmp_path / "out"
    arguments = ["--weights", str(made), "--out", str(out), "--device", "cpu", "--threads", "1"]
    assert main(["predict", str(tmp_path / "photo.png"), *arguments, "--no-pictures"]) == 0
    rows = read_table(out / "predictions.parquet", PREDICTIONS)
    assert len(rows) > 0
    scores = [rows[key].to_numpy() for key in ("hoi_score", "object_score", "score")]
    assert scores[0] + scores[1] ** 2 == pytest.approx(scores[2], abs=1e-6)


def saved(folder, vocabulary, scores=None, **switches):
    """A model file of a network that was trained here: nothing says its setting."""
    objects = vocabulary.num_objects + vocabulary.has_missing_objects + 1
    network = fresh(hois=vocabulary.num_hois, objects=objects, **switches)
    method = GenVlktMethod(network.eval(), vocabulary, config_of(**switches))
    Detector(method, TRANSFORMS, scores or {}, {"steps": 1}).save(folder / "own.safetensors")
    return folder / "own.safetensors"


def test_a_network_that_was_trained_here_takes_the_setting_that_is_named(tmp_path):
    frozen = {"classifiers": "frozen", "classifier_bias": False}
    path = saved(tmp_path, hico_det(), **frozen)
    for setting in ("rare_first", "default"):
        done = convert(path, tmp_path / f"{setting}.pth", setting=setting)
        state = torch.load(done.path, weights_only=False)["model"]
        rows = len(seen_of("rare_first")) if setting == "rare_first" else hico_det().num_hois
        assert len(state["visual_projection.weight"]) == rows
        assert ("eval_visual_projection.weight" in state) == (setting == "rare_first")
        assert convert(done.path, tmp_path / f"{setting}.safetensors").setting == setting
    assert convert(path, tmp_path / "none.pth").setting == "default"


def test_suppression_that_is_stated_in_part_is_filled_up(tmp_path):
    path = saved(tmp_path, hico_det(), {"nms": {"threshold": 0.5}})
    said = torch.load(convert(path, tmp_path / "a.pth").path, weights_only=False)["args"]
    assert (said.thres_nms, said.nms_alpha, said.nms_beta) == (0.5, 1.0, 0.5)
    assert said.use_nms_filter


@pytest.mark.parametrize("nms", [0.5, {"threshold": "high"}, {"limit": 0.5}])
def test_suppression_that_is_none_is_refused(tmp_path, nms):
    with pytest.raises(WeightsError, match=r"own\.safetensors: scores\.nms"):
        convert(saved(tmp_path, hico_det(), {"nms": nms}), tmp_path / "a.pth")


def test_what_the_released_form_cannot_hold_is_said(tmp_path, capsys):
    switches = {
        "classifier_bias": False, "mimic_layers": "last", "classifier_start": "random",
    }  # fmt: skip
    path = saved(tmp_path, hico_det(), **switches)
    assert main(["convert", str(path), str(tmp_path / "back.pth")]) == 0
    head, *notes = capsys.readouterr().out.splitlines()
    assert head.endswith("back.pth: from a model file of GEN-VLKT, setting default")
    assert [note.split(":")[:2] for note in notes] == [
        ["  not held", f" {name}"]
        for name in ("nms", "top_k", "inclusive_boxes", "sizes of images", *switches)
    ]
    assert "inclusive_boxes: not stated here, comes back as True" in notes[2]
    assert "'test_scale': 64, 'max_side': 100, 'inference_scale': 64} here" in notes[3]


def test_scores_of_the_file_that_are_lost_are_said(tmp_path):
    made, _ = there_and_back(tmp_path, gen_vlkt_file())
    detector = load_detector(made.path, method_named)
    nms = detector.scores["nms"] | {"plus_one_extents": False, "threshold": 0.5}
    changed = dataclasses.replace(
        detector,
        scores={"nms": nms, "top_k": 50, "inclusive_boxes": False},
        transforms=dataclasses.replace(detector.transforms, test_scale=0),
        inference_scale=640,
    )
    changed.save(tmp_path / "changed.safetensors")
    notes = convert(tmp_path / "changed.safetensors", tmp_path / "changed.pth").notes
    assert [note.split(":")[1] for note in notes] == [
        " nms", " top_k", " inclusive_boxes", " sizes of images",
    ]  # fmt: skip
    assert (
        "'threshold': 0.5" in notes[0].split(" here, ")[1]
    )  # args hold it; the extents they do not
    assert notes[1:3] == [
        "not held: top_k: 50 here, comes back as 100",
        "not held: inclusive_boxes: False here, comes back as True",
    ]
    assert "'test_scale': 0, 'max_side': 1333, 'inference_scale': 640} here" in notes[3]


def test_another_setting_than_the_stated_one_does_not_go_back(tmp_path):
    made, _ = there_and_back(tmp_path, gen_vlkt_file(setting="rare_first"))
    for asked in ("default", "uc0"):
        with pytest.raises(WeightsError, match=f"setting 'rare_first', not of '{asked}'"):
            convert(made.path, tmp_path / "other.pth", setting=asked)
    assert not (tmp_path / "other.pth").exists()
    assert convert(made.path, tmp_path / "b.pth", setting="rare_first").setting == "rare_first"


@pytest.mark.parametrize(
    ("out", "options", "message"),
    [
        ("back.pth", {"kind": "gen_vlkt"}, "says what it is; leave kind out"),
        ("back.pth", {"dilation": False}, "says what it is; leave dilation out"),
        ("back.pth", {"clip_model": "x", "kind": "clip"}, "leave kind and clip_model out"),
        ("back.pt", {}, r"back\.pt: a model file becomes a \.pth file; name it so"),
    ],
)
def test_what_does_not_hold_on_the_way_back_is_refused(tmp_path, out, options, message):
    path = saved(tmp_path, hico_det())
    with pytest.raises(WeightsError, match=message):
        convert(path, tmp_path / out, **options)
    assert not (tmp_path / out).exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (None, "its classes are not those of setting 'default'"),
        ("vcoco", "its classes are not those of setting 'vcoco'"),
        ("none", "unknown setting 'none'"),
    ],
)
def test_other_classes_do_not_go_back(tmp_path, setting, message):
    path = saved(tmp_path, toy_vocabulary())
    with pytest.raises(WeightsError, match=message):
        convert(path, tmp_path / "back.pth", setting=setting)
    assert not (tmp_path / "back.pth").exists()


@pytest.mark.parametrize("title", ["HOICLIP", "CLIP distillation (after Wan & Tuytelaars)"])
def test_a_model_of_another_method_does_not_go_back(tmp_path, make_detector, clip_config, title):
    detector = make_detector()
    if title != "HOICLIP":
        detector = dataclasses.replace(detector, method=make_method(clip_config))
    path = tmp_path / "other.safetensors"
    detector.save(path)
    with pytest.raises(WeightsError) as info:
        convert(path, tmp_path / "back.pth")
    assert str(info.value) == (
        f"{path}: a model file of {title}; the way back to a released checkpoint exists for "
        "GEN-VLKT's model files alone. `hoiclip predict --weights` takes this one as it is"
    )
    assert not (tmp_path / "back.pth").exists()
