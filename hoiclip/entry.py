"""How a stage runs: one line for an error, one for the time it took, its figures for the report."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hoiclip.errors import HoiclipError, printable
from hoiclip.files import write_json


def fail(error: HoiclipError) -> int:
    """Prints the error on one line and returns the exit code."""
    print(f"error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
    return 1


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
    parser = argparse.ArgumentParser(description=sys.modules[main.__module__].__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    if plan is not None:
        parser.add_argument("--dry-run", action="store_true", help="print what would be fetched")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        if plan is not None and arguments.dry_run:
            print("\n".join(plan(arguments.params)))
            return
        summary = main(arguments.params) or {}
    except HoiclipError as error:
        if arguments.debug:
            raise
        sys.exit(fail(error))
    except KeyboardInterrupt:
        sys.exit(130)
    seconds = summary.pop("seconds", round(time.monotonic() - started, 1))
    write_json(Path("runs") / name / "summary.json", summary)
    print(f"{name}: {seconds} s", file=sys.stderr)
