import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from torchvision.transforms import functional as TF

from hoiclip.batches.transforms import (
    MEAN,
    STD,
    TransformsConfig,
    View,
    augment,
    inference_view,
    normalised,
    resized_size,
    to_pixels,
)
from hoiclip.clip.encoder import ClipVisual

PAPER = TransformsConfig(
    flip=0.5,
    color_jitter=0.4,
    scales=list(range(480, 801, 32)),
    crop_scales=[400, 500, 600],
    crop_sides=[384, 600],
    max_side=1333,
    test_scale=800,
)
SMALL = dataclasses.replace(
    PAPER, scales=[24, 32], crop_scales=[20, 25], crop_sides=[12, 20], max_side=70, test_scale=30
)
NAN = [np.nan] * 4


def noise(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def view(image, human, object_):
    human, object_ = (np.array(b, np.float64).reshape(-1, 4) for b in (human, object_))
    return View(image, human, object_, np.ones(len(human), bool))


def detr_size(width, height, size, max_size):
    """Another wording of the rule: round the shorter side down first, then truncate the longer."""
    if max_size and max(width, height) / min(width, height) * size > max_size:
        size = int(np.rint(max_size * min(width, height) / max(width, height)))
    if width <= height:
        return (width, height) if width == size else (size, int(size * height / width))
    return (width, height) if height == size else (int(size * width / height), size)


@pytest.mark.parametrize(
    ("size", "shorter", "longest", "expected"),
    [
        ((640, 480), 800, 1333, (1066, 800)),  # 1066.67 is truncated
        ((480, 640), 800, 1333, (800, 1066)),
        ((500, 375), 800, 1333, (1066, 800)),
        ((1000, 400), 800, 1333, (1332, 533)),  # 533.2 rounds to 533; 1332.5 is truncated
        ((400, 1000), 800, 1333, (533, 1332)),
        ((600, 600), 800, 1333, (800, 800)),
        ((800, 1000), 800, 1333, (800, 1000)),
        ((1000, 800), 800, 1333, (1000, 800)),
        ((640, 427), 480, 1333, (719, 480)),
        ((1333, 500), 800, 1333, (1333, 500)),
        ((2000, 100), 800, 1333, (1340, 67)),  # 66.65 rounds to 67: the side may pass the limit
        ((3, 1000), 800, 1333, (4, 1333)),
        ((2000, 500), 400, None, (1600, 400)),
        ((3, 1000), 600, None, (600, 200_000)),
    ],
)
def test_size_after_resizing(size, shorter, longest, expected):
    assert resized_size(*size, shorter, longest) == expected


@settings(deadline=None)
@given(
    st.integers(1, 2000), st.integers(1, 2000), st.integers(1, 900), st.sampled_from([1333, None])
)
def test_size_after_resizing_follows_the_rule(width, height, shorter, longest):
    assert resized_size(width, height, shorter, longest) == detr_size(
        width, height, shorter, longest
    )


def test_flip_mirrors_image_and_boxes():
    original = view(noise(10, 6), [[1, 2, 4, 5]], [NAN])
    mirrored = original.mirrored()
    assert mirrored.human_boxes_xyxy.tolist() == [[6, 2, 9, 5]]
    assert np.isnan(mirrored.object_boxes_xyxy).all()
    assert mirrored.flipped
    np.testing.assert_array_equal(np.asarray(mirrored.image), np.asarray(original.image)[:, ::-1])
    twice = mirrored.mirrored()
    np.testing.assert_array_equal(twice.human_boxes_xyxy, original.human_boxes_xyxy)
    assert not twice.flipped


def test_flipped_box_shows_the_same_pixels():
    original = view(noise(10, 6), [[1, 2, 4, 5]], [[7, 0, 10, 1]])
    mirrored = original.mirrored()
    for name in ("human_boxes_xyxy", "object_boxes_xyxy"):
        before, after = getattr(original, name)[0], getattr(mirrored, name)[0]
        a = np.asarray(original.image.crop(tuple(before.astype(int))))
        b = np.asarray(mirrored.image.crop(tuple(after.astype(int))))
        np.testing.assert_array_equal(a[:, ::-1], b)


def test_resizing_scales_boxes_by_the_sizes_that_came_out():
    resized = view(noise(7, 5), [[0, 0, 7, 5]], [[7, 5, 7, 5]]).resized(8, 100)
    assert resized.image.size == (11, 8)
    np.testing.assert_allclose(resized.human_boxes_xyxy, [[0, 0, 11, 8]])
    np.testing.assert_allclose(resized.object_boxes_xyxy, [[11, 8, 11, 8]])
    assert resized.kept.all()


def test_crop_shifts_clamps_and_marks_what_is_gone():
    humans = [[2, 2, 6, 6], [0, 0, 3, 3], [4, 4, 9, 9], [2, 2, 6, 6], [2, 2, 6, 6]]
    objects = [[5, 5, 20, 20], [4, 4, 6, 6], NAN, [0, 0, 3, 20], [8, 3, 9, 5]]
    image = noise(12, 10)
    cropped = view(image, humans, objects).cropped(3, 3, 5, 4)
    np.testing.assert_array_equal(np.asarray(cropped.image), np.asarray(image)[3:7, 3:8])
    # The second human and the last two objects only touch the crop.
    assert cropped.kept.tolist() == [True, False, True, False, False]
    assert cropped.human_boxes_xyxy[[0, 2]].tolist() == [[0, 0, 3, 3], [1, 1, 5, 4]]
    assert cropped.object_boxes_xyxy[0].tolist() == [2, 2, 5, 4]
    assert np.isnan(cropped.object_boxes_xyxy[2]).all()


def test_a_pair_once_lost_stays_lost():
    lost = view(noise(12, 10), [[0, 0, 2, 2]], [[4, 4, 6, 6]]).cropped(3, 3, 5, 4)
    assert not lost.clamped().kept.any()
    assert not lost.mirrored().resized(8, 90).clamped().kept.any()


def test_boxes_are_clamped_to_the_image_first():
    plain = dataclasses.replace(SMALL, flip=0.0, color_jitter=0.0, scales=[], crop_scales=[])
    found = augment(
        view(noise(10, 6), [[-5, 1, 4, 9]], [[11, 0, 15, 4]]), plain, np.random.default_rng(0)
    )
    assert found.human_boxes_xyxy.tolist() == [[0, 1, 4, 6]]
    assert found.kept.tolist() == [False]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_augmented_boxes_lie_in_the_image_and_follow_the_content(seed):
    """A white square on black stays where its box says, whatever the augmentation."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (60, 40))
    left, top = rng.integers(0, 40), rng.integers(0, 25)
    image.paste((255, 255, 255), (left, top, left + 14, top + 12))
    box = [left, top, left + 14, top + 12]
    found = augment(view(image, [box], [box]), dataclasses.replace(SMALL, color_jitter=0.0), rng)
    if not found.kept[0]:
        return
    x1, y1, x2, y2 = found.human_boxes_xyxy[0]
    assert 0 <= x1 < x2 <= found.image.width
    assert 0 <= y1 < y2 <= found.image.height
    np.testing.assert_array_equal(found.human_boxes_xyxy, found.object_boxes_xyxy)
    rows, columns = np.nonzero(np.asarray(found.image.convert("L")) > 127)
    if len(rows) and min(x2 - x1, y2 - y1) > 4:
        assert (columns.min(), rows.min()) == pytest.approx((x1, y1), abs=2)
        assert (columns.max() + 1, rows.max() + 1) == pytest.approx((x2, y2), abs=2)


class Script:
    """A generator that draws what it is told, and notes what it was asked for."""

    def __init__(self, flip, crop, factors, order, crop_scale, scale, size, corner):
        self.randoms = iter([0.0 if flip else 0.9, 0.0 if crop else 0.9])
        self.choices = iter([crop_scale, scale] if crop else [scale])
        self.factors, self.order = factors, order
        self.draws = iter([*size, *corner])
        self.limits = []

    def random(self):
        return next(self.randoms)

    def uniform(self, low, high, count):
        assert (low, high, count) == (0.6, 1.4, 3)
        return np.array(self.factors)

    def permutation(self, count):
        assert count == 3
        return np.array(self.order)

    def choice(self, options):
        value = next(self.choices)
        assert value in options
        return value

    def integers(self, low, high=None):
        self.limits.append((0, low - 1) if high is None else (low, high - 1))
        return next(self.draws)


def slow_augment(image, boxes, flip, crop, factors, order, crop_scale, scale, size, corner):
    """The released augmentation with given draws: torchvision and PIL, box after box."""
    width, height = image.size
    limits = (width, height, width, height)
    boxes = [[min(max(v, 0), m) for v, m in zip(b, limits, strict=True)] for b in boxes]
    kept = [b[2] > b[0] and b[3] > b[1] for b in boxes]
    if flip:
        image = TF.hflip(image)
        boxes = [[width - x2, y1, width - x1, y2] for x1, y1, x2, y2 in boxes]
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for index in order:
        image = enhancers[index](image).enhance(factors[index])

    def resize(image, boxes, shorter, longest):
        w, h = detr_size(*image.size, shorter, longest)
        scale = (w / image.width, h / image.height) * 2
        boxes = [[v * s for v, s in zip(b, scale, strict=True)] for b in boxes]
        return TF.resize(image, [h, w]), boxes

    if crop:
        image, boxes = resize(image, boxes, crop_scale, None)
        (w, h), (left, top) = size, corner
        image = TF.crop(image, top, left, h, w)
        boxes = [[x1 - left, y1 - top, x2 - left, y2 - top] for x1, y1, x2, y2 in boxes]
        limits = (w, h, w, h)
        boxes = [[min(max(v, 0), m) for v, m in zip(b, limits, strict=True)] for b in boxes]
        kept = [k and b[2] > b[0] and b[3] > b[1] for k, b in zip(kept, boxes, strict=True)]
    image, boxes = resize(image, boxes, scale, 1333)
    return image, boxes, kept


@pytest.mark.parametrize("size", [(640, 480), (300, 900), (1500, 260)])
@pytest.mark.parametrize(("flip", "crop"), [(False, False), (True, False), (False, True)])
def test_augmentation_equals_the_slow_transcription(size, flip, crop):
    image = noise(*size)
    w, h = size
    boxes = [[-5, 3, w / 2, h + 9], [w - 20.5, 4, w - 1, 30], [w + 2, 5, w + 9, 9], [0, 0, 9, 9]]
    draws = {
        "flip": flip, "crop": crop, "factors": [0.7, 1.3, 0.9], "order": [2, 0, 1],
        "crop_scale": 500, "scale": 512, "size": (450, 390), "corner": (37, 41),
    }  # fmt: skip
    script = Script(**draws)
    found = augment(view(image, boxes, boxes), PAPER, script)
    expected, expected_boxes, kept = slow_augment(image, boxes, **draws)
    assert found.image.size == expected.size
    assert found.image.tobytes() == expected.tobytes()
    assert found.kept.tolist() == kept
    np.testing.assert_allclose(found.human_boxes_xyxy, expected_boxes, atol=1e-9)
    np.testing.assert_array_equal(found.human_boxes_xyxy, found.object_boxes_xyxy)
    if crop:
        # Crop sides are drawn from 384 to 600 or the image's side, corners from what is left.
        w, h = detr_size(*size, 500, None)
        sides = [(384, min(w, 600)), (384, min(h, 600))]
        assert script.limits == [*sides, (0, w - 450), (0, h - 390)]
        assert min(w, h) == 500
    else:
        assert script.limits == []


def test_augmentation_depends_on_the_generator_alone():
    original = view(noise(60, 40), [[1, 2, 30, 35]], [[5, 5, 20, 20]])
    first, second, third = (
        augment(original, SMALL, np.random.default_rng(seed)) for seed in ([0, 1, 2], [0, 1, 2], 9)
    )
    assert first.image.tobytes() == second.image.tobytes()
    np.testing.assert_array_equal(first.human_boxes_xyxy, second.human_boxes_xyxy)
    assert first.image.tobytes() != third.image.tobytes()


def test_probabilities_and_sizes_of_the_augmentation():
    """Half are mirrored, half are cropped, every scale occurs."""
    original = view(noise(60, 40), [[1, 2, 30, 35]], [[5, 5, 20, 20]])
    config = dataclasses.replace(SMALL, color_jitter=0.0)
    views = [augment(original, config, np.random.default_rng(seed)) for seed in range(300)]
    uncropped = [v for v in views if v.image.size in ((36, 24), (48, 32))]
    assert np.mean([v.flipped for v in views]) == pytest.approx(0.5, abs=0.1)
    assert len(uncropped) / len(views) == pytest.approx(0.5, abs=0.1)
    assert {min(v.image.size) for v in views} == {24, 32}
    assert not any(v.flipped for v in [
        augment(original, dataclasses.replace(config, flip=0.0), np.random.default_rng(seed))
        for seed in range(20)
    ])  # fmt: skip


def test_only_flips_says_when_views_repeat():
    flips = dataclasses.replace(SMALL, color_jitter=0.0, scales=[], crop_scales=[])
    assert flips.only_flips
    for change in ({"color_jitter": 0.1}, {"scales": [9]}, {"crop_scales": [9]}):
        assert not dataclasses.replace(flips, **change).only_flips


@pytest.mark.parametrize(("scale", "size"), [(30, (45, 30)), (0, (60, 40)), (50, (70, 47))])
def test_inference_resizes_and_does_nothing_else(scale, size):
    image = noise(60, 40)
    found = inference_view(image, dataclasses.replace(SMALL, test_scale=scale))
    expected = image if scale == 0 else image.resize(size, Image.Resampling.BILINEAR)
    assert found.image.size == size
    assert found.image.tobytes() == expected.tobytes()
    assert not found.flipped


def test_pixels_are_the_images_channels_first_and_their_own():
    image = noise(5, 3)
    pixels = to_pixels(image)
    assert (pixels.dtype, pixels.shape) == (torch.uint8, (3, 3, 5))
    np.testing.assert_array_equal(pixels.permute(1, 2, 0).numpy(), np.asarray(image))
    pixels.zero_()
    assert np.asarray(image).any()


def test_networks_see_zero_where_a_batch_is_padded():
    pixels = torch.full((2, 3, 2, 2), 255, dtype=torch.uint8)
    mask = torch.tensor([[[False, True], [False, True]], [[False, False], [True, True]]])
    found = normalised(pixels, mask)
    white = normalised(pixels[0, :, 0, 0].view(3, 1, 1)).flatten()
    assert (found[mask[:, None].expand_as(found)] == 0).all()
    assert torch.equal(found[1, :, 0, 1], white)
    torch.testing.assert_close(white, (1 - torch.tensor(MEAN)) / torch.tensor(STD))


def test_pixels_are_normalised_by_imagenets_mean_and_deviation():
    image = noise(5, 3)
    expected = (np.asarray(image) / 255 - MEAN) / STD
    found = normalised(to_pixels(image))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.permute(1, 2, 0).numpy(), expected, rtol=1e-5, atol=1e-6)
    assert MEAN == (0.485, 0.456, 0.406)
    assert STD == (0.229, 0.224, 0.225)


@pytest.mark.parametrize("change", [{"flip": 1.5}, {"color_jitter": -0.1}, {"crop_sides": [3]}])
def test_values_out_of_range_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(PAPER, **change)


@pytest.mark.parametrize("size", [(640, 427), (333, 500), (224, 224), (1000, 230), (90, 61)])
def test_inference_equals_torchvision(size):
    image = noise(*size, seed=3)
    w, h = detr_size(*size, 800, 1333)
    expected = TF.to_tensor(TF.resize(image, [h, w]))
    expected = TF.normalize(expected, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert torch.equal(normalised(to_pixels(inference_view(image, PAPER).image)), expected)


@pytest.mark.parametrize("size", [(640, 427), (333, 500), (224, 224), (1333, 311), (90, 61)])
def test_clip_sees_the_central_square_of_the_resized_image(size):
    """Bicubic to 224 px on the short side, the central 224 px, CLIP's mean and deviation."""
    config = {
        "embed_dim": 8, "quick_gelu": True,
        "vision_cfg": {
            "image_size": 224, "patch_size": 112, "width": 16, "layers": 1, "head_width": 8,
        },
    }  # fmt: skip
    image = noise(*size, seed=4)
    short, long = min(size), max(size)
    scaled = {short: 224, long: int(224 * long / short)}
    resized = image.resize((scaled[size[0]], scaled[size[1]]), Image.Resampling.BICUBIC)
    left, top = (round((side - 224) / 2) for side in resized.size)
    pixels = np.asarray(resized, np.float32)[top : top + 224, left : left + 224] / np.float32(255)
    mean, deviation = (
        np.array(v, np.float32)
        for v in ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    )
    expected = ((pixels - mean) / deviation).transpose(2, 0, 1)
    found = ClipVisual({"model_cfg": config}).preprocess(image)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-6)


def test_no_side_shrinks_to_nothing():
    assert resized_size(50_000, 10, 128, 1333) == (5000, 1)
    assert resized_size(1, 100_000, 800, 1333) == (1, 100_000)
