"""The tensors of a TorchScript archive, as OpenAI's CLIP files are; none of its code is run.

Such an archive is a zip of one folder: `data.pkl` pickles the tree of modules, `data/KEY` holds the
numbers of a storage, and `code/` the classes in TorchScript. `torch.jit.load` compiles and runs
these, so the pickle is read here by an unpickler that knows tensors and nothing else.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from hoiclip.errors import WeightsError

_DTYPES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_CODE = "__torch__"
_MOST_TEXT = 1 << 22  # bytes of the pickle and the classes
_MOST_MODULES, _MOST_DIMENSIONS = 10_000, 64
_NAMES = re.compile(r"^  __(?:parameters|buffers)__ = \[(.*)\]$")


class _Storage(NamedTuple):
    values: Tensor  # one dimension


def is_torchscript(path: str | Path) -> bool:
    """Whether a file is a zip archive of TorchScript.

    Raises:
        WeightsError: a damaged zip archive.
    """
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(Path(name).name == "constants.pkl" for name in archive.namelist())
    except Exception:  # zipfile lets errors of any type out of a damaged file
        raise WeightsError(f"{path}: a damaged zip archive. Fetch the file anew") from None


def read_torchscript(path: str | Path) -> dict[str, Tensor]:
    """Parameters and buffers of a TorchScript archive by name, on the CPU, in the file's types.

    Raises:
        WeightsError: damaged, with anything in its pickle but modules, tensors and plain values, or
            with a tensor that reaches outside its numbers.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _Archive(archive, Path(path).stat().st_size).state()
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    except Exception as error:  # a broken pickle or zip raises a dozen types
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise WeightsError(f"{path}: not a readable TorchScript archive ({reason})") from None


class _Archive:
    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self._archive = archive
        self._names = set(archive.namelist())
        self._root = min(n for n in self._names if n.endswith("/constants.pkl")).partition("/")[0]
        self._left = size
        self._text_left = _MOST_TEXT
        self._storages: dict[str, _Storage] = {}

    def state(self) -> dict[str, Tensor]:
        reader = _Unpickler(self._text("data.pkl"), self.storage)
        todo: list[tuple[str, Any]] = [("", reader.load())]
        state: dict[str, Tensor] = {}
        seen = 0
        while todo:
            prefix, module = todo.pop()
            seen += 1
            if seen > _MOST_MODULES:
                raise WeightsError(f"more than {_MOST_MODULES} modules")
            if not isinstance(module, _Module):
                raise WeightsError("holds no module")
            kept = self._kept(type(module).source)
            for name, value in vars(module).items():
                if isinstance(value, _Module):
                    todo.append((f"{prefix}{name}.", value))
                elif torch.is_tensor(value) and (kept is None or name in kept):
                    state[prefix + name] = value
        return state

    def storage(self, key: str, dtype: torch.dtype, length: int) -> _Storage:
        """`length` numbers of the record `data/KEY`."""
        if key not in self._storages:
            info = self._archive.getinfo(f"{self._root}/data/{key}")
            # Together they are no longer than the file, so that it cannot ask for more memory.
            self._left -= info.file_size
            if info.compress_type != zipfile.ZIP_STORED or self._left < 0:
                raise WeightsError(f"storage {key[:80]!r} is compressed or longer than the file")
            data = bytearray(self._archive.read(info))
            if length * dtype.itemsize != len(data):
                raise WeightsError(f"storage {key[:80]!r} has not the {length} numbers it should")
            values = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
            self._storages[key] = _Storage(values)
        found = self._storages[key]
        if found.values.dtype != dtype or len(found.values) != length:
            raise WeightsError(f"storage {key[:80]!r} is described in two ways")
        return found

    def _kept(self, source: str) -> set[str] | None:
        """Names that a class lists as parameters and buffers; None where it lists none.

        Other tensors are attributes, which no state dict has.
        """
        module, _, name = source.rpartition(".")
        record = f"code/{module.replace('.', '/')}.py"
        if f"{self._root}/{record}" not in self._names:
            return None
        lines = iter(self._text(record).decode().splitlines())
        for line in lines:
            if line == f"class {name}(Module):":
                found = [_NAMES.match(next(lines, "")) for _ in range(2)]
                lists = [match[1] for match in found if match]
                if len(lists) == len(found):
                    return {n for names in lists for n in re.findall('"([^"]*)"', names)}
        return None

    def _text(self, record: str) -> bytes:
        with self._archive.open(f"{self._root}/{record}") as file:
            data = file.read(self._text_left + 1)
        self._text_left -= len(data)
        if self._text_left < 0:
            raise WeightsError(f"its pickle and its code have more than {_MOST_TEXT} bytes")
        return data


class _Module:
    """Stands for an object of any class of the archive: its attributes, and no code."""

    source: str


_LOADERS: dict[int, Callable[[Any], None]] = dict(pickle._Unpickler.dispatch)


# The standard library's in Python: of the one in C a short pickle can ask for gigabytes of memory.
class _Unpickler(pickle._Unpickler):
    stack: list[Any]
    metastack: list[list[Any]]

    def __init__(self, data: bytes, storage: Any) -> None:
        super().__init__(io.BytesIO(data))
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        # Each is made anew, so that what a pickle does to it ends with the file.
        if module.partition(".")[0] == _CODE:
            return type("Module", (_Module,), {"source": f"{module}.{name}"})
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *arguments: _tensor(*arguments)
        if (module, name) == ("collections", "OrderedDict"):
            return lambda: {}
        if module == "torch.jit._pickle":  # plain lists and their types
            return lambda value, *_: value
        shown = f"{module}.{name}"[:80]
        raise WeightsError(f"holds an object of class {shown}, which may run code when it is read")

    def load_setitem(self) -> None:
        self._check_items([self.stack[-3], *self.stack[-2:]])
        _LOADERS[pickle.SETITEM[0]](self)

    def load_setitems(self) -> None:
        self._check_items([self.metastack[-1][-1], *self.stack])
        _LOADERS[pickle.SETITEMS[0]](self)

    def _check_items(self, items: list[Any]) -> None:
        # Of keys that are nested tuples, the hash may take for ever.
        if type(items[0]) is not dict or not {type(key) for key in items[1::2]} <= {str, int}:
            raise WeightsError("holds a table whose keys are not names")

    def load_build(self) -> None:
        if not isinstance(self.stack[-2], _Module) or type(self.stack[-1]) is not dict:
            raise WeightsError("holds a state that is not a module's names and values")
        _LOADERS[pickle.BUILD[0]](self)

    # Sets, too, would hash what is in them; PyTorch writes none.
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        code: load
        for code, load in _LOADERS.items()
        if bytes([code]) not in (pickle.DICT, pickle.ADDITEMS, pickle.FROZENSET)
    } | {
        pickle.BUILD[0]: load_build,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
    }

    def persistent_load(self, identity: Any) -> _Storage:
        kind, dtype, key, _location, length = identity
        types = isinstance(dtype, torch.dtype) and (type(key), type(length)) == (str, int)
        if kind != "storage" or not types:
            raise WeightsError("holds a reference that is no storage")
        return self._storage(key, dtype, length)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """A tensor within its storage, of which it shows no number twice."""
    whole = [offset, *size, *stride]
    natural = len(size) <= _MOST_DIMENSIONS and all(type(n) is int and n >= 0 for n in whole)
    if not isinstance(storage, _Storage) or not natural:
        raise WeightsError("holds a tensor whose description is none")
    length = len(storage.values)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if math.prod(size) > length or (math.prod(size) and last >= length):
        raise WeightsError(f"holds a tensor of size {size} that reaches outside its numbers")
    return torch.as_strided(storage.values, size, stride, offset)
