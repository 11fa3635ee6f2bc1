"""A state is what was saved, or refused in one line that names the file and the cure."""

import dataclasses
import errno
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hoiclip.errors import InputError
from hoiclip.parallel.settings import settings
from hoiclip.resume.archive import VERSION
from hoiclip.resume.state_file import (
    ACCEPT_CODE,
    KEY_NAME,
    StateFile,
    differences,
)
from hoiclip.util.ranges import Config

ROOT = Path(__file__).parents[2]
CODE = {"hoiclip/a.py": "1", "hoiclip/b.py": "2"}
STATE = {"weights": torch.arange(30.0), "epoch": 3, "best": (1.5, 2), "rows": [(1, 0.5, "a", 2.0)]}


@pytest.fixture
def file(tmp_path) -> StateFile:
    made = StateFile(tmp_path / "states", {"seed": 0}, CODE)
    made.save(STATE)
    return made


def refused(file: StateFile) -> str:
    with pytest.raises(InputError) as info:
        file.load()
    said = str(info.value)
    assert "\n" not in said
    assert said.startswith(f"{file.path}: ")
    assert said.endswith(f". Delete {file.folder} to start this stage from its beginning")
    return said


def test_what_was_saved_comes_back(file):
    found = file.load()
    assert torch.equal(found.pop("weights"), STATE["weights"])
    assert found == {name: value for name, value in STATE.items() if name != "weights"}
    assert StateFile(file.folder.parent, {"seed": 1}, CODE).load() is None
    file.delete()
    assert file.load() is None
    assert not list(file.folder.parent.iterdir())


def test_any_flipped_byte_is_noticed(file):
    """Every byte of the head and of the archive's ends, and some of the rest."""
    data = file.path.read_bytes()
    offsets = {*range(200), *range(len(data) - 200, len(data)), *range(0, len(data), 23)}
    for offset in sorted(offsets):
        flipped = bytearray(data)
        flipped[offset] ^= 1 << offset % 8
        file.path.write_bytes(flipped)
        assert "damaged" in (said := refused(file)) or "of version" in said, offset


def test_any_truncation_and_any_addition_is_noticed(file):
    data = file.path.read_bytes()
    for length in {*range(120), *range(120, len(data), 31), len(data) - 1}:
        file.path.write_bytes(data[:length])
        assert "damaged" in refused(file)
    file.path.write_bytes(data + b"\0")
    assert "damaged" in refused(file)


def test_states_of_other_versions_are_refused(file):
    data = file.path.read_bytes()
    later = data.replace(b"%d" % VERSION, b"%d" % (VERSION + 1), 1)
    file.path.write_bytes(later)
    assert f"of version {VERSION + 1}" in refused(file)
    torch.save(STATE, file.path)
    assert "of version 1" in refused(file)


def test_a_state_of_other_work_is_refused(file, tmp_path):
    other = StateFile(tmp_path / "states", {"seed": 1}, CODE)
    other.save(STATE)
    file.path.write_bytes(other.path.read_bytes())
    assert "of other work: seed 0, was 1" in refused(file)


def with_code(file: StateFile, **changes: str | None) -> StateFile:
    """The same work by other code; None leaves the file out."""
    named = {f"hoiclip/{name}.py": digest for name, digest in changes.items()}
    code = {name: digest for name, digest in (CODE | named).items() if digest is not None}
    return StateFile(file.folder.parent, {"seed": 0}, code)


def test_changed_code_starts_anew_and_names_the_files(file, capsys):
    other = with_code(file, b="3")
    assert other.path == file.path
    assert other.load() is None
    assert other.accepted == []
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"{file.path}: starting anew, for the code has changed since: ")
    assert "since: hoiclip/b.py. HOICLIP_ACCEPT_CODE=1 in" in said
    other.save({"epoch": 1})
    assert other.load() == {"epoch": 1}
    assert file.load() is None  # now of other code


def test_at_most_five_changed_files_are_named(file, capsys):
    with_code(file, a="2", b="3", c="", d="", e="", f="", g="").load()
    names = "; ".join(f"hoiclip/{name}.py" for name in "abcde")
    assert f"since: {names}; and 2 more. " in capsys.readouterr().err


@pytest.mark.parametrize("changes", [{"c": "4"}, {"b": None}])
def test_a_module_that_one_process_alone_imported_is_no_change(file, capsys, changes):
    assert with_code(file, **changes).load()["epoch"] == 3
    assert capsys.readouterr().err == ""


def test_changed_code_is_accepted_where_told_to_and_remembered(file, capsys, monkeypatch):
    monkeypatch.setenv(ACCEPT_CODE, "1")
    other = with_code(file, b="3")
    assert other.load()["epoch"] == 3
    assert other.accepted == ["hoiclip/b.py"]
    said = f"{file.path}: taken although the code has changed since: hoiclip/b.py\n"
    assert capsys.readouterr().err == said
    other.save({"epoch": 4})
    monkeypatch.delenv(ACCEPT_CODE)
    again = with_code(file, b="3")
    assert again.load() == {"epoch": 4}
    assert again.accepted == ["hoiclip/b.py"]
    monkeypatch.setenv(ACCEPT_CODE, "1")
    third = with_code(file, a="0", b="3")
    assert third.load() == {"epoch": 4}
    assert third.accepted == ["hoiclip/a.py", "hoiclip/b.py"]


@pytest.mark.parametrize("value", ["", "0", "yes"])
def test_only_one_value_accepts(file, monkeypatch, value):
    monkeypatch.setenv(ACCEPT_CODE, value)
    assert with_code(file, b="3").load() is None


def test_the_nearest_work_with_a_state_is_named_with_its_difference(tmp_path, capsys):
    key = {"train": {"lr": 0.001, "seed": 0}, "files": {"a": "0" * 64}}
    StateFile(tmp_path, key, CODE).save(STATE)
    far = {"train": {"lr": 0.5, "seed": 7}, "files": {"a": "1" * 64}}
    StateFile(tmp_path, far, CODE).save(STATE)
    unsaved = StateFile(tmp_path, {"train": {"lr": 0.1, "seed": 0}}, CODE)
    with unsaved.locked():  # a folder without a state
        pass
    wanted = StateFile(tmp_path, key | {"train": {"lr": 0.0005, "seed": 0}}, CODE)
    assert wanted.load() is None
    near = StateFile(tmp_path, key, CODE)
    assert json.loads((near.folder / KEY_NAME).read_text()) == key
    line = f"starting anew: {near.path} is of other work: train.lr 0.0005, was 0.001\n"
    assert capsys.readouterr().err == line


def test_without_any_state_nothing_is_said(tmp_path, capsys):
    assert StateFile(tmp_path, {"seed": 0}, CODE).load() is None
    assert capsys.readouterr().err == ""


def test_states_of_earlier_versions_in_other_folders_are_told_of(tmp_path, capsys):
    """Before, other values decided a folder's name, and no key stood in it."""
    (tmp_path / "0123456789abcdef").mkdir()
    earlier = tmp_path / "0123456789abcdef/state.pt"
    earlier.write_bytes(b"hoiclip state 2\n")
    assert StateFile(tmp_path, {"seed": 0}, CODE).load() is None
    line = f"starting anew: {earlier} is of an earlier version, which this one does not read\n"
    assert capsys.readouterr().err == line


def test_differences_of_keys():
    old = {"a": {"b": 1, "c": [1, 2]}, "gone": True, "same": {"x": None}, "file": "0" * 64}
    new = {"a": {"b": 2, "c": [1, 3]}, "new": "x", "same": {"x": None}, "file": "1" * 64}
    assert differences(new, old) == [
        "a.b 2, was 1",
        "a.c [1, 3], was [1, 2]",
        "file changed",
        "gone absent, was True",
        "new 'x', was absent",
    ]
    assert differences(new, new) == []


def test_how_it_is_worked_is_no_part_of_a_key():
    @dataclasses.dataclass(frozen=True)
    class Encoder(Config):
        width: int = 8
        checkpoint_encoder: bool = True

    @dataclasses.dataclass(frozen=True)
    class Settings(Config):
        encoder: Encoder
        seed: int = 3
        workers: int = 2
        threads: int = 1

    assert settings(Settings(Encoder())) == {"seed": 3, "encoder": {"width": 8}}


class Marker:
    def __reduce__(self):
        return os.mkdir, ("marker",)


WHOLE = {"key": '{"seed": 0}', "code": {}, "accepted": [], "state": 0}


@pytest.mark.parametrize(
    "content",
    [Marker(), [1], {"key": "x"}, *(WHOLE | {name: 1} for name in ("key", "code", "accepted"))],
)
def test_nothing_in_a_state_is_executed(file, tmp_path, monkeypatch, content):
    """Whoever can write the file can also write its hash."""
    monkeypatch.chdir(tmp_path)
    archive = io.BytesIO()
    torch.save(content, archive)
    digest = hashlib.sha256(archive.getvalue()).hexdigest()
    head = f"hoiclip state {VERSION}\n{digest}\n"
    file.path.write_bytes(head.encode() + archive.getvalue())
    assert "cannot be read" in refused(file)
    assert not Path("marker").exists()


def test_a_folder_in_the_files_place_is_refused(file):
    file.path.unlink()
    file.path.mkdir()
    assert "cannot be read" in refused(file)


def run(code: str, folder: Path, **options) -> subprocess.Popen:
    """Runs code on a state file of the same identity in a process of its own."""
    start = (
        "import os, signal, sys, time; from pathlib import Path; from hoiclip.core import files;"
        "from hoiclip.resume.state_file import StateFile;"
        f"file = StateFile(Path({str(folder)!r}), {{'seed': 0}}, {CODE})\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", start + code], env=os.environ | {"PYTHONPATH": str(ROOT)}, **options
    )


def test_a_kill_between_write_and_rename_leaves_the_older_state(file):
    code = "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL); file.save({'epoch': 4})"
    assert run(code, file.folder.parent).wait(60) == -signal.SIGKILL
    assert len(list(file.folder.glob(".state.pt.*.part"))) == 1
    assert file.load()["epoch"] == 3
    file.save({"epoch": 4})
    assert file.load() == {"epoch": 4}
    assert sorted(file.folder.iterdir()) == [file.folder / KEY_NAME, file.older, file.path]


def test_a_kill_between_the_two_renames_leaves_the_older_state(file, capfd):
    code = (
        "real, calls = os.replace, []\n"
        "def replace(*names):\n"
        "    calls.append(names)\n"
        "    real(*names) if len(calls) == 1 else os.kill(os.getpid(), signal.SIGKILL)\n"
        "os.replace = replace; file.save({'epoch': 4})"
    )
    assert run(code, file.folder.parent).wait(60) == -signal.SIGKILL
    assert not file.path.exists()
    assert file.load()["epoch"] == 3
    assert "taken is the state before it" in capfd.readouterr().err


HOLD = """
import multiprocessing
with file.locked():
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(5,)).start()
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_kill_while_the_folder_is_removed_leaves_no_half_of_it(file, tmp_path, monkeypatch):
    """Files of a folder go one after another: work went on from what had not gone yet."""
    (file.folder / "epoch-0001.safetensors").write_bytes(b"weights")
    file.save(STATE)

    def killed(folder, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("hoiclip.resume.state_file.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            file.delete()
    assert not file.folder.exists()
    assert file.load() is None
    # What the kill left is no other work's state, and goes with the next.
    assert StateFile(tmp_path / "states", {"seed": 1}, CODE).load() is None
    file.save(STATE)
    file.delete()
    assert list((tmp_path / "states").iterdir()) == []


def test_a_second_process_is_refused_until_the_first_is_killed(file):
    """A worker that outlives the killed process does not keep the lock."""
    holder = run(HOLD, file.folder.parent, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(InputError, match="another process is at the same work") as info,
            file.locked(),
        ):
            pass
        assert str(info.value).startswith(f"{file.folder}: ")
        with StateFile(file.folder.parent, {"seed": 1}, CODE).locked():
            pass
        holder.kill()
        holder.wait()
        with file.locked():
            file.delete()
        with file.locked():  # The folder is gone; it is made again.
            pass
    finally:
        os.killpg(holder.pid, signal.SIGKILL)


def test_a_lock_on_a_folder_that_was_removed_is_not_taken(file, monkeypatch):
    """The owner finished between this process's look at the folder and its lock."""
    import fcntl

    real, calls = fcntl.lockf, []

    def removed_first(*arguments):
        if not calls:
            file.delete()
        calls.append(arguments)
        real(*arguments)

    monkeypatch.setattr(fcntl, "lockf", removed_first)
    with file.locked():
        assert (file.folder / "lock").exists()
    assert len(calls) == 2


def test_a_file_system_without_locks_is_one_line(file, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.lockf", no_locks)
    problem = r"lock: cannot be locked \(No locks available\)"
    with pytest.raises(InputError, match=problem), file.locked():
        pass


def test_a_folder_that_cannot_be_made_is_not_tried_for_ever(file):
    """As where the folder that this process works in was removed."""
    (file.folder / "lock").symlink_to(file.folder / "absent" / "file")
    with pytest.raises(InputError, match="cannot be locked"), file.locked():
        pass
