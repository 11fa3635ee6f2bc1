import hashlib

import pytest

from hoiclip.errors import InputError
from hoiclip.files import (
    atomic_file,
    atomic_folder,
    read_json,
    sha256_file,
    sha256_files,
    write_json,
)


def test_a_file_appears_complete_with_its_folders(tmp_path):
    path = tmp_path / "a/b/c.txt"
    with atomic_file(path) as aside:
        aside.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["c.txt"]


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "c.txt"
    path.write_text("old")

    def fail():
        with atomic_file(path) as aside:
            aside.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_whole(tmp_path):
    path = tmp_path / "out"
    path.mkdir()
    (path / "stale").touch()
    with atomic_folder(path) as aside:
        (aside / "fresh").touch()
        assert (path / "stale").exists()
    assert [p.name for p in path.iterdir()] == ["fresh"]
    assert path.stat().st_mode & 0o777 == 0o755
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_folder_leaves_the_old_one_and_no_rest(tmp_path):
    path = tmp_path / "out"
    path.mkdir()
    (path / "old").touch()

    def fail():
        with atomic_folder(path) as aside:
            (aside / "half").touch()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [p.name for p in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_sorted_and_returns(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": [1, None], "a": "é"})
    assert path.read_text(encoding="utf-8").index('"a"') < path.read_text("utf-8").index('"b"')
    assert read_json(path) == {"a": "é", "b": [1, None]}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_what_is_no_json(tmp_path, value):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON .*recursion"),
        (b"9" * 5000, "not valid JSON .*4300 digits"),
    ],
)
def test_unreadable_json_names_the_file(tmp_path, content, message):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as info:
        read_json(path)
    assert str(path) in str(info.value)


def test_json_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(path) == [1]


def test_a_folder_or_a_closed_file_is_no_json(tmp_path, monkeypatch):
    for path in (tmp_path, tmp_path / "absent\0"):
        with pytest.raises(InputError, match=r"cannot be read|not valid JSON"):
            read_json(path)
    path = tmp_path / "a.json"
    path.write_text("[]")
    with pytest.raises(InputError, match="Not a directory"):
        read_json(path / "b.json")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    # The superuser may read everything, so that no mode would do.
    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    with pytest.raises(InputError, match=r"a\.json: cannot be read \(Permission denied\)"):
        read_json(path)


def test_hashes(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"abc")
    b.write_bytes(b"")
    assert sha256_file(a) == hashlib.sha256(b"abc").hexdigest()
    assert sha256_files([a, b]) == sha256_files([a, b])
    assert sha256_files([a, b]) != sha256_files([b, a])
    assert sha256_files([a]) != sha256_files([a, b])
