import dataclasses
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from fake_checkpoint import REAL, Sizes, official_file, official_shapes, official_state
from PIL import Image
from reference_network import clip_tokens, reference_outputs, reference_scores

from hoiclip.batches.batch import InferenceDataset, collate
from hoiclip.catalog.vocabularies import hico_det, vcoco
from hoiclip.checkpoints.pytorch import Checkpoint
from hoiclip.clip.encoder import ClipVisual
from hoiclip.contract.model_file import load_detector
from hoiclip.convert.dispatch import convert
from hoiclip.convert.official import clip_config, model_config, official_key_map
from hoiclip.convert.pretrained.arguments import read_arguments
from hoiclip.convert.pretrained.key_map import rename
from hoiclip.convert.released import RELEASED
from hoiclip.convert.setting import setting_names
from hoiclip.core import schema
from hoiclip.errors import WeightsError
from hoiclip.images.store import ImageStore
from hoiclip.inference.predict import predict
from hoiclip.methods.hoiclip.model.config import Scoring
from hoiclip.methods.hoiclip.model.method import tables_of_state
from hoiclip.methods.hoiclip.model.network import HOICLIP
from hoiclip.methods.registry import method_named

SPEC = Path(__file__).parents[3] / "shared" / "spec"
SETTINGS = ["default", "rare_first", "unseen_verb", "vcoco"]
NAMES = ("human_boxes_cxcywh", "object_boxes_cxcywh", "object_logits", "hoi_logits")


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """`converted(setting)`: the source's state dict, the conversion and the detector."""
    folder, done = tmp_path_factory.mktemp("official"), {}

    def get(setting):
        if setting not in done:
            content = official_file(setting=setting)
            torch.save(content, folder / f"{setting}.pth")
            out = convert(folder / f"{setting}.pth", folder / f"{setting}.safetensors")
            done[setting] = content["model"], out, load_detector(out.path, method_named)
        return done[setting]

    return get


def convert_content(folder, content, **options):
    """The conversion of a released file's content."""
    torch.save(content, folder / "a.pth")
    return convert(folder / "a.pth", folder / "a.safetensors", **options)


def batch(detector):
    """Two images of different size in one padded batch, and CLIP's pixels."""
    generator = torch.Generator().manual_seed(7)
    images = torch.zeros(2, 3, 96, 128)
    mask = torch.ones(2, 96, 128, dtype=torch.bool)
    for index, (height, width) in enumerate([(96, 70), (64, 128)]):
        images[index, :, :height, :width] = torch.randn(3, height, width, generator=generator)
        mask[index, :height, :width] = False
    side = detector.method.clip.image_size
    return images, mask, torch.randn(2, 3, side, side, generator=generator)


def compare(found, expected, atol=1e-5):
    for name in NAMES:
        values, wanted = getattr(found, name), getattr(expected, name)
        assert values.shape == wanted.shape
        torch.testing.assert_close(values, wanted, atol=atol, rtol=1e-5, msg=name)
    similarity = found.clip_similarity
    torch.testing.assert_close(similarity, expected.clip_similarity, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("masked", [False, True])
def test_the_converted_network_says_what_the_released_one_says(converted, setting, masked):
    """Two images of different size; with and without a mask on the detector's memory."""
    state, _, detector = converted(setting)
    assert detector.method.config.interaction.mask_detector_memory is False
    images, mask, pixels = batch(detector)
    detector.method.network.mask_detector_memory = masked
    features = detector.method.clip.encode_image_tokens(pixels)
    found = detector.method.network(images, mask, features.tokens, features.global_feature)
    detector.method.network.mask_detector_memory = False
    expected = reference_outputs(state, 2, 0.5, images, mask, pixels, mask_detector_memory=masked)
    compare(found, expected)


@torch.no_grad()
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("said", [False, True], ids=["no mask", "a mask of nothing"])
def test_images_of_one_size_need_no_mask(converted, setting, said):
    state, _, detector = converted(setting)
    images, mask, pixels = batch(detector)
    nothing = torch.zeros_like(mask)
    features = detector.method.clip.encode_image_tokens(pixels)
    found = detector.method.network(images, nothing if said else None, *features)
    compare(
        found, reference_outputs(state, 2, 0.5, images, nothing, pixels, mask_detector_memory=False)
    )


@torch.no_grad()
def test_a_dilated_backbone_keeps_its_stride(tmp_path):
    """DC5: shapes do not tell it, `args` do."""
    content = official_file(Sizes(blocks=(1, 1, 1, 2)), dilation=True)
    detector = load_detector(convert_content(tmp_path, content).path, method_named)
    assert detector.method.config.detector.backbone.stride == 16
    images, mask, pixels = batch(detector)
    found = detector.method.network(images, mask, *detector.method.clip.encode_image_tokens(pixels))
    dilated, plain = (
        reference_outputs(
            content["model"], 2, 0.5, images, mask, pixels, mask_detector_memory=False, dilated=d
        )
        for d in (True, False)
    )
    compare(found, dilated, atol=5e-5)
    assert (plain.hoi_logits - dilated.hoi_logits).abs().max() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("setting", SETTINGS)
def test_predictions_of_a_converted_file_are_the_released_scores(
    converted, setting, predict_config, tmp_path
):
    """From image files to rows, with settings that contradict everything that the file states."""
    state, _, detector = converted(setting)
    vocabulary, sizes = detector.vocabulary, [(128, 70), (64, 96)]
    rng = np.random.default_rng(5)
    for index, (width, height) in enumerate(sizes):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    rows = [
        {"image_id": 7 - i, "file_name": f"{i}.png", "width": w, "height": h}
        for i, (w, h) in enumerate(sizes)
    ]
    images = pa.Table.from_pylist(rows, schema=schema.IMAGES)
    transforms = dataclasses.replace(detector.transforms, test_scale=64, max_side=100)
    nms = {**detector.scores["nms"], "threshold": 0.3}
    detector = dataclasses.replace(
        detector, transforms=transforms, scores={**detector.scores, "nms": nms}
    )
    store, cpu = ImageStore(tmp_path), torch.device("cpu")
    (table,) = predict(
        detector, images, store, predict_config, cpu, [Scoring(k=10, kind="sigmoid")]
    )

    dataset = InferenceDataset(images, store, transforms, detector.method.clip.preprocess)
    shown = collate([dataset[0], dataset[1]])
    outputs = reference_outputs(
        state, 2, 0.5, *shown.inputs(cpu), shown.clip_pixels,
        mask_detector_memory=False,
    )  # fmt: skip
    missing = vocabulary.num_objects if vocabulary.has_missing_objects else None
    for index, size in enumerate(sizes):
        expected = reference_scores(
            outputs, index, size, vocabulary.object_of_hoi.tolist(), missing,
            k=10, top=100, threshold=0.3,
        )  # fmt: skip
        found = table.filter(pc.field("image_id") == 7 - index).to_pylist()
        assert 10 < len(expected) < 100
        assert [(r["query"], r["hoi"]) for r in found] == [(r.query, r.hoi) for r in expected]
        for row, wanted in zip(found, expected, strict=True):
            assert row["score"] == pytest.approx(wanted.score, abs=1e-5)
            # The release's HICO-DET boxes name the last pixel inside, the schema's end behind it.
            behind = np.array([0, 0, 1, 1]) * (setting != "vcoco")
            human_box = np.add(wanted.human_box_xyxy, behind)
            assert row["human_box_xyxy"] == pytest.approx(human_box, abs=1e-3)
            assert (row["object_box_xyxy"] is None) == (wanted.object_box_xyxy is None)
            if wanted.object_box_xyxy is not None:
                object_box = np.add(wanted.object_box_xyxy, behind)
                assert row["object_box_xyxy"] == pytest.approx(object_box, abs=1e-3)


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
    found = detector.method.clip.encode_image_tokens(pixels)
    for index, pixel in enumerate(pixels):
        tokens, feature = clip_tokens(state, pixel)
        torch.testing.assert_close(found.tokens[index], tokens, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.global_feature[index], feature, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_tensor_lands_once_and_unchanged(converted, setting):
    state, out, detector = converted(setting)
    ours = {"model." + k: v for k, v in detector.method.network.state_dict().items()}
    ours |= {"clip." + k: v for k, v in detector.method.clip.state_dict().items()}
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
    assert torch.equal(detector.method.network.state_dict()[ours], state[theirs])


def test_zero_shot_is_evaluated_over_all_classes_without_a_bias(converted):
    state, out, detector = converted("rare_first")
    head = detector.method.network.hoi_classifier
    assert torch.equal(head.table, state["eval_visual_projection.weight"])
    assert head.bias is None
    assert "visual_projection.weight" in out.dropped
    assert detector.method.network.verb_classifier.verb_to_hoi.shape[1] == hico_det().num_hois


def test_vcoco_keeps_the_matrix_that_it_was_trained_with(converted):
    state, out, detector = converted("vcoco")
    matrix = detector.method.network.verb_classifier.verb_to_hoi
    assert torch.equal(matrix, state["verb2hoi_proj"])
    assert not torch.equal(matrix, torch.from_numpy(vcoco().verb_to_hoi))
    assert matrix.any(0).sum() == 70
    assert detector.vocabulary == vcoco()
    assert not detector.scores["inclusive_boxes"]
    assert out.setting == "vcoco"


RELEASED_SCORES = {
    "nms": {
        "threshold": 0.7, "human_power": 1.0, "object_power": 0.5, "plus_one_extents": True,
    },
    "top_k": 100,
    "inclusive_boxes": True,
}  # fmt: skip


def test_the_header_says_what_makes_the_released_scores(converted):
    _, out, detector = converted("default")
    assert detector.scores == RELEASED_SCORES
    assert detector.method.scoring == Scoring(k=10, weight=1.0, kind="sigmoid")
    assert (detector.transforms.test_scale, detector.transforms.max_side) == (800, 1333)
    assert detector.inference_scale == 800
    assert detector.transforms.max_side == 1333
    assert detector.provenance["setting"] == "default"
    assert "/data/hico" not in json.dumps(detector.provenance)
    assert out.summary().startswith(f"{out.path}: from official, setting default\n  ")


def test_what_args_state_goes_before_what_is_assumed(tmp_path):
    args = {"thres_nms": 0.5, "nms_alpha": 2, "nms_beta": 0.25, "verb_weight": 0.3, "dropout": 0}
    out = convert_content(tmp_path, official_file(**args))
    detector = load_detector(out.path, method_named)
    nms = {"threshold": 0.5, "human_power": 2.0, "object_power": 0.25, "plus_one_extents": True}
    assert detector.scores == {**RELEASED_SCORES, "nms": nms}
    assert detector.method.config.verb.weight == 0.3
    assert detector.method.config.detector.dropout == 0
    assert detector.provenance["arguments"] == {
        "stated": {**args, "nheads": 2, "dilation": False},
        "assumed": {"use_nms_filter": True},
    }
    assert out.summary().endswith("  assumed, since the file does not say: use_nms_filter True")


def test_a_file_that_says_no_nms_gets_none(tmp_path):
    out = convert_content(tmp_path, official_file(use_nms_filter=False))
    assert load_detector(out.path, method_named).scores["nms"]["threshold"] == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"nheads": "2"}, "args say nheads '2', expected int"),
        ({"dilation": 1}, "args say dilation 1, expected bool"),
        ({"thres_nms": None}, "args say thres_nms None, expected float"),
        ({"nheads": 3}, "its shapes make no network: heads: 3 do not divide width 16"),
        ({"nheads": 0}, "its shapes make no network"),
        ({"no_clip_cls_init": True}, "no_clip_cls_init"),
    ],
)
def test_args_that_make_no_sense_are_one_line(tmp_path, args, message):
    with pytest.raises(WeightsError, match=message) as caught:
        convert_content(tmp_path, official_file(**args))
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


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
    """As with `fix_clip_label`; everything that args would state is assumed."""
    state = official_state(Sizes(width=64, heads=8, clip_width=128))
    del state["visual_projection.bias"], state["obj_visual_projection.bias"]
    out = convert_content(tmp_path, state)
    detector = load_detector(out.path, method_named)
    assert detector.method.network.hoi_classifier.bias is None
    assert detector.method.network.object_classifier.classifier.bias is None
    assert detector.method.config.detector.heads == 8
    assert detector.method.config.verb.weight == 0.5
    assert detector.scores == RELEASED_SCORES
    assert detector.method.scoring == Scoring(k=10, weight=1.0, kind="sigmoid")
    assert detector.provenance["arguments"] == {
        "stated": {},
        "assumed": {
            "nheads": 8, "dropout": 0.1, "dilation": False, "use_nms_filter": True,
            "thres_nms": 0.7, "nms_alpha": 1.0, "nms_beta": 0.5, "verb_weight": 0.5,
        },
    }  # fmt: skip


@pytest.mark.parametrize("setting", setting_names())
def test_every_setting_is_recognised_and_strict_both_ways(tmp_path, setting):
    content = official_file(setting=setting)
    out = convert_content(tmp_path, content, setting=setting)
    assert out.setting == setting
    assert load_detector(out.path, method_named).method.config.verb.weight == 0.5
    names = list(content["model"])
    optional = {*out.dropped, "visual_projection.bias", "obj_visual_projection.bias"}
    needed = [name for name in names if name not in optional]
    for name in needed[:: len(needed) // 7]:
        state = dict(content["model"])
        del state[name]
        with pytest.raises(WeightsError, match=r"nothing fills|is missing"):
            convert_content(tmp_path, {**content, "model": state})
    for name in ("extra.weight", names[0] + ".weight", "clip_model.visual.extra"):
        state = {**content["model"], name: torch.zeros(1)}
        with pytest.raises(WeightsError, match=r"belongs to no known part|the network has no"):
            convert_content(tmp_path, {**content, "model": state})


def test_a_zero_shot_checkpoint_is_not_taken_for_the_default_one(tmp_path):
    content = official_file(setting="rare_first")
    with pytest.raises(WeightsError, match="of setting 'rare_first', not of 'default'"):
        convert_content(tmp_path, content, setting="default")
    del content["model"]["eval_visual_projection.weight"]
    with pytest.raises(
        WeightsError, match=r"hoi_classifier\.table, which setting 'rare_first' has"
    ):
        convert_content(tmp_path, content)


# Parameters at the released size; the second is what CLIP's authors' ViT-B/32 has.
TRAINED, VIT_B_32 = 61_475_274, 87_849_216


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
    for key, variant in variants.items():
        changed = dict(expected)
        for tensor, (_, shape) in variant["differs_from_base"].items():
            changed.pop(tensor, None)
            changed |= {} if shape is None else {tensor: tuple(shape)}
        assert len(changed) == variant["n_tensors"]
        name = key.removeprefix("hico_")
        if name == "fix_clip_label":
            without = {"visual_projection.bias", "obj_visual_projection.bias"}
            assert changed == {k: v for k, v in expected.items() if k not in without}
        else:
            assert official_shapes(REAL, name) == changed


def test_every_tensor_of_the_real_size_is_accounted_for():
    """Names and shapes at ResNet-50 and ViT-B/32, both ways, without memory for the numbers."""
    state = {n: torch.empty(shape, device="meta") for n, shape in official_shapes(REAL).items()}
    checkpoint = Checkpoint(Path("a.pth"), state, {})
    renamed, dropped = rename(checkpoint.path, state, *official_key_map(zero_shot=False))
    assert len(renamed) - 1 + len(dropped) == len(state)  # CLIP's projection stands twice
    arguments = read_arguments(checkpoint, {**RELEASED, "verb_weight": 0.5})
    config = model_config(checkpoint, arguments)
    of_model = {n.removeprefix("model."): t for n, t in renamed.items() if n.startswith("model.")}
    with torch.device("meta"):
        clip = ClipVisual(clip_config(checkpoint))
        model = HOICLIP(config, tables_of_state(of_model), clip.visual_projection)
    built = {"model." + n: t for n, t in model.state_dict().items()}
    built |= {"clip." + n: t for n, t in clip.state_dict().items()}
    assert {n: t.shape for n, t in built.items()} == {n: t.shape for n, t in renamed.items()}
    assert sum(p.numel() for p in model.parameters()) == TRAINED
    assert sum(p.numel() for p in clip.parameters()) == VIT_B_32


@pytest.mark.slow
def test_the_real_size_converts_within_three_gigabytes(tmp_path):
    torch.save(official_file(REAL), tmp_path / "a.pth")
    code = (
        "import resource, sys; from hoiclip.convert.dispatch import convert; "
        "convert(sys.argv[1], sys.argv[2]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.pth"), str(tmp_path / "a.safetensors")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(done.stdout) < 3 * 2**20  # KiB


@pytest.mark.slow
@torch.no_grad()
def test_the_real_size_converts_in_time_and_says_the_same(tmp_path):
    content = official_file(REAL)
    parameters = {n for n, _, _, kind in layout()["state_dict"] if kind == "parameter"}
    assert sum(content["model"][name].numel() for name in parameters) == 218_165_476
    torch.save(content, tmp_path / "a.pth")
    begin = time.perf_counter()
    out = convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert time.perf_counter() - begin < 60
    detector = load_detector(out.path, method_named)
    ours = len(detector.method.network.state_dict()) + len(detector.method.clip.state_dict())
    assert ours - 1 + len(out.dropped) == 862
    assert detector.method.config.num_queries == 64
    images, mask, pixels = batch(detector)
    found = detector.method.network(images, mask, *detector.method.clip.encode_image_tokens(pixels))
    expected = reference_outputs(
        content["model"], 8, 0.5, images, mask, pixels, mask_detector_memory=False
    )
    for name in NAMES:
        atol = 1e-4 if "boxes" in name else 1e-3
        torch.testing.assert_close(
            getattr(found, name), getattr(expected, name), atol=atol, rtol=0, msg=name
        )
