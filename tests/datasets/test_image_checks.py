import io
from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from hoiclip.datasets import image_checks
from hoiclip.datasets.image_checks import (
    AMBIGUOUS,
    MISSING,
    SIZE_DIFFERS,
    TURNED,
    UNREADABLE,
    ListedImage,
    Verdict,
    examine,
    examine_all,
)
from hoiclip.errors import InputError
from hoiclip.images.store import decode, stored_size


def encoded(size=(6, 4), orientation=None, kind="JPEG"):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8))
    exif = Image.Exif()
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    buffer = io.BytesIO()
    image.save(buffer, kind, exif=exif)
    return buffer.getvalue()


def listed(width, height):
    return ListedImage("a.jpg", width, height)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    ("orientation", "size", "stated", "expected"),
    [
        (None, (6, 4), (6, 4), None),
        (1, (6, 4), (6, 4), None),
        (99, (6, 4), (6, 4), None),
        (None, (6, 4), (4, 6), SIZE_DIFFERS),
        (1, (6, 4), (4, 6), SIZE_DIFFERS),
        (None, (6, 4), (6, 5), SIZE_DIFFERS),
        *((o, (6, 4), (6, 4), AMBIGUOUS) for o in (2, 3, 4)),
        *((o, (6, 4), (4, 6), SIZE_DIFFERS) for o in (2, 3, 4)),
        *((o, (6, 4), (6, 4), TURNED) for o in (5, 6, 7, 8)),
        *((o, (6, 4), (4, 6), None) for o in (5, 6, 7, 8)),
        *((o, (6, 4), (4, 7), SIZE_DIFFERS) for o in (5, 6, 7, 8)),
        *((o, (5, 5), (5, 5), AMBIGUOUS) for o in (2, 5, 6, 7, 8)),
    ],
)
def test_sizes_against_what_exif_shows(orientation, size, stated, expected, kind):
    data = encoded(size, orientation, kind)
    verdict = examine(listed(*stated), data)
    assert verdict.kind == expected
    assert verdict.orientation == (orientation if expected == TURNED else 1)
    assert stored_size(data) == size


@pytest.mark.parametrize("data", [b"", b"no image", encoded((60, 40))[:900], encoded()[:30]])
def test_what_is_no_image(data):
    verdict = examine(listed(60, 40), data)
    assert verdict.kind == UNREADABLE
    assert "a.jpg" in verdict.told["problem"]


@pytest.mark.parametrize("data", [b"", b"no image", encoded()[:30]])
def test_no_header_no_size(data):
    with pytest.raises(OSError):  # noqa: PT011
        stored_size(data)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(["JPEG", "PNG"]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damage_of_any_kind_is_a_verdict(kind, changes):
    data = bytearray(encoded((9, 7), 6, kind))
    for place, byte in changes:
        data[place % len(data)] = byte
    verdict = examine(listed(9, 7), bytes(data))
    if verdict.kind != UNREADABLE:
        # Whatever passes here can be read later on.
        decode(bytes(data), "a.jpg")


class Inline:
    """A pool that works at once, and knows how many results were not taken yet."""

    most = 0

    def __init__(self, workers, mp_context):
        self.open = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def submit(self, function, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        self.open.append(future)
        result = future.result

        def taken():
            self.open.remove(future)
            return result()

        future.result = taken
        Inline.most = max(Inline.most, len(self.open))
        return future


@pytest.fixture
def inline(monkeypatch):
    Inline.most = 0
    image_checks._store.cache_clear()
    monkeypatch.setattr(image_checks, "ProcessPoolExecutor", Inline)


def test_all_in_order_with_what_is_missing(tmp_path, inline):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a.jpg").write_bytes(encoded())
    (tmp_path / "b.jpg").write_bytes(b"no image")
    names = ["none.jpg", "deep/a.jpg", "../b.jpg", "b.jpg"]
    found = list(examine_all(tmp_path, [ListedImage(n, 6, 4) for n in names], 2))
    assert [verdict.kind for _, verdict in found] == [MISSING, None, MISSING, UNREADABLE]
    assert [data for data, _ in found] == [b"", encoded(), b"", b"no image"]
    assert found[1][1] == Verdict()
    assert "points outside" in found[2][1].told["problem"]


def test_few_images_are_held_at_a_time(tmp_path, inline):
    (tmp_path / "a.jpg").write_bytes(encoded())
    found = examine_all(tmp_path, [ListedImage("a.jpg", 6, 4)] * 200, 3)
    assert sum(verdict.kind is None for _, verdict in found) == 200
    assert 3 <= Inline.most <= 16


def test_no_images_and_no_folder(tmp_path, inline):
    assert list(examine_all(tmp_path, [], 1)) == []
    with pytest.raises(InputError, match="no such folder"):
        list(examine_all(tmp_path / "none", [], 1))
