from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hoiclip.clip.encoder import ClipVisual
from hoiclip.methods.clip_distill.view import boxes_in_view, clip_view, scaled_size


@pytest.fixture(scope="module")
def clip(clip_config):
    return ClipVisual(clip_config)


def image_of(width: int, height: int, box=None) -> Image.Image:
    """Black, with a white box."""
    pixels = np.zeros((height, width, 3), np.uint8)
    if box is not None:
        pixels[box[1] : box[3], box[0] : box[2]] = 255
    return Image.fromarray(pixels)


def test_a_square_image_looks_alike_in_both_views(clip):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)
    image = Image.fromarray(pixels)
    padded, cut = clip_view(clip, "pad")(image), clip_view(clip, "crop")(image)
    assert padded.shape == (3, clip.image_size, clip.image_size)
    torch.testing.assert_close(padded, cut)


def test_crop_is_clips_own(clip):
    image = image_of(90, 30, (0, 0, 40, 30))
    torch.testing.assert_close(clip_view(clip, "crop")(image), clip.preprocess(image))


@pytest.mark.parametrize(("width", "height"), [(90, 30), (30, 90)])
def test_the_margin_has_clips_mean_colour_which_is_near_zero_to_it(clip, width, height):
    view = clip_view(clip, "pad")(image_of(width, height))
    view = view if width > height else view.transpose(1, 2)
    side = clip.image_size
    band = scaled_size((90, 30), side)[1]
    top = (side - band) // 2
    margin = torch.cat([view[:, :top], view[:, top + band :]], 1)
    assert margin.abs().max() < 0.01
    assert (view[:, top : top + band] < -1).all()


def test_both_ends_of_a_long_union_are_seen_padded_and_cut_off_otherwise(clip):
    whole = image_of(96, 24, (0, 0, 8, 24))
    assert (clip_view(clip, "pad")(whole) > 1).any()
    assert not (clip_view(clip, "crop")(whole) > 1).any()


@pytest.mark.parametrize("size", [(64, 64), (128, 64), (64, 128), (96, 65)])
def test_boxes_go_where_the_pixels_go(clip, size):
    """The white box of the image is white where `boxes_in_view` says, and nowhere else."""
    box = (8, 16, 40, 48)
    view = clip_view(clip, "pad")(image_of(*size, box))
    side = clip.image_size
    # Up to the pixels that a border shares.
    left, top, right, bottom = boxes_in_view(np.array([box]), size, side)[0] * side
    inside = view[:, int(top) + 2 : int(bottom) - 1, int(left) + 2 : int(right) - 1]
    assert inside.numel()
    assert (inside > 1).all()
    grey = view.clone()
    grey[:, max(int(top) - 2, 0) : int(bottom) + 3, max(int(left) - 2, 0) : int(right) + 3] = 0
    assert not (grey > 1).any()


def test_boxes_by_hand():
    # 100 by 50 becomes 32 by 16, with 8 above.
    boxes = np.array([[0, 0, 100, 50], [25, 25, 50, 50], [-10, -10, 200, 25]])
    expected = [[0, 0.25, 1, 0.75], [0.25, 0.5, 0.5, 0.75], [0, 0.25, 1, 0.5]]
    np.testing.assert_allclose(boxes_in_view(boxes, (100, 50), 32), expected)
    assert boxes_in_view(np.zeros((0, 4)), (100, 50), 32).shape == (0, 4)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 300))
def test_any_size_fits_the_square(width, height, side):
    scaled = scaled_size((width, height), side)
    assert max(scaled) == side
    assert min(scaled) >= 1
    box = boxes_in_view(np.array([[0, 0, width, height]]), (width, height), side)[0]
    assert ((box >= 0) & (box <= 1)).all()
    assert (box[2:] > box[:2]).all()


def test_a_view_survives_pickling_as_workers_need(clip):
    view = pickle.loads(pickle.dumps(clip_view(clip, "pad")))
    image = image_of(20, 10, (0, 0, 5, 5))
    torch.testing.assert_close(view(image), clip_view(clip, "pad")(image))
