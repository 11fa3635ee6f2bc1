"""Syntax trees by a process of its own: as of resumed work, and errors of one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hoiclip.errors import InputError
from hoiclip.experiments.code import tree_hashes
from hoiclip.resume.source_code import syntax_sha256

ROOT = Path(__file__).parents[2]


def test_comments_are_in_no_hash(tmp_path):
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("x = 1\n")
    two.write_text('"""Of x."""\n\nx = 1  # one\n')
    found = tree_hashes([str(one), str(two)])
    assert found[str(one)] == found[str(two)] == syntax_sha256(b"x = 1")
    two.write_text("x = 2\n")
    assert tree_hashes([str(two)])[str(two)] != found[str(one)]
    assert tree_hashes([]) == {}


@pytest.mark.parametrize("content", [b"x = = 1", b"\xff\xfe", b"x = '\x00'"])
def test_what_is_no_module_is_named(tmp_path, content):
    file = tmp_path / "bad.py"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"bad.py: no module of Python"):
        tree_hashes([str(file)])


def test_by_standard_input():
    command = [sys.executable, "-m", "hoiclip.experiments.code"]
    file = "hoiclip/errors.py"
    done = subprocess.run(
        command, cwd=ROOT, input=json.dumps([file]), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {file: syntax_sha256((ROOT / file).read_bytes())}
    done = subprocess.run(
        command, cwd=ROOT, input='["absent.py"]', capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "error: absent.py: No such file or directory\n"
