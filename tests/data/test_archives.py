import io
import stat
import tarfile
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoiclip.data.archives import unpack
from hoiclip.errors import InputError

FILES = {"a.txt": b"one", "deep/b.txt": b"two" * 100}


def write_tar(path, files, mode="w:gz", **attributes):
    with tarfile.open(path, mode) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for key, value in attributes.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(data))
    return path


def write_zip(path, files, mode=0o644 | stat.S_IFREG):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            file.writestr(member, data)
    return path


WRITERS = [write_tar, write_zip]


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("files", [{}, FILES])
def test_round_trip_replaces_the_folder(tmp_path, write, files):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    unpack(write(tmp_path / "archive", files), tmp_path / "out")
    assert contents(tmp_path / "out") == files


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"top/a.txt": b"1", "top/deep/b.txt": b"2"}, {"a.txt": b"1", "deep/b.txt": b"2"}),
        ({"top/top/a.txt": b"1"}, {"top/a.txt": b"1"}),
        ({"top/top/a.txt": b"1", "top/b.txt": b"2"}, {"top/a.txt": b"1", "b.txt": b"2"}),
        ({"only.txt": b"1"}, {"only.txt": b"1"}),
    ],
)
def test_an_archive_of_one_folder_becomes_that_folder(tmp_path, write, files, expected):
    unpack(write(tmp_path / "archive", files), tmp_path / "out")
    assert contents(tmp_path / "out") == expected
    assert [path.name for path in tmp_path.iterdir()].count("out") == 1


@pytest.mark.parametrize("mode", ["w:", "w:bz2", "w:xz"])
def test_other_compressions(tmp_path, mode):
    unpack(write_tar(tmp_path / "archive", FILES, mode), tmp_path / "out")
    assert contents(tmp_path / "out") == FILES


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", ["../escaped", "deep/../../escaped"])
def test_members_outside_the_folder(tmp_path, write, name):
    with pytest.raises(InputError, match="unsafe member"):
        unpack(write(tmp_path / "archive", FILES | {name: b"x"}), tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("escaped"))
    assert list((tmp_path / "deep").iterdir()) == []


def test_absolute_zip_member(tmp_path):
    with pytest.raises(InputError, match="unsafe member"):
        unpack(write_zip(tmp_path / "archive", {f"{tmp_path}/escaped": b"x"}), tmp_path / "out")


@pytest.mark.parametrize(
    "attributes",
    [
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.LNKTYPE, "linkname": "../../x"},
        {"type": tarfile.CHRTYPE},
    ],
)
def test_tar_links_and_devices(tmp_path, attributes):
    path = write_tar(tmp_path / "archive", {"link": b""}, **attributes)
    with pytest.raises(InputError, match="unsafe member"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_zip_link(tmp_path):
    path = write_zip(tmp_path / "archive", {"link": b"/etc/passwd"}, 0o777 | stat.S_IFLNK)
    with pytest.raises(InputError, match="unsafe member 'link'"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("write", WRITERS)
def test_limit(tmp_path, write):
    path = write(tmp_path / "archive", FILES)
    unpack(path, tmp_path / "out", limit_bytes=303)
    with pytest.raises(InputError, match="unpacks to more than 302 bytes"):
        unpack(path, tmp_path / "other", limit_bytes=302)
    assert not (tmp_path / "other").exists()


def test_absent(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        unpack(tmp_path / "archive", tmp_path / "out")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(WRITERS), st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_damage_gives_all_or_nothing(tmp_path_factory, write, place, byte, cut):
    tmp_path = tmp_path_factory.mktemp("damage")
    data = bytearray(write(tmp_path / "archive", FILES).read_bytes())
    data[place % len(data)] = byte
    (tmp_path / "archive").write_bytes(data[: place % len(data)] if cut else data)
    try:
        unpack(tmp_path / "archive", tmp_path / "out")
    except InputError:
        assert not (tmp_path / "out").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
