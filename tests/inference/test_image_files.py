"""Which files are images, and what becomes of those that are none."""

import io
import os
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from hoiclip.errors import InputError
from hoiclip.images.store import LIMITS, Limits, suffixes
from hoiclip.inference.image_files import (
    earlier_results,
    find_images,
    picture_name,
    read_image_file,
    text_of,
)

CASE = Path(__file__).resolve().parents[3] / "shared/cases/images-other-suffixes/folder"


def png(size=(6, 4)):
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, "PNG")
    return buffer.getvalue()


def read(path, limits=LIMITS):
    return read_image_file(path, limits, lambda size: size)


def problem(path, limits=LIMITS):
    with pytest.raises(InputError) as info:
        read(path, limits)
    text = str(info.value)
    assert text.isprintable()
    return text


def test_suffixes_are_those_of_every_format_that_is_read():
    assert {".jpg", ".jpe", ".jfif", ".jp2", ".mpo", ".tif", ".webp", ".qoi"} <= suffixes()
    assert not {".eps", ".pdf", ".h5", ".txt", ".mpg"} & suffixes()
    assert (".avif" in suffixes()) == features.check("avif")


def test_what_is_passed_over_is_counted_and_named(tmp_path):
    for name in ("A.JPE", "b.Jfif", "c.heic", "d.HEIC", "e.txt", "f"):
        (tmp_path / name).touch()
    found = find_images([tmp_path])
    assert [path.name for path in found.images] == ["A.JPE", "b.Jfif"]
    said = "4 files were passed over (.heic 2, .txt 1, no suffix 1): c.heic, d.HEIC, e.txt, ..."
    assert found.passed_over_text() == said
    (tmp_path / "more").mkdir()
    (tmp_path / "more/x.doc").touch()
    only = find_images([tmp_path / "A.JPE", tmp_path / "more"])
    assert only.passed_over_text() == "1 file was passed over (.doc 1): x.doc"
    with pytest.raises(InputError, match=r"no image in it \(1 file was passed over \(\.doc 1\)"):
        find_images([tmp_path / "more"])


def test_a_file_that_is_named_is_read_whatever_its_suffix(tmp_path):
    (tmp_path / "photo.dat").write_bytes(png())
    assert find_images([tmp_path / "photo.dat"]).images == [tmp_path / "photo.dat"]


def test_each_file_once_and_links_to_folders_not_followed(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "root").symlink_to("/")
    found = find_images([tmp_path, tmp_path / "a.png", tmp_path])
    assert found.images == [tmp_path / "a.png"]
    assert "2 files were passed over (linked folder 2)" in found.passed_over_text()
    assert find_images([tmp_path / "again"]).images == [tmp_path / "again/a.png"]


def test_what_does_not_exist_and_names_that_none_can_have(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        find_images([tmp_path / "none.png"])
    (error,) = find_images([tmp_path / ("a" * 300)]).errors
    assert "File name too long" in str(error)


def test_a_folder_that_may_not_be_entered_is_listed(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.png").write_bytes(png())
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = find_images([tmp_path])
    assert [path.name for path in found.images] == ["a.png"]
    assert [str(e) for e in found.errors] == [
        f"{tmp_path}/closed: cannot be read (Permission denied)"
    ]


@pytest.fixture
def strange(tmp_path):
    """Things with the name of an image that must neither block nor be read."""
    os.mkfifo(tmp_path / "fifo.png")
    listening = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(tmp_path)  # as the address of a socket is short
    listening.bind("socket.png")
    os.chdir(here)
    for name, target in {"zero": "/dev/zero", "gone": "nowhere", "loop": "loop.png"}.items():
        (tmp_path / f"{name}.png").symlink_to(target)
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    yield tmp_path
    listening.close()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fifo", "a FIFO, not a file"),
        ("socket", "a socket, not a file"),
        ("zero", "a device, not a file"),
        ("gone", "No such file or directory"),
        ("loop", "Too many levels of symbolic links"),
        ("empty", "the file is empty"),
        ("folder", "Is a directory"),
    ],
)
def test_what_is_no_file_is_one_line(strange, name, told):
    assert told in problem(strange / f"{name}.png")


def bomb(width, height, before=b""):
    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + before + chunk(b"IDAT", zlib.compress(b""))


def test_bombs_are_refused_before_they_are_decoded(tmp_path, recwarn):
    before = Image.MAX_IMAGE_PIXELS
    (tmp_path / "wide.png").write_bytes(bomb(60_000, 60_000))
    inner = bomb(60_000, 60_000)
    entry = struct.pack("<HHHBBBBHHII", 0, 1, 1, 64, 64, 0, 0, 1, 32, len(inner), 22)
    (tmp_path / "inner.ico").write_bytes(entry + inner)
    for name in ("wide.png", "inner.ico"):
        assert "limit of 200 megapixels. Raise --max-megapixels" in problem(tmp_path / name)
    text = b"a\0\0" + zlib.compress(bytes(100_000_000))
    crc = struct.pack(">I", zlib.crc32(b"zTXt" + text))
    (tmp_path / "text.png").write_bytes(
        bomb(4, 4, struct.pack(">I", len(text)) + b"zTXt" + text + crc)
    )
    assert "damaged image" in problem(tmp_path / "text.png")
    assert not recwarn.list
    assert before == Image.MAX_IMAGE_PIXELS


def test_limits_can_be_raised_and_lowered(tmp_path, monkeypatch, recwarn):
    path = tmp_path / "a.png"
    path.write_bytes(png((50, 20)))
    assert "limit of 0.0009 megapixels" in problem(path, Limits(pixels=900))
    assert "more than the limit of 1e-05. Raise --max-megabytes" in problem(path, Limits(bytes=10))
    # Pillow's own limit, of which it warns, is not in the way.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read(path, Limits(pixels=1000, bytes=10_000))[1] == (50, 20)
    assert Image.MAX_IMAGE_PIXELS == 10
    assert not recwarn.list


@pytest.mark.parametrize("orientation", [1, 6, 7])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_reduced_photo_has_its_full_size(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    ramp = np.tile(np.linspace(0, 255, 1201).astype(np.uint8), (803, 1))
    Image.fromarray(ramp).convert("RGB").save(tmp_path / "a", kind, exif=exif)
    whole, size = read_image_file(tmp_path / "a", LIMITS, lambda full: full)
    reduced, again = read_image_file(
        tmp_path / "a", LIMITS, lambda full: (full[0] // 5, full[1] // 5)
    )
    assert size == again == whole.size == ((1201, 803) if orientation == 1 else (803, 1201))
    assert reduced.size == (whole.size if kind == "PNG" else tuple(-(-s // 4) for s in size))
    enlarged = np.asarray(reduced.resize(size)).astype(int)
    assert abs(enlarged - np.asarray(whole)).max() <= 4


def test_names_become_text_that_can_be_written(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\x1b[31m.png"))
    path.write_bytes(png())
    (found,) = find_images([tmp_path]).images
    assert read(found)[1] == (6, 4)
    assert text_of(found) == f"{tmp_path}/caf\\xe9\x1b[31m.png"
    assert picture_name(3, found) == "00003-caf_udce9_x1b[31m.jpg"
    broken = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b]0;.png"))
    broken.touch()
    assert "\\udcff\\x1b]0;.png: not an image" in problem(broken)


@pytest.mark.parametrize("stem", ["a" * 242, "é" * 121, "\x1b" * 240])
def test_names_of_pictures_fit_and_differ(tmp_path, stem):
    names = {picture_name(number, Path(f"{stem}.png")) for number in range(12)}
    assert len(names) == 12
    for name in names:
        (tmp_path / name).touch()


def test_results_of_an_earlier_run_are_no_images(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/00000-a.jpg").write_bytes(png())
    for name in ("predictions.json", "predictions.parquet"):
        (tmp_path / name).touch()
    found = find_images([tmp_path], earlier_results(tmp_path, pictures=True))
    assert (found.images, found.passed_over) == ([tmp_path / "a.png"], [])
    # Somebody's own folder of that name is neither overlooked nor replaced.
    (tmp_path / "pictures/holiday.jpg").write_bytes(png())
    with pytest.raises(InputError, match=r"pictures: holds 'holiday\.jpg', and would be replaced"):
        earlier_results(tmp_path, pictures=True)
    found = find_images([tmp_path], earlier_results(tmp_path, pictures=False))
    assert len(found.images) == 3


@pytest.mark.skipif(not CASE.is_dir(), reason="needs the shared cases")
def test_reported_suffixes_are_read_or_named():
    found = find_images([CASE])
    assert len(found.images) + len(found.passed_over) == 4
    assert len(found.images) == 4 or "passed over" in found.passed_over_text()
    for path in found.images:
        assert read(path)[1] == (160, 120)
