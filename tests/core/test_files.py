import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hoiclip.core.files import (
    atomic_file,
    atomic_folder,
    read_json,
    sha256_file,
    sha256_files,
    write_json,
)
from hoiclip.errors import InputError


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


KILLED_WHILE_WRITING = """
import os, signal, sys
from hoiclip.core.files import atomic_file, atomic_folder
with atomic_file("out") as file, atomic_folder("folder") as folder:
    file.write_text("half")
    (folder / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_next_write_removes_what_killed_processes_left(tmp_path):
    subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_WRITING],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )
    assert len(list(tmp_path.iterdir())) == 2  # otherwise this test shows nothing
    with atomic_file(tmp_path / "out") as aside:
        aside.touch()
    with atomic_folder(tmp_path / "folder"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "out"]


def test_what_may_still_be_written_or_is_of_others_stays(tmp_path):
    """Parts of a running process, of downloads that can go on, and of other files."""
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    kept = [
        f".out.{os.getpid()}.part",
        f".out.{os.getppid()}.abcd1234.part",
        ".out.1.part",
        ".out.part",
        ".out.part.json",
        f".out.{ended.pid}.zip.part",
        f".out2.{ended.pid}.part",
        f".xout.{ended.pid}.part",
        f"out.{ended.pid}.part",
    ]
    for name in (*kept, f".out.{ended.pid}.part"):
        (tmp_path / name).touch()
    with atomic_folder(tmp_path / "out"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "out"])


@pytest.mark.parametrize("name", ["a[1]*", "a.b", "é"])
def test_leftovers_of_any_name_are_found(tmp_path, name):
    (tmp_path / f".{name}.99999999999999999999.part").touch()
    with atomic_file(tmp_path / name) as aside:
        aside.touch()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_contents_reach_the_disk_before_the_name(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, r=real: (done.append(n), r(*a))[1])
    write_json(tmp_path / "a.json", 1)
    assert done == ["fsync", "replace", "fsync"]


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
        (b" \n", "the file is empty"),
        (b"{", "not valid JSON"),
        (b"\xfc", "not UTF-8 text, but text of another encoding.*Save it as UTF-8"),
        (b"\xff\xfe[\0]\0", "not UTF-8 text, but UTF-16"),
        (b"\xff\xd8\xff\xe0", "not UTF-8 text, but an image"),
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
