"""Annotations from any file or folder that this package reads, its format found out or named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hoiclip.errors import InputError
from hoiclip.formats.annotations.source import Source, SourceOptions
from hoiclip.formats.detection import kind_of
from hoiclip.formats.registry import ANNOTATION_FORMATS


def read_annotations(path: str | Path, options: SourceOptions) -> Source:
    """Reads a partition.

    Args:
        path: a file in one of `ANNOTATION_FORMATS`, or a partition's folder.
        options: what the source does not say.

    Raises:
        InputError: nothing that is read here, malformed, or an option that it needs is missing.
    """
    path = Path(path)
    kind = options.kind or kind_of(path)
    if options.numbering is not None and kind != "hoia":
        problem = f"--annotation-numbering is of HOIA annotations, and these are {kind}"
        raise InputError(path, problem, fix="Leave it out")
    format_ = ANNOTATION_FORMATS[kind]
    missing = [n for n in format_.needs if not any(getattr(options, o) for o in n.options)]
    for need in missing:
        if need.note is None or options.sizes_needed:
            raise InputError(path, need.problem, fix=need.fix)
    source = replace(format_.read(path, options), kind=kind)
    source.report.notes += [need.note for need in missing]
    return source
