"""`hoiclip convert`: a released checkpoint becomes a file of this project."""

from __future__ import annotations

import argparse

from hoiclip.convert.pretrained.kinds import KINDS
from hoiclip.stage_main import named_path


def add(verbs: argparse._SubParsersAction) -> None:
    """Adds the verb to the parser."""
    text = "make a released checkpoint a file of this project"
    verb = verbs.add_parser("convert", help=text, description=f"{text[0].upper()}{text[1:]}.")
    verb.add_argument(
        "source",
        type=named_path,
        help=f"{', '.join(KINDS.values())}; or a model file, to go back under the released names",
    )
    verb.add_argument(
        "out",
        type=named_path,
        help=".safetensors; .parquet for verb vectors; .pth, as released, for a model file",
    )
    verb.add_argument("--kind", choices=tuple(KINDS), help="default: found out")
    verb.add_argument("--setting", help="e.g. default, rare_first, vcoco; default: found out")
    verb.add_argument(
        "--dilation",
        action=argparse.BooleanOptionalAction,
        help="whether the last stage is dilated (DC5), where a checkpoint does not say so itself",
    )
    verb.add_argument("--clip-model", help="open_clip's name of a CLIP, e.g. ViT-B-32-quickgelu")
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Converts, and prints what became of the tensors."""
    from hoiclip.convert.dispatch import convert

    done = convert(
        arguments.source,
        arguments.out,
        arguments.kind,
        arguments.setting,
        arguments.dilation,
        arguments.clip_model,
    )
    print(done.summary())
