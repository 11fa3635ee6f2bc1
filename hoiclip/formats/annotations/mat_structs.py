"""The structs of HICO-DET's `anno_bbox.mat` as arrays.

A damaged file can crash SciPy's parser, and with it the process that runs it, or make it ask for
all of the memory; `hico_mat` runs this module in another process.
"""

from __future__ import annotations

import contextlib
import pickle
import reprlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.io import loadmat

from hoiclip.catalog.vocabularies import hico_det
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.errors import InputError
from hoiclip.formats.annotations.findings import ReadReport
from hoiclip.formats.annotations.source_rows import SourceBoxes, SourceInteractions
from hoiclip.util import json_values

_ACTIONS = "list_action"
_MEMORY = 4 * 2**30
"""Bytes; ten times what the pairs of HICO-DET's test partition take."""
_TOLD = 200
"""Characters of another library's message."""
_OPTIONS = {"struct_as_record": False, "squeeze_me": True}


class MatPartition(NamedTuple):
    """One partition of the file, as it stands there.

    Attributes:
        names: file name of each of the I images.
        sizes: (I, 2) width and height.
        boxes: in the file's coordinates, 1-based and inclusive.
        interactions: connections of visible HOI classes, whose indices point at boxes.
        report: what was left out.
    """

    names: list[str]
    sizes: np.ndarray
    boxes: SourceBoxes
    interactions: SourceInteractions
    report: ReadReport


def collect(path: Path, key: str) -> MatPartition:
    """Reads the struct array `key` of the file.

    Raises:
        InputError: malformed, or made for other classes than HICO-DET's.
    """
    vocabulary, report = hico_det(), ReadReport(path)
    content = load(path, [key, _ACTIONS], **_OPTIONS)
    _check_actions(path, content[_ACTIONS], vocabulary)
    entries = _structs(content[key])
    names = [
        json_values.file_name(path, row, _get(path, row, entry, "filename"))
        for row, entry in enumerate(entries)
    ]
    sizes = [_size(path, row, entry) for row, entry in enumerate(entries)]
    collected = _Collected(path, vocabulary, report)
    for row, entry in enumerate(entries):
        for hoi in _structs(_get(path, row, entry, "hoi")):
            collected.add(row, hoi)
    return MatPartition(
        names, np.array(sizes, np.float64).reshape(-1, 2), *collected.arrays(), report
    )


class _Collected:
    """Boxes and interactions of the HOI structs met so far."""

    def __init__(self, path: Path, vocabulary: Vocabulary, report: ReadReport) -> None:
        self._path, self._vocabulary, self._report = path, vocabulary, report
        self._boxes: list[list[float]] = []
        self._box_image: list[int] = []
        self._box_object: list[int] = []
        self._interactions: list[tuple[int, int, int, int, int]] = []

    def add(self, row: int, hoi: Any) -> None:
        """Adds the boxes and connections of one HOI struct of image `row`."""
        number = _whole(self._path, row, "hoi.id", _get(self._path, row, hoi, "id"))
        if not 1 <= number <= self._vocabulary.num_hois:
            problem = f"{number} is out of range 1..{self._vocabulary.num_hois}"
            raise InputError(self._path, problem, row=row, key="hoi.id")
        name = self._vocabulary.hoi_name(number - 1)
        if _whole(self._path, row, "hoi.invis", _get(self._path, row, hoi, "invis")):
            self._report.add("hoi_invisible", np.array([row]), [name])
            return
        object_ = int(self._vocabulary.object_of_hoi[number - 1])
        humans = self._add_boxes(row, hoi, "bboxhuman", self._vocabulary.person)
        objects = self._add_boxes(row, hoi, "bboxobject", object_)
        for human, other in self._connections(row, hoi):
            if 1 <= human <= len(humans) and 1 <= other <= len(objects):
                pair = (humans[human - 1], objects[other - 1])
                verb = self._vocabulary.hois[number - 1].verb
                self._interactions.append((*pair, verb, number - 1, row))
            else:
                self._report.add("index_of_no_box", np.array([row]), [[human, other]])

    def arrays(self) -> tuple[SourceBoxes, SourceInteractions]:
        """Everything added."""
        image = np.array(self._box_image, np.int64)
        values = np.array(self._boxes, np.float64).reshape(-1, 4)
        boxes = SourceBoxes(image, np.array(self._box_object, np.int64), values, image)
        columns = np.array(self._interactions, np.int64).reshape(-1, 5).T
        return boxes, SourceInteractions(*columns)

    def _add_boxes(self, row: int, hoi: Any, key: str, object_: int) -> range:
        first = len(self._boxes)
        for box in _structs(_get(self._path, row, hoi, key)):
            values = [_get(self._path, row, box, k) for k in ("x1", "y1", "x2", "y2")]
            try:
                self._boxes.append([float(value) for value in values])
            except (TypeError, ValueError):
                problem = f"{reprlib.repr(values)}, expected four numbers"
                raise InputError(self._path, problem, row=row, key=key) from None
            self._box_image.append(row)
            self._box_object.append(object_)
        return range(first, len(self._boxes))

    def _connections(self, row: int, hoi: Any) -> list[list[int]]:
        value = np.asarray(_get(self._path, row, hoi, "connection"))
        if value.size % 2 or value.dtype.kind not in "iuf" or value.ndim > 2:
            problem = f"shape {value.shape} of {value.dtype}, expected M x 2 numbers"
            raise InputError(self._path, problem, row=row, key="hoi.connection")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise InputError(self._path, "not finite", row=row, key="hoi.connection")
        return value.astype(np.int64).reshape(-1, 2).tolist()


def load(path: Path, wanted: Sequence[str], **options: Any) -> dict[str, Any]:
    """The variables `wanted` of the file.

    Raises:
        InputError: not a readable MATLAB file, or one of them is missing.
    """
    try:
        content = loadmat(path, variable_names=wanted, appendmat=False, **options)
    except NotImplementedError:
        fix = "Save it anew in Matlab with -v7"
        raise InputError(path, "a MATLAB 7.3 file, which is not read here", fix=fix) from None
    except Exception as error:  # SciPy's parser lets errors of any type out of a damaged file.
        raise InputError(path, f"not a readable MATLAB file ({str(error)[:_TOLD]})") from None
    for name in wanted:
        if name not in content:
            raise InputError(path, "missing", key=name)
    return content


def _structs(value: Any) -> list[Any]:
    """A struct array, one struct or an empty array, as a list."""
    return np.atleast_1d(value).ravel().tolist()


def _get(path: Path, row: int, struct: Any, key: str) -> Any:
    if not hasattr(struct, key):
        raise InputError(path, "missing", row=row, key=key)
    return getattr(struct, key)


def _whole(path: Path, row: int, key: str, value: Any) -> int:
    number = value.item() if isinstance(value, np.generic) else value
    return json_values.integer(path, row, key, number)


def _size(path: Path, row: int, entry: Any) -> list[int]:
    size = _get(path, row, entry, "size")
    return [_whole(path, row, key, _get(path, row, size, key)) for key in ("width", "height")]


def _check_actions(path: Path, value: Any, vocabulary: Vocabulary) -> None:
    actions = _structs(value)
    if len(actions) != vocabulary.num_hois:
        problem = f"{len(actions)} HOI classes, expected {vocabulary.num_hois}"
        raise InputError(path, problem, key="list_action")
    for row, action in enumerate(actions):
        name = f"{_get(path, row, action, 'vname')} {_get(path, row, action, 'nname')}"
        if name != vocabulary.hoi_name(row):
            problem = f"{name!r}, HICO-DET has {vocabulary.hoi_name(row)!r}"
            raise InputError(path, problem, row=row, key="list_action")


def write(path: str, key: str, result: str) -> None:
    """Pickles what `collect` returns, or the `InputError` that it raises, to the file `result`.

    It limits the memory of the process that calls it.
    """
    write_answer(lambda: collect(Path(path), key), result)


def write_answer(parse: Callable[[], Any], result: str) -> None:
    """As `write`, for any parser."""
    _limit_memory()
    try:
        answer = parse()
    except InputError as error:
        answer = error
    Path(result).write_bytes(pickle.dumps(answer))


def _limit_memory() -> None:
    # Some systems have no such limit, or a lower one already.
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, hard))
