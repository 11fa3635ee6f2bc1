"""Meeting one case: where it stands, and what must not come of it."""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import io
import json
import os
import resource
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from case import Case
from inputs import write_given

LONGEST, MEMORY = 10, 4 << 30
"""Seconds of processor time for one case, and bytes beside what the process has at first."""
EXAMPLES = 3
"""Cases kept of each failure."""


class TooSlowError(BaseException):
    """No `except Exception` catches it."""


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A folder with all that a case may see; the process is in its `case`."""
    before, home = Path.cwd(), {k: os.environ.get(k) for k in ("HOME", "TMPDIR")}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name).resolve()
        for folder in ("case", "home", "tmp", "canary"):
            (work / folder).mkdir()
        (work / "canary/canary").write_text("canary")
        write_given(work / "given")
        os.chdir(work / "case")
        os.environ |= {"HOME": str(work / "home"), "TMPDIR": str(work / "tmp")}
        tempfile.tempdir = None
        try:
            yield work
        finally:
            os.chdir(before)
            for key, value in home.items():
                os.environ.pop(key) if value is None else os.environ.update({key: value})
            tempfile.tempdir = None


def limit_memory() -> None:
    """What this process has already does not count."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def check(case: Case, work: Path, door: Callable) -> str | None:
    """Meets one input; what is wrong with what happened, or None."""
    folder = work / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.chdir(folder)
    for name, data in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    before = listing(work, folder)
    out, err = io.StringIO(), io.StringIO()
    faulthandler.dump_traceback_later(12 * LONGEST, exit=True)
    signal.signal(signal.SIGPROF, too_slow)
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = door(case)
    except TooSlowError:
        return f"{traceback.format_exc()}\nmore than {LONGEST} seconds"
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.name}"
        return f"{traceback.format_exc()}\n{type(error).__name__} in {where}: {_one_line(error)}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
    after = listing(work, folder)
    if changed := sorted(name for name, _ in before.items() ^ after.items()):
        return f"outside the folder of the case: {changed[0]!r}"
    return wrong_output(case, folder, code, out.getvalue(), err.getvalue())


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120]


def too_slow(*_) -> None:
    """Of the timer."""
    raise TooSlowError


def listing(work: Path, but: Path) -> dict:
    """Every file under `work`, but those of the case."""
    return {
        str(path.relative_to(work)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for top in work.iterdir()
        if top != but
        for path in [top, *top.rglob("*")]
        if path.is_symlink() or not path.is_dir()
    } | {top.name: () for top in work.iterdir()}


def wrong_output(case: Case, folder: Path, code: int, out: str, err: str) -> str | None:
    """What is wrong with exit code, lines and files."""
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    if "Traceback" in err:
        return f"{err}\na traceback on standard error"
    if code not in (0, 1, 2, 3) or (code == 3 and case.arguments[0] != "predict"):
        return f"{err}\nexit code {code}"
    if code == 1 and len(errors) != 1:
        return f"{err}\n{len(errors)} lines of error"
    if code == 1 and len(errors[0]) > 2000:
        return f"an error of {len(errors[0])} characters"
    if code == 2 and not any(": error: " in line for line in err.splitlines()):
        return f"{err}\nexit code 2 without a word"
    if case.door == "hoiclip" and code == 0 and case.arguments[0] == "evaluate":
        constants = []
        json.loads(out, parse_constant=constants.append)
        if constants:
            return f"{constants[0]} in JSON"
    inputs = {Path(name).parts[0] for name in case.files}
    names = {path.name for path in folder.iterdir()} - inputs
    allowed = {name for name in names if name.split(".")[0] == "out"} if code in (0, 3) else set()
    if case.door != "reader" and names - allowed:
        return f"left behind with exit code {code}: {sorted(names - allowed)}"
    return None


def keep(case: Case, problem: str, failures: Path) -> None:
    """Keeps a case so that `replay` can run it; some of each failure."""
    last = problem.splitlines()[-1]
    name = f"{case.kind}-{hashlib.sha256(last.encode(errors='replace')).hexdigest()[:10]}"
    number = len(list(failures.glob(f"{name}-*")))
    if number >= EXAMPLES:
        return
    folder = failures / f"{name}-{number}"
    (folder / "files").mkdir(parents=True, exist_ok=True)
    described = {k: v for k, v in asdict(case).items() if k != "files"}
    described["files"] = {}
    for place, (file, data) in enumerate(case.files.items()):
        (folder / "files" / str(place)).write_bytes(data)
        described["files"][str(place)] = file
    (folder / "case.json").write_text(json.dumps(described, indent=2) + "\n")
    (folder / "problem.txt").write_text(problem + "\n", errors="replace")
