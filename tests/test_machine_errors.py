"""What the machine refuses is one line and an exit code, and nothing is left half written."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hoiclip.cli import main
from hoiclip.core.files import atomic_file, atomic_folder, check_output_folder, write_json
from hoiclip.errors import InputError, ParamsError
from hoiclip.stage_main import describe, guarded, run_stage

ROOT = Path(__file__).parents[1]


def refuse(error):
    def run():
        raise error

    return run


def run_python(code, *arguments, **options):
    """A process of its own that runs `code` under `guarded`, which it need not import."""
    source = f"import sys\nfrom hoiclip.stage_main import guarded\n{code}\nsys.exit(guarded(run))"
    done = subprocess.run(
        [sys.executable, "-c", source, *arguments], stderr=subprocess.PIPE, text=True, cwd=ROOT,
        timeout=100, check=False, **options,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/b.json"), "a/b.json: No space left"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError(errno.EROFS, "Read-only file system", "a"), "a: Read-only file system"),
        (OSError(errno.EMFILE, "Too many open files", "a"), "a: Too many open files"),
        (FileExistsError(errno.EEXIST, "File exists", "out"), "out: is a file, and a folder is"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"), "a/b: Not a directory"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "standard output: Broken pipe"),
        (OSError("Caught OSError in worker 0.\nTraceback:\n  x\nOSError: bad"), "OSError: bad"),
        (MemoryError(), "out of memory (MemoryError). Lower batch_size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 4 bytes"), "out of memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "a worker"),
        (ParamsError("a: 0"), "a: 0"),
    ],
)
def test_errors_of_the_machine_are_one_line(capsys, error, text):
    assert guarded(refuse(error)) == 1
    line = capsys.readouterr().err
    assert line.startswith(f"error: {text}")
    assert line.count("\n") == 1
    with pytest.raises(type(error)):
        guarded(refuse(error), debug=True)


def test_the_programs_own_faults_keep_their_traceback():
    for error in (KeyError("a"), ValueError("b"), RuntimeError("c"), AssertionError()):
        assert describe(error) is None
        with pytest.raises(type(error)):
            guarded(refuse(error))


def test_exit_codes():
    assert guarded(lambda: 3) == 3
    assert guarded(lambda: {"a": 1}) == 0
    assert guarded(lambda: None) == 0
    assert guarded(refuse(KeyboardInterrupt())) == 130


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_closed_pipe_and_a_full_device_as_output(size):
    code = f"run = lambda: print('x' * {size})"
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as closed:
        found, error = run_python(code, stdout=closed)
    assert (found, error) == (1, "error: standard output: Broken pipe\n")
    with open("/dev/full", "w") as full:
        found, error = run_python(code, stdout=full)
    assert (found, error.count("\n")) == (1, 1)
    assert error.endswith("No space left on device\n")


WRITERS = """
import numpy, pyarrow, torch
from pathlib import Path
from hoiclip.core import schema
from hoiclip.checkpoints.clip import save_clip
from hoiclip.core.files import atomic_file, atomic_folder, write_json

table = pyarrow.table({"a": numpy.random.rand(99999)})

def checkpoint(path):
    with atomic_file(path) as aside:
        torch.save({"a": torch.ones(99999)}, aside)

def folder(path):
    with atomic_folder(path) as aside:
        (aside / "a").write_text("a")
        (aside / "b").write_text("b" * 999999)

writers = {
    "json": lambda path: write_json(path, ["a" * 9999] * 99),
    "parquet": lambda path: schema.write_table(path, table, table.schema, {}),
    "safetensors": lambda path: save_clip(path, {}, {"a": torch.ones(99999)}, {}),
    "checkpoint": checkpoint,
    "folder": folder,
}

def run():
    for name, write in writers.items():
        assert guarded(lambda: write(Path(sys.argv[1], name))) == 1
"""
NAMES = ["json", "parquet", "safetensors", "checkpoint", "folder"]


def check_that_nothing_fits(folder, **options):
    """Every kind of file fails to be written into `folder`, each with one line that names it."""
    for name in NAMES[:-1]:
        (folder / name).write_text("old")
    code, error = run_python(WRITERS, str(folder), **options)
    assert code == 0, error
    for name, line in zip(NAMES, error.splitlines(), strict=True):
        assert line.startswith(f"error: {folder / name}"), line
    assert sorted(p.name for p in folder.iterdir()) == sorted(NAMES[:-1])
    assert all((folder / name).read_text() == "old" for name in NAMES[:-1])


def test_a_file_that_may_not_grow_leaves_what_was_there(tmp_path):
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # noqa: E731
    check_that_nothing_fits(tmp_path, preexec_fn=limit)


def test_a_full_disk_leaves_what_was_there(tmp_path):
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user mounts no file system")
    try:
        check_that_nothing_fits(tmp_path)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_write_that_fails_late_names_the_file_that_people_know(tmp_path, monkeypatch, number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match=r"'.*/a'"):
        write_json(tmp_path / "a", 1)
    with pytest.raises(OSError, match=r"'.*/b'"), atomic_folder(tmp_path / "b"):
        pass
    assert not list(tmp_path.iterdir())


def test_an_error_in_the_file_beside_names_the_file_itself(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match=r"'.*/out/more'"),
        atomic_folder(tmp_path / "out") as a,
    ):
        (a / "more").read_bytes()
    with pytest.raises(OSError, match="cannot identify") as info, atomic_file(tmp_path / "b"):
        raise OSError("cannot identify image file")
    assert info.value.filename is None


def test_a_folder_for_results_is_known_to_be_none_before_the_work(tmp_path, monkeypatch):
    check_output_folder(tmp_path / "a/b/c")
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(InputError, match=r"file: is a file\. Name a folder"):
            check_output_folder(path)
    # The superuser may write everywhere.
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(InputError, match="may not be written"):
        check_output_folder(tmp_path / "a")


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_out_is_a_file(tmp_path, capsys, verb):
    out = tmp_path / "out"
    out.write_text("mine")
    arguments = {"predict": ["x", "--weights", "y"], "evaluate": ["x", "y"]}[verb]
    assert main([verb, *arguments, "--out", str(out)]) == 1
    assert capsys.readouterr().err == f"error: {out}: is a file. Name a folder for the results\n"
    assert out.read_text() == "mine"


@pytest.mark.parametrize(
    "option",
    ["--batch-size=0", "--batch-size=-1", "--threads=0", "--threads=-3", "--threads=1.5",
     "--least-score=nan", "--least-score=inf", "--batch-size=99999999999999999999"],
)  # fmt: skip
def test_a_flag_out_of_range_is_wrong_usage(tmp_path, capsys, option):
    with pytest.raises(SystemExit) as info:
        main(["predict", "x", "--weights", "y", "--out", str(tmp_path / "out"), option])
    assert info.value.code == 2
    name = option.partition("=")[0]
    assert f"error: argument {name}: " in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e400", "x"])
@pytest.mark.parametrize("flag", ["top-k", "nms-threshold", "nms-human-power"])
def test_a_score_setting_out_of_range_is_one_line(tmp_path, capsys, flag, value):
    out = ["--out", str(tmp_path / "out"), "--weights", "absent"]
    with pytest.raises(SystemExit) as info:
        main(["predict", "x", *out, f"--{flag}={value}"])
    assert info.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"hoiclip predict: error: argument --{flag}: '{value}', expected ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["predit"],
        ["predict"],
        ["predict", "x", "--weights", "y", "--out", ""],
        ["predict", "", "--weights", "y", "--out", "z"],
        ["evaluate", "a", ""],
        ["import", "", "b"],
        ["convert", "\x1b[31m", "b", "--kind\n"],
    ],
)
def test_a_wrong_command_line_is_one_line(capsys, command):
    with pytest.raises(SystemExit) as info:
        main(command)
    assert info.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert ": error: " in said
    assert "\x1b" not in said


def test_a_closed_standard_output_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert guarded(lambda: print("a")) == 0


@pytest.mark.parametrize("kind", ["folder", "absent", "deep", "in the way"])
def test_a_stage_ends_with_one_line(tmp_path, monkeypatch, capsys, kind):
    from stages.weights import main as weights

    monkeypatch.chdir(tmp_path)
    params = tmp_path / "params.yaml"
    if kind == "folder":
        params.mkdir()
    if kind == "deep":
        params.write_text("a: " + "[" * 10_000)
    if kind == "in the way":
        params.write_bytes((ROOT / "params.yaml").read_bytes())
        (tmp_path / "caches").write_text("a file")
        (tmp_path / "weights").symlink_to(ROOT / "weights")
    monkeypatch.setattr("sys.argv", ["weights"])
    with pytest.raises(SystemExit) as info:
        run_stage("weights", weights)
    assert info.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1, error
    assert not (tmp_path / "runs").exists()
