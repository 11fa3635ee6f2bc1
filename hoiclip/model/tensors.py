"""Reading safetensors files with errors that say what is wrong."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hoiclip.errors import WeightsError

HEADER_KEY = "hoiclip"
"""Entry of a model file's metadata: its header, JSON; see `hoiclip.contract.model_file`."""


def check_is_file(path: Path, absent: str) -> None:
    """Raises WeightsError, with `absent` where there is nothing, unless `path` is a file."""
    if not path.exists():
        raise WeightsError(f"{path}: {absent}")
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "a device, FIFO or socket"
        raise WeightsError(f"{path}: {kind}, expected a weight file")


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        WeightsError: the file is absent, not to be read or damaged, or a tensor holds NaN or an
            infinity.
    """
    path = Path(path)
    check_is_file(path, "no such weight file")
    try:
        # Of a file that may not be read, safetensors says that there is none.
        with path.open("rb") as raw:
            start = raw.read(64).lstrip().lower()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    if start.startswith((b"<!doctype", b"<html")):
        raise WeightsError(f"{path}: a web page, not a weight file. Download the file itself")
    try:
        with safe_open(path, "pt") as file:
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from None
    for name, tensor in tensors.items():
        try:
            finite = torch.isfinite(tensor).all()
        except NotImplementedError:  # numbers of four bits
            raise WeightsError(f"{path}: tensor {name} is of type {tensor.dtype}") from None
        if not finite:
            raise WeightsError(f"{path}: tensor {name} holds values that are not finite")
    return tensors, metadata
