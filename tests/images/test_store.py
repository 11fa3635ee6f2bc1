import io
import os
import tarfile

import numpy as np
import pytest
from PIL import Image

from hoiclip.errors import InputError
from hoiclip.images import store as images_module
from hoiclip.images.store import ImageStore, Limits, decode, write_shards


def encoded(colour, size=(6, 4), kind="PNG", **options):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind, **options)
    return buffer.getvalue()


RED, BLUE = encoded((255, 0, 0)), encoded((0, 0, 255))


def test_shards_return_what_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(images_module, "IMAGES_PER_SHARD", 2)
    contents = {f"{i}.png": encoded((i, 0, 0)) for i in range(5)}
    write_shards(tmp_path / "images", contents.items())
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert names == ["00000.tar", "00001.tar", "00002.tar"]
    store = ImageStore(tmp_path / "images")
    assert {name: store.read_bytes(name) for name in contents} == contents
    image = store.read("3.png")
    assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGB", (6, 4), (3, 0, 0))
    with tarfile.open(tmp_path / "images/00001.tar") as tar:
        assert tar.getnames() == ["2.png", "3.png"]


def test_shards_of_equal_images_are_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write_shards(tmp_path / name, iter([("red.png", RED), ("blue.png", BLUE)]))
    assert (tmp_path / "a/00000.tar").read_bytes() == (tmp_path / "b/00000.tar").read_bytes()


def test_no_images_make_an_empty_folder(tmp_path):
    write_shards(tmp_path / "images", [])
    assert not list((tmp_path / "images").iterdir())


def test_interrupted_shards_leave_nothing(tmp_path):
    def broken():
        yield "red.png", RED
        raise KeyError

    with pytest.raises(KeyError):
        write_shards(tmp_path / "images", broken())
    assert not list(tmp_path.iterdir())


def test_loose_files_are_read_at_any_depth(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/red.png").write_bytes(RED)
    assert ImageStore(tmp_path).read("deep/red.png").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("name", ["../secret.png", "deep/../../secret.png", "{root}/secret.png"])
def test_names_that_point_outside_are_refused(tmp_path, name):
    (tmp_path / "secret.png").write_bytes(RED)
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="points outside the folder"):
        ImageStore(tmp_path / "images").read(name.format(root=tmp_path))


def test_a_link_that_points_outside_is_refused(tmp_path):
    (tmp_path / "secret.png").write_bytes(RED)
    (tmp_path / "images").mkdir()
    (tmp_path / "images/link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(InputError, match="points outside the folder"):
        ImageStore(tmp_path / "images").read("link.png")


def test_missing_things_are_named(tmp_path):
    with pytest.raises(InputError, match="no such folder of images"):
        ImageStore(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"image 'a\.png' is missing"):
        ImageStore(tmp_path).read("a.png")
    (tmp_path / "folder.png").mkdir()
    for name in ("folder.png", "a\0.png", "a" * 300, "\ud800.png"):
        with pytest.raises(InputError, match="is missing") as info:
            ImageStore(tmp_path).read(name)
        str(info.value).encode()


def test_a_fifo_among_the_images_blocks_nobody(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(InputError, match="a FIFO, not a file"):
        ImageStore(tmp_path).read("a.png")


def test_limits_of_a_store_hold_for_files_and_shards(tmp_path):
    write_shards(tmp_path / "shards", [("red.png", RED)])
    (tmp_path / "red.png").write_bytes(RED)
    for folder in (tmp_path, tmp_path / "shards"):
        with pytest.raises(InputError, match="more than the limit"):
            ImageStore(folder, Limits(bytes=10)).read("red.png")
        with pytest.raises(InputError, match="more pixels than the limit"):
            ImageStore(folder, Limits(pixels=20)).read("red.png")
        assert ImageStore(folder, Limits(pixels=24, bytes=10_000)).read("red.png").size == (6, 4)


@pytest.mark.parametrize("name", ["ein Hünd 犬.png", "a" * 120 + ".png", "deep/" * 60 + "a.png"])
def test_shards_take_names_of_any_length_and_script(tmp_path, name):
    write_shards(tmp_path / "images", [(name, RED), ("a.png", BLUE)])
    store = ImageStore(tmp_path / "images")
    assert [store.read_bytes(n) for n in (name, "a.png")] == [RED, BLUE]


@pytest.mark.parametrize("content", [b"no tar at all" * 100, b"x"])
def test_a_damaged_shard_is_named(tmp_path, content):
    (tmp_path / "00000.tar").write_bytes(content)
    with pytest.raises(InputError, match=r"00000\.tar: not a tar shard"):
        ImageStore(tmp_path).read("a.png")


def test_a_shard_cut_short_gives_an_error_not_half_an_image(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    write_shards(tmp_path / "images", [("a.jpg", buffer.getvalue())])
    shard = tmp_path / "images/00000.tar"
    shard.write_bytes(shard.read_bytes()[: 512 + len(buffer.getvalue()) // 2])
    with pytest.raises(InputError):
        ImageStore(tmp_path / "images").read("a.jpg")


def jpeg(**options):
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (32, 48, 3), np.uint8)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [b"", b"not an image", jpeg()[:300], jpeg()[: len(jpeg()) // 2], RED[:40], b"GIF89a", b"\x00"],
)
def test_damaged_images_are_named(data):
    with pytest.raises(InputError, match=r"images/a\.jpg: (not an image|damaged image)") as info:
        decode(data, "images/a.jpg")
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("orientation", "size", "corner"),
    [(1, (6, 4), (0, 0)), (3, (6, 4), (5, 3)), (6, (4, 6), (3, 0)), (8, (4, 6), (0, 5))],
)
def test_images_are_turned_as_exif_says(orientation, size, corner):
    """`corner` is where the upper left pixel of the stored image is shown."""
    image = Image.new("RGB", (6, 4))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    shown = decode(buffer.getvalue(), "a.png")
    assert shown.size == size
    assert shown.getpixel(corner) == (255, 255, 255)
    assert np.asarray(shown).sum() == 3 * 255


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_every_mode_becomes_rgb(mode):
    buffer = io.BytesIO()
    Image.new(mode, (6, 4)).save(buffer, "TIFF")
    assert decode(buffer.getvalue(), "a").mode == "RGB"


@pytest.mark.parametrize(
    "headers",
    [
        {"size": "-1536"},
        {"size": str(1 << 50)},
        {"GNU.sparse.map": "0,1", "GNU.sparse.size": "9" * 15},
        {"GNU.sparse.map": "x", "GNU.sparse.size": "1"},
    ],
)
def test_a_shard_whose_sizes_lie_is_named(tmp_path, headers):
    with tarfile.open(tmp_path / "00000.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("red.png")
        member.size, member.pax_headers = len(RED), headers
        tar.addfile(member, io.BytesIO(RED))
    with pytest.raises(InputError, match=r"00000\.tar: not a tar shard"):
        ImageStore(tmp_path).read("red.png")
