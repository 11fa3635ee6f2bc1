"""`hoiclip import`: annotation files of any kind become a partition's folder."""

from __future__ import annotations

import argparse

from hoiclip.commands.annotation_options import add_annotation_options, source_options
from hoiclip.stage_main import named_path


def add(verbs: argparse._SubParsersAction) -> None:
    """Adds the verb to the parser."""
    text = "make annotation files a partition of this project"
    verb = verbs.add_parser(
        "import",
        help=text,
        description=f"{text[0].upper()}{text[1:]}: images, instances and interactions, with the "
        "vocabulary and the findings beside them. docs/evaluation.md lists what is read.",
    )
    verb.add_argument("source", type=named_path, help="file of HICO-DET, V-COCO or your own")
    verb.add_argument("out", type=named_path, help="new folder for the tables")
    add_annotation_options(verb)
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Imports, and prints what was found."""
    from hoiclip.commands.summary import partition_text
    from hoiclip.errors import InputError
    from hoiclip.formats.partition import check_target, write_partition
    from hoiclip.formats.reading import read_annotations
    from hoiclip.progress import say

    check_target(arguments.out)
    source = read_annotations(arguments.source, source_options(arguments, sizes_needed=True))
    if source.kind == "partition":
        raise InputError(arguments.source, "is a partition already", fix="Name a file to import")
    write_partition(arguments.out, source, arguments.source)
    for note in source.notes:
        say(f"note: {note}")
    print(partition_text(source))
