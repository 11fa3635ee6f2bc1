import gzip
import io
import os
import stat
import tarfile
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoiclip.errors import InputError
from hoiclip.fetch.archives import unpack

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


TAR_MODES = ["w:", "w:gz", "w:bz2", "w:xz"]


def write_members(path, members, mode):
    """A tar of (name, data, attributes)."""
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as tar:
        for name, data, attributes in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for key, value in attributes.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(data))
    return path


def link(name, target, kind=tarfile.SYMTYPE):
    return (name, b"", {"type": kind, "linkname": target})


def nested_links(target):
    """CVE-2025-4517: a chain of links whose resolved path is longer than the system resolves."""
    members, long, path = [], "d" * 247, ""
    for step in "abcdefghijklmnop":
        members.append((path + long, b"", {"type": tarfile.DIRTYPE}))
        members.append(link(path + step, long))
        path += f"{step}/"
    path = "/".join("abcdefghijklmnop") + f"/{'l' * 254}"
    members.append(link(path, "../" * 16))
    members.append(link("escape", f"{path}/{'../' * 8}{target.relative_to('/')}"))
    return [*members, ("escape/escaped", b"x", {})]


LINKS = {
    "nested links": nested_links,
    "a link to a folder, then a file in it": lambda outside: [
        link("top", str(outside)), ("top/escaped", b"x", {}),
    ],
    "a lone link to a folder": lambda outside: [link("top", str(outside))],
    "a lone folder that holds links of its own name": lambda outside: [
        ("top", b"", {"type": tarfile.DIRTYPE}), link("top/top", str(outside)),
    ],
    "a link inside": lambda _: [("a", b"x", {}), link("b", "a")],
    "a hard link to a file outside": lambda outside: [
        link("a", f"{outside}/canary", tarfile.LNKTYPE), ("a", b"x", {}),
    ],
    "a hard link to an absent member": lambda _: [link("a", "absent", tarfile.LNKTYPE)],
    "a link to itself": lambda _: [link("a", "a"), ("a/b", b"x", {})],
}  # fmt: skip
OTHERS = {
    "a FIFO": [("a", b"", {"type": tarfile.FIFOTYPE})],
    "a block device": [("a", b"", {"type": tarfile.BLKTYPE, "devmajor": 8})],
    "a device": [("a", b"", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3})],
    "an unknown type": [("a", b"", {"type": b"Z", "linkname": "../b"})],
    "an absolute name": [("/tmp/escaped", b"x", {})],
    "a name that leaves by a folder": [("a/../../escaped", b"x", {})],
    "a name that stays inside by ..": [("a/../escaped", b"x", {})],
    "a pax name that leaves": [("a", b"x", {"pax_headers": {"path": "../escaped"}})],
    "a backslash": [("..\\escaped", b"x", {})],
    "a colon": [("c:escaped", b"x", {})],
    "no name": [(".", b"x", {})],
    "folders without end": [("a/" * 400 + "b", b"x", {})],
    "a folder without end": [("a/" * 65, b"", {"type": tarfile.DIRTYPE})],
    "a pax sparse file": [
        ("a", b"x", {"pax_headers": {"GNU.sparse.map": "0,1", "GNU.sparse.size": "9" * 15}}),
    ],
    "a file, then a folder": [("a", b"x", {}), ("a/b", b"x", {})],
    "a folder, then a file": [("a/b", b"x", {}), ("a", b"x", {})],
    "a negative size": [("a", b"x" * 999, {"pax_headers": {"size": "-1536"}})],
    "a name too long for a file": [("a" * 300, b"x", {})],
    "a size that is a lie": [("a", b"x", {"pax_headers": {"size": str(1 << 36)}})],
    "a size above the limit": [("a", b"x", {"pax_headers": {"size": str(1 << 50)}})],
}


def refused(tmp_path, path):
    """Unpacks what cannot be unpacked; returns the error's text."""
    outside = tmp_path / "outside"
    with pytest.raises(InputError) as caught:
        unpack(path, tmp_path / "in" / "out")
    assert [p.name for p in outside.iterdir()] == ["canary"]
    assert (outside / "canary").read_bytes() == b"canary"
    assert not list(tmp_path.rglob("*escaped"))
    assert list((tmp_path / "in").iterdir()) == []
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 1000
    return str(caught.value)


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "canary").write_bytes(b"canary")
    return folder


@pytest.mark.parametrize("mode", TAR_MODES)
@pytest.mark.parametrize("name", LINKS)
def test_no_link_is_made(tmp_path, outside, mode, name):
    path = write_members(tmp_path / "archive", LINKS[name](outside), mode)
    assert "unsafe member" in refused(tmp_path, path)


@pytest.mark.parametrize("mode", TAR_MODES)
@pytest.mark.parametrize("name", OTHERS)
def test_hostile_tar_members(tmp_path, outside, mode, name):
    refused(tmp_path, write_members(tmp_path / "archive", OTHERS[name], mode))


@pytest.mark.parametrize(
    "files",
    [
        {"/tmp/escaped": b"x"}, {"a/../../escaped": b"x"}, {"..\\escaped": b"x"},
        {"c:escaped": b"x"}, {"a/" * 400 + "b": b"x"}, {"a": b"x", "a/b": b"x"}, {"a" * 300: b"x"},
    ],
)  # fmt: skip
def test_hostile_zip_members(tmp_path, outside, files):
    refused(tmp_path, write_zip(tmp_path / "archive", files))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK])
def test_zip_links_and_devices(tmp_path, outside, kind):
    files = {"top": str(outside).encode()}
    path = write_zip(tmp_path / "archive", files, 0o777 | kind)
    assert "unsafe member 'top'" in refused(tmp_path, path)


def test_a_header_of_a_gigabyte_is_not_read(tmp_path, outside):
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    (tmp_path / "archive").write_bytes(gzip.compress(name.tobuf(tarfile.GNU_FORMAT) + bytes(9999)))
    assert "over 16384 bytes of headers for a member" in refused(tmp_path, tmp_path / "archive")


@pytest.mark.parametrize("text", [b"1", b"2 "], ids=["digits", "records of two bytes"])
def test_a_header_that_takes_tarfile_time_by_its_square_is_not_read(tmp_path, outside, text):
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 1 << 20
    content = text * ((1 << 20) // len(text))
    (tmp_path / "archive").write_bytes(header.tobuf(tarfile.USTAR_FORMAT) + content)
    assert "over 16384 bytes of headers for a member" in refused(tmp_path, tmp_path / "archive")


def test_a_member_of_many_headers_is_not_read(tmp_path, outside):
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 512
    one = header.tobuf(tarfile.USTAR_FORMAT) + b"9 path=a\n".ljust(512, b"\0")
    (tmp_path / "archive").write_bytes(one * 100)
    assert "over 16384 bytes of headers for a member" in refused(tmp_path, tmp_path / "archive")


def test_contents_are_not_bounded_as_headers_are(tmp_path):
    files = {name: os.urandom(1 << 18) for name in ("a", "b", "c")}
    unpack(write_tar(tmp_path / "archive", files, "w"), tmp_path / "out")
    assert contents(tmp_path / "out") == files


@pytest.mark.parametrize(
    ("start", "kind"),
    [(b"(\xb5/\xfd", "Zstandard"), (b"Rar!\x1a\x07", "RAR"), (b"7z\xbc\xaf'\x1c", "7-Zip")],
)
def test_other_archives_are_named(tmp_path, outside, start, kind):
    (tmp_path / "archive").write_bytes(start.ljust(2048, b"\0"))
    assert f"a {kind} archive, which is not read" in refused(tmp_path, tmp_path / "archive")


def test_a_zip_of_undecodable_names(tmp_path, outside):
    path = write_zip(tmp_path / "archive", {"\u00e9": b"x"})
    path.write_bytes(path.read_bytes().replace("\u00e9".encode(), b"\xff\xff"))
    assert "cannot be unpacked" in refused(tmp_path, path)


@pytest.mark.parametrize("mode", TAR_MODES)
def test_the_folder_itself_may_be_a_member_and_the_last_of_a_name_counts(tmp_path, mode):
    members = [
        (".", b"", {"type": tarfile.DIRTYPE, "mode": 0}),
        ("./a.txt", b"old", {}),
        ("./a.txt", b"new", {"mode": 0o6777, "uid": 5, "uname": "nobody"}),
        ("./b", b"", {"type": tarfile.DIRTYPE, "mode": 0o1777}),
    ]
    unpack(write_members(tmp_path / "archive", members, mode), tmp_path / "out")
    assert contents(tmp_path / "out") == {"a.txt": b"new"}
    assert (tmp_path / "out" / "b").is_dir()
    for path in (tmp_path / "out").rglob("*"):
        status = path.stat()
        assert status.st_uid == os.getuid()
        assert not status.st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH | stat.S_ISVTX)


def test_what_is_no_file_is_no_archive(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(InputError, match="no such file"):
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
