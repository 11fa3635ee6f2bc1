"""How a stage runs: one line for an error, one for the time it took, its figures for the report."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from hoiclip.core.files import write_json
from hoiclip.errors import HoiclipError
from hoiclip.printable import printable

# Libraries raise bare RuntimeErrors for want of memory; these are parts of their texts.
_NO_MEMORY = ("can't allocate memory", "not enough memory", "CUDA out of memory")
_KILLED = ("DataLoader worker", "process pool was terminated")


class Parser(argparse.ArgumentParser):
    """Tells a wrong command line in one line, with exit code 2; so do the parsers of its verbs."""

    def error(self, message: str) -> NoReturn:  # noqa: D102
        self.exit(2, f"{self.prog}: error: {printable(message)} (see {self.prog} --help)\n")


def named_path(text: str) -> Path:
    """`type` of an argparse argument that names a file or folder, which an empty text does not."""
    if not text:
        raise argparse.ArgumentTypeError("'' names no file or folder")
    return Path(text)


def fail(error: HoiclipError) -> int:
    """Prints the error on one line and returns the exit code.

    Of several processes that work together those after the first say which they are: memory may
    have run out on one device alone, or a file be absent on one machine.
    """
    rank = "" if _is_first() else f"rank {os.environ['RANK']}: "
    line = printable(f"{rank}{' '.join(str(error).split())}")
    with suppress(OSError):
        # In one piece, for the lines of other processes go to the same place.
        sys.stderr.write(f"error: {line}\n")
        sys.stderr.flush()
    return 1


def _is_first() -> bool:
    """Whether this is the first of the processes that torchrun started, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def describe(error: Exception) -> str | None:
    """What a person reads of an error that is not the program's fault; None for any other."""
    if isinstance(error, HoiclipError):
        return str(error)
    # Of an error in a worker process the text is its traceback, whose last line says what it was.
    text = (str(error).strip() or type(error).__name__).splitlines()[-1]
    if isinstance(error, OSError):
        if isinstance(error, FileExistsError):
            text = "is a file, and a folder is needed"
        elif error.strerror is not None:
            text = error.strerror
        name = error.filename
        if name is None and isinstance(error, BrokenPipeError):
            name = "standard output"
        return text if name is None else f"{name}: {text}"
    if isinstance(error, MemoryError) or any(part in str(error) for part in _NO_MEMORY):
        return f"out of memory ({text}). Lower batch_size, workers or the image sizes"
    if any(part in str(error) for part in _KILLED):
        return f"a worker process ended ({text}); most often the memory was full: lower workers"
    return None


def guarded(run: Callable[[], Any], *, debug: bool = False) -> int:
    """Runs a command and returns its exit code.

    An error that a person can act on, of this package, the operating system or the memory, is one
    line on stderr; any other is the program's fault and is raised.

    Args:
        run: gives an exit code, or anything else for 0.
        debug: raises those errors, too.
    """
    try:
        code = run()
        _flush_output()
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        problem = describe(error)
        if debug or problem is None:
            raise
        with suppress(OSError):
            _flush_output()
        return fail(HoiclipError(problem))
    return code if isinstance(code, int) else 0


def _flush_output() -> None:
    if sys.stdout is None:  # closed before the program began
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python flushes again when it ends; nothing is left that could fail then.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        error.filename = "standard output"
        raise


def run_stage(
    name: str,
    main: Callable[[Path], dict[str, Any] | None],
    plan: Callable[[Path], list[str]] | None = None,
) -> None:
    """Runs a stage and exits.

    `--params` names another params file, `--debug` shows tracebacks, `--dry-run` (where there is a
    `plan`) prints what would be fetched and does nothing. What `main` returns goes to
    `runs/<name>/summary.json`, an output that DVC hashes, so that no time may be in it: the seconds
    (those that `main` returns, else those it took) are printed.

    Args:
        name: of the stage.
        main: takes the path of the params file.
        plan: takes the path of the params file, gives the lines to print.
    """
    parser = Parser(description=sys.modules[main.__module__].__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    if plan is not None:
        parser.add_argument("--dry-run", action="store_true", help="print what would be fetched")
    arguments = parser.parse_args()
    started = time.monotonic()

    def run() -> None:
        if plan is not None and arguments.dry_run:
            print("\n".join(plan(arguments.params)))
            return
        summary = main(arguments.params) or {}
        if not _is_first():
            return
        seconds = summary.pop("seconds", round(time.monotonic() - started, 1))
        write_json(Path("runs") / name / "summary.json", summary)
        print(f"{name}: {seconds} s", file=sys.stderr)

    if code := guarded(run, debug=arguments.debug):
        sys.exit(code)
