"""The command line: `hoiclip VERB`. The pipeline's stages are run by DVC instead."""

from __future__ import annotations

import argparse
import sys

from hoiclip.commands import convert, evaluate, experiments, import_annotations, predict
from hoiclip.stage_main import Parser, guarded


def build_parser() -> argparse.ArgumentParser:
    """The parser of every verb."""
    parser = Parser(
        prog="hoiclip",
        description="Human-object interaction detection: models, predictions, annotations.",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for command in (predict, evaluate, import_annotations, convert, experiments):
        command.add(verbs)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs a verb; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parser = build_parser()
    for text in argv:
        # Before Python 3.13 argparse gives an empty list for the value `--`.
        if text.startswith("--") and text.endswith("=--"):
            parser.error(f"argument {text.removesuffix('=--')}: expected a value, not --")
    arguments = parser.parse_args(argv)
    return guarded(lambda: arguments.run(arguments), debug=arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
