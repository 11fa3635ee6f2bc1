"""HICO-DET from the original `anno_bbox.mat` (MATLAB 5); boxes are 1-based and inclusive."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from hoiclip.catalog.vocabularies import hico_det
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.errors import InputError
from hoiclip.formats.annotations import mat_structs
from hoiclip.formats.annotations.assemble import assemble
from hoiclip.formats.annotations.findings import ReadReport
from hoiclip.formats.annotations.hico_instances import ONE_BASED_INCLUSIVE
from hoiclip.formats.annotations.image_table import image_table
from hoiclip.formats.annotations.source import Source, SourceOptions
from hoiclip.formats.content import Content

_MATLAB_5 = b"MATLAB 5.0"
_SECONDS = 900
"""The pairs of HICO-DET's test partition take three."""
_CODE = f"import sys; from {mat_structs.__name__} import write; write(*sys.argv[1:])"


def detect(content: Content) -> bool:
    """Whether it is a MATLAB 5 file."""
    return content.header.startswith(_MATLAB_5)


def load(path: Path, options: SourceOptions) -> Source:
    """`read`, as every format is read."""
    read_ = read(path, options.partition, drop_unknown=options.drop_unknown)
    return Source.of(read_, expected=options)


def read(
    path: str | Path, partition: Literal["train", "test"], *, drop_unknown: bool = False
) -> tuple[Annotations, Vocabulary, ReadReport]:
    """Reads a partition.

    Boxes that no connection uses are instances all the same; HOIs marked invisible have no boxes
    and are reported, and so are connections that point at no box. The file is parsed in another
    process.

    Args:
        path: `anno_bbox.mat`.
        partition: which of its two.
        drop_unknown: see `assemble`.

    Raises:
        InputError: malformed, or made for other classes than HICO-DET's.
    """
    path, vocabulary = Path(path), hico_det()
    if not path.is_file():
        raise InputError(path, "is a folder" if path.is_dir() else "no such file")
    content = _collect_elsewhere(path, f"bbox_{partition}")
    images = image_table(path, content.names, content.sizes)
    boxes = replace(content.boxes, boxes_xyxy=content.boxes.boxes_xyxy + ONE_BASED_INCLUSIVE)
    tables = assemble(
        images, boxes, content.interactions, vocabulary, content.report, drop_unknown=drop_unknown
    )
    return tables, vocabulary, content.report


def _collect_elsewhere(path: Path, key: str) -> mat_structs.MatPartition:
    """What `mat_structs.collect` gives."""
    return parse_elsewhere(path, _CODE, key)


def parse_elsewhere(path: Path, code: str, *arguments: str) -> Any:
    """What a parser gives in a process of its own, which a damaged file may crash.

    Args:
        path: what is parsed, its first argument.
        code: Python that calls `mat_structs.write` or another user of `mat_structs.write_answer`
            with the process's arguments, the last of which is the file for the answer.
        arguments: between these two.

    Raises:
        InputError: the parser's own; it crashed, or took too long.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.pickle"
        command = [sys.executable, "-c", code, str(path), *arguments, str(result)]
        try:
            process = subprocess.run(
                command, env=environment, capture_output=True, check=False, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired:
            problem = f"not a readable MATLAB file (its parser took more than {_SECONDS} s)"
            raise InputError(path, problem) from None
        if process.returncode or not result.exists():
            told = (process.stderr.decode(errors="replace").splitlines() or ["no message"])[-1]
            problem = f"not a readable MATLAB file (its parser ended: {told})"
            raise InputError(path, problem)
        content = pickle.loads(result.read_bytes())
    if isinstance(content, InputError):
        raise content
    return content
