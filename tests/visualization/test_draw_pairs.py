import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor

from hoiclip.visualization import draw_pairs
from hoiclip.visualization.draw_pairs import FALSE_ALARM, FOUND, MISSED, DrawnPair, Style


def gray(width: int = 400, height: int = 300) -> Image.Image:
    return Image.new("RGB", (width, height), (128, 128, 128))


def share_of_edge(picture: Image.Image, box: tuple, style: Style) -> float:
    """Share of the pixels along the top edge of `box` that have the style's colour."""
    pixels = np.asarray(picture).astype(int)
    edge = pixels[box[1], box[0] + 5 : box[2] - 5]
    return float((abs(edge - ImageColor.getrgb(style.color)).max(1) < 40).mean())


@pytest.mark.parametrize(
    ("size", "scale"),
    [
        ((128, 128), 3),
        ((160, 90), 3),
        ((161, 90), 1),
        ((480, 900), 1),
        ((640, 480), 0.75),
        ((100, 3840), 0.5),
    ],
)
def test_small_images_are_enlarged_and_wide_ones_shrunk(size, scale):
    assert draw_pairs.display_scale(*size) == scale
    drawn = draw_pairs.draw_pairs(gray(*size), [])
    assert drawn.size == (round(size[0] * scale), round(size[1] * scale))


def test_boxes_of_the_full_size_are_drawn_on_a_reduced_image():
    box = (400, 400, 3200, 2400)
    reduced = draw_pairs.draw_pairs(
        gray(500, 375), [DrawnPair(box, None, "", FOUND)], full_size=(4000, 3000)
    )
    assert reduced.size == (480, 360)
    assert share_of_edge(reduced, (48, 48, 384, 288), FOUND) == 1


def test_without_pairs_nothing_is_drawn():
    image = Image.effect_noise((300, 200), 50).convert("RGB")
    assert np.array_equal(draw_pairs.draw_pairs(image, []), image)


def test_only_what_is_near_a_line_changes_and_the_image_itself_does_not():
    image = Image.effect_noise((400, 300), 50).convert("RGB")
    before = np.array(image)
    pair = DrawnPair((50, 50, 150, 250), (250, 60, 350, 160), "", FOUND)
    drawn = np.asarray(draw_pairs.draw_pairs(image, [pair]))
    assert np.array_equal(image, before)
    assert np.array_equal(drawn[:40], before[:40])
    assert np.array_equal(drawn[60:130, 60:90], before[60:130, 60:90])
    assert not np.array_equal(drawn, before)


def test_lines_are_full_dashed_and_dotted():
    box = (50, 50, 350, 250)
    shares = {
        style: share_of_edge(
            draw_pairs.draw_pairs(gray(), [DrawnPair(box, None, "", style)]), box, style
        )
        for style in (FOUND, MISSED, FALSE_ALARM)
    }
    assert shares[FOUND] == 1
    assert 0.3 < shares[FALSE_ALARM] < 0.9
    assert 0.3 < shares[MISSED] < 0.9
    assert len({style.dash for style in shares}) == 3


def test_the_human_box_has_the_thicker_line():
    pair = DrawnPair((20, 20, 120, 120), (250, 20, 350, 120), "", FOUND)
    pixels = np.asarray(draw_pairs.draw_pairs(gray(), [pair])).astype(int)
    near = abs(pixels - ImageColor.getrgb(FOUND.color)).max(2) < 40
    assert near[10:30, 60].sum() > near[10:30, 300].sum() > 0


def test_the_first_pair_lies_on_top():
    box = (50, 50, 350, 250)
    pairs = [DrawnPair(box, None, "", style) for style in (FOUND, Style("#ffffff"))]
    drawn = draw_pairs.draw_pairs(gray(), pairs)
    assert share_of_edge(drawn, box, FOUND) == 1


def test_boxes_are_scaled_with_the_image():
    pair = DrawnPair((10, 10, 110, 110), None, "", FOUND)
    drawn = draw_pairs.draw_pairs(gray(128, 128), [pair])
    assert share_of_edge(drawn, (30, 30, 330, 330), FOUND) == 1


def test_labels_of_equal_boxes_do_not_cover_each_other():
    box = (100, 100, 300, 200)
    styles = (Style("#ff0000"), Style("#00ff00"), Style("#0000ff"))

    def area(pairs: list[DrawnPair], style: Style) -> int:
        pixels = np.asarray(draw_pairs.draw_pairs(gray(), pairs))
        return int((pixels == ImageColor.getrgb(style.color)).all(2).sum())

    pairs = [DrawnPair(box, None, "hold umbrella", style) for style in styles]
    bare = area([DrawnPair(box, None, "", styles[0])], styles[0])
    label = area(pairs[:1], styles[0]) - bare
    assert label > 500
    for style in styles[1:]:
        assert area(pairs, style) >= 0.9 * label


coordinates = st.floats(-1e4, 1e4)
boxes = st.tuples(coordinates, coordinates, coordinates, coordinates)


@settings(max_examples=30, deadline=None)
@given(boxes, st.none() | boxes, st.text(max_size=60), st.integers(1, 300), st.integers(1, 300))
def test_any_box_can_be_drawn(human, object_, label, width, height):
    pair = DrawnPair(human, object_, label, MISSED)
    drawn = draw_pairs.draw_pairs(gray(width, height), [pair])
    scale = draw_pairs.display_scale(width, height)
    assert drawn.size == (round(width * scale), round(height * scale))


def test_beside_keeps_both_pictures():
    joined = np.asarray(draw_pairs.beside(gray(30, 20), Image.new("RGB", (10, 40)), gap=5))
    assert joined.shape == (40, 45, 3)
    assert (joined[:20, :30] == 128).all()
    assert (joined[:, 35:] == 0).all()
    assert (joined[20:, :30] == 255).all()


def test_jpeg_is_the_same_each_time():
    picture = Image.effect_noise((64, 64), 50).convert("RGB")
    assert draw_pairs.jpeg(picture) == draw_pairs.jpeg(picture)
    assert draw_pairs.jpeg(picture).startswith(b"\xff\xd8")
