"""The harness: what it notices, and a short run of it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from case import Case
from doors import typed
from meeting import check, keep

from hoiclip.errors import HoiclipError

FUZZ = Path(__file__).parent


@pytest.fixture
def work(tmp_path, monkeypatch):
    for folder in ("case", "canary"):
        (tmp_path / folder).mkdir()
    (tmp_path / "canary/canary").write_text("canary")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def case(*arguments):
    return Case("predictions", "hoiclip", list(arguments) or ["evaluate"], {"p.json": b"[]"})


def say(*lines, code=1, out=None):
    def door(_):
        for line in lines:
            print(line, file=sys.stderr)
        print("{}" if code == 0 and out is None else out)
        return code

    return door


def raises(error):
    def door(_):
        raise error

    return door


class SeveralLinesError(HoiclipError):
    """What the base class keeps its messages from being."""

    def __str__(self):
        return "a\nb"


def writes(name, code):
    def door(_):
        Path(name).write_text("x")
        print("error: x", file=sys.stderr)
        print("{}")
        return code

    return door


def test_what_is_right_passes(work):
    assert check(case(), work, say("note: x", code=0)) is None
    assert check(case(), work, say("note: x", "error: a file, row 3")) is None
    assert check(case(), work, say("usage: x", "hoiclip: error: x", code=2)) is None
    assert check(case("predict"), work, say("error: a", "error: b", code=3)) is None
    assert check(case(), work, writes("out", 0)) is None
    assert check(case(), work, lambda _: typed(raises(HoiclipError("x")).__get__(1))) is None


@pytest.mark.parametrize(
    ("door", "problem"),
    [
        (raises(ValueError("x")), "ValueError in test_fuzz.py:door: x"),
        (raises(SystemExit(1)), "SystemExit in"),
        (raises(RecursionError("x")), "RecursionError in"),
        (raises(KeyboardInterrupt()), "KeyboardInterrupt in"),
        (say("error: a", "error: b"), "2 lines of error"),
        (say(), "0 lines of error"),
        (say("error: " + "x" * 3000), "an error of 3007 characters"),
        (say("Traceback (most recent call last):", code=0), "a traceback on standard error"),
        (say("error: x", code=3), "exit code 3"),
        (say(code=-11), "exit code -11"),
        (say(code=2), "exit code 2 without a word"),
        (writes("out", 1), r"left behind with exit code 1: \['out'\]"),
        (writes(".out.1.part", 0), "left behind with exit code 0"),
        (writes("../canary/canary", 1), "outside the folder of the case: 'canary/canary'"),
        (writes("../escaped", 1), "outside the folder of the case: 'escaped'"),
        (lambda _: typed(raises(SeveralLinesError()).__get__(1)), "a message of several lines"),
    ],
)
def test_what_is_wrong_is_noticed(work, door, problem):
    found = check(case(), work, door)
    assert found is not None
    assert re.search(problem, found.splitlines()[-1])


def test_an_endless_case_is_ended(work, monkeypatch):
    monkeypatch.setattr("meeting.LONGEST", 1)

    def endless(_):
        while True:
            pass

    assert "more than 1 seconds" in check(case(), work, endless)


def test_scores_that_are_no_numbers_are_noticed(work):
    found = check(case(), work, say(code=0, out='{"full": NaN}'))
    assert "NaN in JSON" in (found or "")


def test_a_failure_is_kept_and_can_be_run_again(tmp_path):
    """`--replay` of a case that does not fail says so."""
    for _ in range(5):
        keep(
            Case("archives", "unpack", [], {"archive": b"no archive"}),
            "trace\nx",
            tmp_path / "kept",
        )
    kept = sorted((tmp_path / "kept").iterdir())
    assert len(kept) == 3
    assert json.loads((kept[0] / "case.json").read_text())["files"] == {"0": "archive"}
    assert run("--replay", str(kept[0])) == (0, "passes")


def run(*arguments):
    done = subprocess.run(
        [sys.executable, str(FUZZ / "run.py"), *arguments],
        capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(FUZZ.parents[1])},
    )  # fmt: skip
    return done.returncode, done.stdout.strip()


def test_five_hundred_inputs(tmp_path):
    log, kept = tmp_path / "log.json", tmp_path / "failures"
    code, said = run("--inputs=500", "--jobs=1", f"--log={log}", f"--failures={kept}")
    found = json.loads(log.read_text())
    assert found["failures"] == {}
    assert code == 0, said
    assert sum(found["counts"].values()) == 500
    assert len(found["counts"]) == 7
    # Neither are all refused at their first byte, nor is all damage passed over.
    for kind, count in found["counts"].items():
        assert 0 < found["valid"][kind] < count, kind
