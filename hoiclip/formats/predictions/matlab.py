"""Predictions as HICO-DET's Matlab code takes them (`eval_one.m` of ho-rcnn).

A folder of `detections_01.mat`, `detections_02.mat`, ..., one per object class, or one file of all
classes. `matlab_cells` has the layout. Rows of a file are HOI classes in the data set's order,
columns the images of the test set. Boxes are 0-based and inclusive: the Matlab code adds 1. It
numbers objects in COCO's order; UPT's and PViC's `cache_hico`, which take over the order of the
`instances` files, alphabetically.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa

from hoiclip.core.vocabulary import Vocabulary
from hoiclip.errors import InputError
from hoiclip.formats.annotations.hico_mat import parse_elsewhere
from hoiclip.formats.content import Content
from hoiclip.formats.predictions import matlab_cells
from hoiclip.formats.predictions.matlab_cells import CELLS, Cells
from hoiclip.formats.predictions.options import PredictionOptions, Predictions
from hoiclip.formats.predictions.rows import Places, Rows

_NAME = re.compile(r"detections_(\d{1,4})\.mat")
_MAGIC = b"MATLAB"
_IN_ORDER = ("hico_mat", "hico_instances")
"""Formats of annotations whose images stand in HICO-DET's order."""
_OF_ALL = "detections.mat"
_CODE = f"import sys; from {matlab_cells.__name__} import write; write(*sys.argv[1:])"
_SHOWN = 3


def is_matlab(folder: Path) -> bool:
    """Whether the folder holds Matlab detections."""
    return (folder / _OF_ALL).is_file() or bool(_numbered(folder))


def detect(content: Content) -> bool:
    """Whether it is a MATLAB file, or a folder of them."""
    if content.is_folder:
        return is_matlab(content.path)
    return content.header.startswith(_MAGIC) or content.suffix == ".mat"


def load(path: Path, options: PredictionOptions) -> Predictions:
    """`read`, as every format is read.

    Its columns are the images of HICO-DET's own files and of `instances` as they stand there; other
    files order them as they like, and HICO-DET orders them by name.
    """
    images = options.source.annotations.images
    if options.source.kind not in _IN_ORDER:
        images = images.sort_by("file_name")
    rows, note = read(path, images, options.vocabulary)
    return Predictions(rows=rows, notes=() if note is None else (note,))


def read(path: str | Path, images: pa.Table, vocabulary: Vocabulary) -> tuple[Rows, str | None]:
    """Reads and checks a folder, or the file of all classes.

    Args:
        path: of either.
        images: rows of `schema.IMAGES`, in the order of the columns.
        vocabulary: the classes.

    Returns:
        The rows, boxes as the files have them, each a query of its own; and a note or null.

    Raises:
        InputError: a file that is missing or malformed, other classes or another number of images,
            a box that is not one, or a score that is not finite.
    """
    path = Path(path)
    if vocabulary.has_missing_objects:
        problem = "Matlab detections, whose classes all have an object, unlike the annotations'"
        raise InputError(path, problem)
    if path.is_dir() and (numbered := _numbered(path)):
        files = _complete(path, numbered, vocabulary)
        found = _parsed(path, files)
        hois, note = _hois_of_objects(files, found, vocabulary)
    else:
        files = [path / _OF_ALL if path.is_dir() else path]
        found = _parsed(path, files)
        hois, note = [_hois_of_all(files[0], found[0], vocabulary)], None
    parts = [_rows(*part, images) for part in zip(files, found, hois, strict=True)]
    hoi, image_id, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    rows = Rows(
        image_id,
        np.arange(len(hoi)),
        vocabulary.verb_of_hoi[hoi],
        hoi,
        values[:, :4],
        values[:, 4:8],
        values[:, 8],
    )
    return rows, note


def _numbered(folder: Path) -> dict[int, Path]:
    found = ((_NAME.fullmatch(path.name), path) for path in sorted(folder.iterdir()))
    return {int(match[1]): path for match, path in found if match}


def _complete(folder: Path, numbered: dict[int, Path], vocabulary: Vocabulary) -> list[Path]:
    """The files by object number, all of them."""
    wanted = range(1, vocabulary.num_objects + 1)
    if surplus := sorted(numbered.keys() - set(wanted)):
        problem = f"there are {len(wanted)} object classes, numbered from 1"
        raise InputError(numbered[surplus[0]], problem)
    if missing := [f"detections_{n:02d}.mat" for n in wanted if n not in numbered]:
        some = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        problem = f"Matlab detections of {len(numbered)} of {len(wanted)} object classes"
        raise InputError(folder, f"{problem}; missing are {some}", fix="Give all of them")
    return [numbered[n] for n in wanted]


def _parsed(path: Path, files: list[Path]) -> list[Cells]:
    if not files[0].is_file():
        raise InputError(files[0], "no such file")
    names = [file.name for file in files] if path.is_dir() else []
    return parse_elsewhere(path, _CODE, *names)


def _hois_of_all(path: Path, found: Cells, vocabulary: Vocabulary) -> np.ndarray:
    rows = found.shape[0]
    if rows != vocabulary.num_hois:
        problem = f"{rows} rows, and the annotations have {vocabulary.num_hois} HOI classes"
        last = f"detections_{vocabulary.num_objects:02d}.mat"
        fix = f"Of one object class? Give the folder of detections_01.mat to {last}"
        raise InputError(path, f"Matlab detections with {problem}", key=CELLS, fix=fix)
    return np.arange(rows)


def _hois_of_objects(
    files: list[Path], found: list[Cells], vocabulary: Vocabulary
) -> tuple[list[np.ndarray], str | None]:
    """HOI classes of each file's rows: the numbers of rows tell in which order objects are."""
    hois = [np.flatnonzero(vocabulary.object_of_hoi == o) for o in range(vocabulary.num_objects)]
    rows = [cells.shape[0] for cells in found]
    by_name = sorted(range(len(hois)), key=lambda o: vocabulary.objects[o])
    for order, note in (
        (range(len(hois)), None),
        (by_name, "the Matlab files number objects alphabetically, as their rows tell"),
    ):
        if rows == [len(hois[o]) for o in order]:
            return [hois[o] for o in order], note
    wrong = next(o for o, count in enumerate(rows) if count != len(hois[o]))
    name = vocabulary.objects[wrong]
    problem = f"{rows[wrong]} rows, and {name} has {len(hois[wrong])} HOI classes"
    fix = "Objects are counted in the order of the classes, or alphabetically"
    raise InputError(files[wrong], problem, key=CELLS, fix=fix)


def _rows(
    path: Path, found: Cells, hois: np.ndarray, images: pa.Table
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HOI class, image id and numbers of each row of a file."""
    columns = found.shape[1]
    if columns != len(images):
        problem = f"{columns} columns, and the annotations have {len(images)} images"
        fix = "Give the annotations of the whole test set: anno_bbox.mat or instances_test2015.json"
        raise InputError(path, problem, key=CELLS, fix=fix)
    hoi, image = found.cell.T
    places = Places(path, image, CELLS, found.number)
    places.check_boxes(found.values[:, :4], "human box")
    places.check_boxes(found.values[:, 4:8], "object box")
    places.check_scores(found.values[:, 8])
    return hois[hoi], images["image_id"].to_numpy()[image], found.values
