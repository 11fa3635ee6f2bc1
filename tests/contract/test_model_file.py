import dataclasses
import errno
import gzip
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hoiclip.contract.model_file import FORMAT, LARGEST_SCALE, load_detector
from hoiclip.errors import WeightsError
from hoiclip.methods.hoiclip.model.config import Scoring
from hoiclip.methods.registry import method_named
from hoiclip.model.tensors import HEADER_KEY, read_safetensors

# Of random weights, written before model files stated the scale that they infer at.
WITHOUT_SCALE = Path(__file__).parent / "files/toy_model_format1.safetensors.gz"


@torch.no_grad()
def outputs_of(detector):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 64, 64, generator=generator)
    features = detector.method.clip.encode_image_tokens(
        torch.randn(2, 3, 32, 32, generator=generator)
    )
    return detector.method.network(images, None, *features)


@pytest.fixture
def kinds(make_detector, model_config):
    vocabulary = make_detector().vocabulary
    none = dataclasses.replace(
        model_config, verb=dataclasses.replace(model_config.verb, representation="none")
    )
    return {
        "full": make_detector(),
        "without verbs": make_detector(none),
        "with biases": make_detector(
            hoi_bias=torch.randn(vocabulary.num_hois),
            object_bias=torch.randn(vocabulary.num_objects + 1),
        ),
    }


@pytest.mark.parametrize("kind", ["full", "without verbs", "with biases"])
def test_a_saved_detector_returns_with_all_it_needs(tmp_path, kinds, kind):
    scores = {"top_k": 7}
    detector = dataclasses.replace(kinds[kind], scores=scores)
    path = tmp_path / "model.safetensors"
    detector.save(path)
    torch.manual_seed(99)
    loaded = load_detector(path, method_named)
    for found, expected in zip(
        vars(outputs_of(loaded)).values(), vars(outputs_of(detector)).values(), strict=True
    ):
        assert (found is None) == (expected is None)
        if found is not None:
            torch.testing.assert_close(found, expected, rtol=0, atol=0)
    for name in ("vocabulary", "transforms", "scores", "provenance"):
        assert getattr(loaded, name) == getattr(detector, name)
    for name in ("name", "config", "scoring"):
        assert getattr(loaded.method, name) == getattr(detector.method, name)
    assert not loaded.method.network.training
    assert not any(p.requires_grad for p in loaded.method.clip.parameters())


def test_others_may_read_the_file(tmp_path, make_detector):
    make_detector().save(tmp_path / "a")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_equal_detectors_are_equal_bytes(tmp_path, make_detector):
    for name in ("a", "b"):
        make_detector().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.fixture
def saved(tmp_path, make_detector):
    path = tmp_path / "model.safetensors"
    make_detector().save(path)
    return path


def rewrite(path, header=None, tensors=None):
    """Changes the header (a function on its dictionary) or the tensors (likewise)."""
    state, metadata = load_file(path), read_safetensors(path)[1]
    content = json.loads(metadata[HEADER_KEY])
    if header is not None:
        header(content)
    if tensors is not None:
        tensors(state)
    save_file(state, path, {HEADER_KEY: json.dumps(content)})


NAN, INF = float("nan"), float("inf")


def vision(header):
    return header["clip"]["model_cfg"]["vision_cfg"]


@pytest.mark.parametrize(
    "header",
    ["", "{", "[]", "7", "null", "\"text\"", "[" * 100_000, "[" * 9999 + "]" * 9999, "9" * 5000,
     "\ud800", "{\"format\": 1}", "{\"format\": NaN}", "{\"format\": [1]}"],
)  # fmt: skip
def test_a_header_of_another_kind_is_one_line(saved, header):
    save_file(load_file(saved), saved, {HEADER_KEY: header.encode("utf-8", "replace").decode()})
    with pytest.raises(WeightsError) as info:
        load_detector(saved, method_named)
    assert str(info.value).startswith(f"{saved}: ")
    assert "\n" not in str(info.value)
    assert len(str(info.value)) < 500


@pytest.mark.parametrize("keep", [0, 5, 1000, -100])
def test_a_file_cut_short_is_named(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="not a readable safetensors file") as info:
        load_detector(saved, method_named)
    assert str(info.value).startswith(str(saved))


@pytest.mark.parametrize("page", [b"<!DOCTYPE html>\n", b"\n <html lang='en'>"])
def test_a_web_page_is_known(tmp_path, page):
    path = tmp_path / "model.safetensors"
    path.write_bytes(page + b" " * 1000)
    with pytest.raises(WeightsError, match="a web page, not a weight file"):
        load_detector(path, method_named)


def test_what_is_no_file_is_said(tmp_path):
    with pytest.raises(WeightsError, match="a folder, expected a weight file"):
        load_detector(tmp_path, method_named)
    with pytest.raises(WeightsError, match="a device, FIFO or socket"):
        load_detector("/dev/null", method_named)


def test_a_file_that_may_not_be_read_is_not_called_absent(saved, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WeightsError, match=r"cannot be read \(Permission denied\)"):
        load_detector(saved, method_named)


def test_absent_and_foreign_files_are_named(tmp_path, saved):
    with pytest.raises(WeightsError, match="no such weight file"):
        load_detector(tmp_path / "nothing.safetensors", method_named)
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign")
    with pytest.raises(WeightsError, match=r"no model file of this project, .* of a released "):
        load_detector(tmp_path / "foreign", method_named)
    rewrite(saved, header=lambda content: content.update(format=FORMAT + 1))
    with pytest.raises(
        WeightsError, match=f"format {FORMAT + 1}, this version reads 1 and {FORMAT}"
    ):
        load_detector(saved, method_named)


@pytest.mark.parametrize(
    ("header", "tensors", "message"),
    [
        (None, lambda s: s.pop("model.logit_scale"), "logit_scale"),
        (None, lambda s: s.pop("model.hoi_classifier.table"), r"hoi_classifier\.table"),
        (None, lambda s: s.pop("clip.tower.proj"), "proj"),
        (None, lambda s: s.update({"model.logit_scale": torch.zeros(2)}), "logit_scale"),
        (None, lambda s: s.update({"model.more": torch.zeros(2)}), "more"),
        (lambda h: h.pop("config"), None, "config"),
        (lambda h: h["config"].update(num_queries=5), None, "queries"),
        (lambda h: h["config"].update(num_queries="5"), None, "num_queries"),
        (lambda h: h["transforms"].pop("flip"), None, "flip"),
        (lambda h: h.pop("vocabulary"), None, "vocabulary"),
        (lambda h: h["vocabulary"].update(objects=["cup"]), None, "person"),
        (lambda h: h.pop("scores"), None, "scores"),
        (lambda h: h.update(scores=[1]), None, r"scores: \[1\]"),
        (lambda h: h.update(config=[1]), None, r"config: \[1\]"),
        (lambda h: h.update(vocabulary=7), None, "vocabulary: expected lists of objects"),
        (lambda h: h["vocabulary"]["objects"].append(7), None, "vocabulary: 7, expected a text"),
        (lambda h: h["vocabulary"]["verbs"].append(["a"]), None, "vocabulary: expected lists"),
        (lambda h: h["vocabulary"]["hois"].append([0.0, 0]), None, "expected whole numbers"),
        (lambda h: h["vocabulary"]["objects"].__setitem__(-1, "\ud800"), None, "surrogates"),
        (lambda h: h.update(provenance="x"), None, "provenance: 'x', expected a section"),
        (lambda h: h.update(provenance={"a": [NAN]}), None, "Out of range float"),
        (lambda h: h["config"].update(num_queries=0), None, "num_queries: 0, expected at least 1"),
        (lambda h: h["config"].update(num_queries=10**30), None, "num_queries: 1000"),
        (lambda h: h["config"].update(decoder_layers=128), None, "is missing"),
        (lambda h: h["config"]["detector"].update(width=4096), None, "header's sizes need"),
        (lambda h: h["config"]["detector"].update(heads=0), None, "heads: 0, expected at least 1"),
        (lambda h: h["config"]["detector"].update(dropout=NAN), None, "dropout: nan"),
        (lambda h: h["config"]["verb"].update(weight=-1), None, r"weight: -1\.0"),
        (lambda h: h["transforms"].update(flip=INF), None, "flip: inf, expected a finite"),
        (lambda h: h["transforms"].update(scales=[0]), None, r"scales\[0\]: 0"),
        (lambda h: h["transforms"].update(max_side=10**9), None, "max_side: 1000000000"),
        (lambda h: h.update(clip=None), None, "clip: None"),
        (lambda h: h.update(clip={}), None, r"clip\.model_cfg: missing"),
        (lambda h: h["clip"].update(std=[0, 1, 1]), None, r"clip\.std\[0\]: 0\.0"),
        (lambda h: h["clip"].update(mean=[NAN] * 3), None, r"clip\.mean\[0\]: nan"),
        (lambda h: h["clip"].update(mean=[1]), None, "mean: .*expected three numbers"),
        (lambda h: vision(h).update(width=8192), None, "header's sizes need"),
        (lambda h: vision(h).update(width=10**9), None, "width: 1000000000, expected at least 1"),
        (lambda h: vision(h).update(layers=0), None, "layers: 0, expected at least 1"),
        (lambda h: vision(h).update(layers=100), None, "is missing"),
        (lambda h: vision(h).update(layers=[1, 1, 1, 1]), None, "layers: .*expected int"),
        (lambda h: vision(h).update(patch_size=0), None, "patch_size: 0"),
        (lambda h: vision(h).update(patch_size=64), None, "patch_size: 64, expected at most"),
        (lambda h: vision(h).update(head_width=3), None, "head_width: 3 does not divide"),
        (lambda h: vision(h).update(timm_model_name="vit"), None, "timm_model_name: unknown key"),
        (lambda h: h["clip"].update(conv_stem=True), None, "conv1"),
    ],
)
def test_what_does_not_fit_is_one_line(saved, header, tensors, message):
    rewrite(saved, header, tensors)
    with pytest.raises(WeightsError, match=f"do not fit.*{message}") as info:
        load_detector(saved, method_named)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_tensor_that_is_not_finite_is_named(saved, value):
    rewrite(saved, tensors=lambda s: s["clip.tower.proj"].view(-1)[-1:].fill_(value))
    with pytest.raises(
        WeightsError, match=r"tensor clip\.tower\.proj holds values that are not fin"
    ):
        load_detector(saved, method_named)


def test_a_tensor_of_four_bits_is_named(saved):
    four = torch.zeros(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    rewrite(saved, tensors=lambda s: s.update({"model.logit_scale": four}))
    with pytest.raises(WeightsError, match=r"tensor model\.logit_scale is of type .*float4"):
        load_detector(saved, method_named)


def test_a_vocabulary_of_another_size_is_refused(saved):
    """It would name classes that the tensors do not have."""
    rewrite(saved, lambda h: h["vocabulary"]["hois"].pop())
    with pytest.raises(WeightsError, match=r"vocabulary: .* HOI classes, the tensors have"):
        load_detector(saved, method_named)


@pytest.fixture
def without_scale(tmp_path):
    path = tmp_path / "old.safetensors"
    path.write_bytes(gzip.decompress(WITHOUT_SCALE.read_bytes()))
    return path


def test_a_file_without_scale_still_loads(without_scale):
    detector = load_detector(without_scale, method_named)
    assert (detector.method.name, detector.scores) == ("hoiclip", {})
    assert detector.method.scoring == Scoring(k=10, weight=1.0, kind="cosine")
    assert detector.inference_scale is None
    assert detector.transforms.test_scale == 0
    # Its vocabulary is the toy world's, whose images have 128 px.
    assert detector.image_file_transforms == dataclasses.replace(
        detector.transforms, test_scale=128
    )
    images = torch.zeros(1, 3, 64, 64)
    features = detector.method.clip.encode_image_tokens(torch.zeros(1, 3, 16, 16))
    assert torch.isfinite(detector.method.network(images, None, *features).hoi_logits).all()


def test_a_file_without_scale_of_other_classes_is_taken_for_the_usual_one(without_scale):
    rewrite(without_scale, header=lambda h: h["vocabulary"]["objects"].__setitem__(1, "zebra"))
    assert load_detector(without_scale, method_named).image_file_transforms.test_scale == 800


@pytest.mark.parametrize(
    ("test_scale", "learned", "stated"),
    [(0, 96, 96), (0, None, 128), (640, 96, 640), (640, None, 640)],
)
def test_files_state_the_scale_of_photographs(tmp_path, make_detector, test_scale, learned, stated):
    detector = make_detector()
    transforms = dataclasses.replace(detector.transforms, test_scale=test_scale)
    path = tmp_path / "model.safetensors"
    dataclasses.replace(detector, transforms=transforms, inference_scale=learned).save(path)
    header = json.loads(read_safetensors(path)[1][HEADER_KEY])
    assert header["inference_scale"] == stated
    loaded = load_detector(path, method_named)
    assert loaded.inference_scale == loaded.image_file_transforms.test_scale == stated
    # What the pipeline infers at is as it was.
    assert loaded.transforms == transforms


@pytest.mark.parametrize("value", [0, -1, LARGEST_SCALE + 1, 10**400, True, 128.0, "128", [128]])
def test_a_scale_that_is_none_is_named(saved, value):
    rewrite(saved, header=lambda header: header.update(inference_scale=value))
    with pytest.raises(WeightsError, match="do not fit: inference_scale: "):
        load_detector(saved, method_named)


def test_scores_of_format_1_become_the_scoring(without_scale):
    scores = {"enhancement_kind": "sigmoid", "enhancement_k": 4, "top_k": 30}
    rewrite(without_scale, header=lambda h: h.update(scores=scores))
    detector = load_detector(without_scale, method_named)
    assert detector.scores == {"top_k": 30}
    assert detector.method.scoring == Scoring(k=4, weight=1.0, kind="sigmoid")


@pytest.mark.parametrize("method", ["nothing", None, 7, ["hoiclip"]])
def test_a_method_that_is_unknown_is_named(saved, method):
    rewrite(saved, header=lambda h: h.update(method=method))
    with pytest.raises(WeightsError, match="do not fit"):
        load_detector(saved, method_named)
