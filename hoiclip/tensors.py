"""Reading safetensors files with errors that say what is wrong."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hoiclip.errors import WeightsError


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        WeightsError: the file is absent or damaged, or a tensor holds NaN or an infinity.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weight file")
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
