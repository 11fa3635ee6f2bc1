"""Reading PyTorch checkpoints without running what is in them."""

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hoiclip.checkpoints.torchscript import is_torchscript
from hoiclip.errors import WeightsError
from hoiclip.model.tensors import check_is_file

_ZIP_START = b"PK\x03\x04"
WRAPPERS = ("model", "model_state_dict", "state_dict")
"""Keys under which trainings save the state dict: DETR's, PyTorch's examples', Lightning's."""

_DISTRIBUTED = "module."
_CLASS = re.compile(r"GLOBAL (\S+)")


@dataclass(frozen=True)
class Checkpoint:
    """A state dict with where it comes from and what it was trained with.

    Attributes:
        path: the file, for messages.
        state: name → tensor.
        args: settings of the training that wrote it; empty where the file has none.
    """

    path: Path
    state: Mapping[str, Tensor]
    args: Mapping[str, Any]

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """Shape of a tensor that has to be there.

        Raises:
            WeightsError: it is missing, or has another number of dimensions.
        """
        if name not in self.state:
            raise WeightsError(f"{self.path}: tensor {name} is missing. Is the file complete?")
        shape = tuple(self.state[name].shape)
        if len(shape) != dimensions:
            raise WeightsError(
                f"{self.path}: tensor {name} has shape {shape}, expected {dimensions} dimensions"
            )
        return shape

    def layers(self, prefix: str) -> int:
        """Number of layers whose names start with `prefix` and a number."""
        tails = (n.removeprefix(prefix) for n in self.state if n.startswith(prefix))
        return len({tail.split(".")[0] for tail in tails} - {""})


def load_pickle(path: str | Path) -> Any:
    """What `torch.save` wrote, on the CPU; tensors of zip archives stay mapped to the file.

    Nothing but tensors, containers, plain values and `argparse.Namespace` is ever built.

    Raises:
        WeightsError: absent, empty, truncated, of another format, or with objects of any other
            class, which it names.
    """
    path = Path(path)
    check_is_file(path, "no such checkpoint")
    try:
        with path.open("rb") as file:
            start = file.read(len(_ZIP_START))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    archive = zipfile.is_zipfile(path)
    if not start or (start == _ZIP_START and not archive):
        raise WeightsError(f"{path}: empty or truncated. Fetch the file anew")
    if archive and is_torchscript(path):
        raise WeightsError(f"{path}: a TorchScript archive, as of CLIP, and no checkpoint")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except Exception as error:  # a broken pickle raises a dozen types
        found = _CLASS.search(str(error))
        if found:
            raise WeightsError(
                f"{path}: holds an object of class {found[1]}, which may run code when it is read; "
                "save the state dict alone"
            ) from None
        raise WeightsError(
            f"{path}: not a readable PyTorch checkpoint. Fetch the file anew"
        ) from None


def check_plain(path: Path, name: str, tensor: Tensor) -> None:
    """Checks that a tensor is a plain array of real numbers, all of which are in the file.

    Raises:
        WeightsError: it is sparse, quantised, complex or without numbers, or shows few numbers as
            many, which copies would take memory for.
    """
    plain = tensor.layout is torch.strided and tensor.device.type == "cpu"
    plain = plain and not tensor.is_quantized and not tensor.is_complex()
    if not plain or tensor.numel() * tensor.itemsize > tensor.untyped_storage().nbytes():
        kind = f"{tensor.layout}, {tensor.dtype}, {tensor.device.type}"
        shape = tuple(tensor.shape)
        raise WeightsError(
            f"{path}: {name} of shape {shape} is no plain array of real numbers ({kind})"
        )


def checkpoint_of(path: Path, content: Any) -> Checkpoint | None:
    """The state dict in `content`, bare or under one of `WRAPPERS`; None where there is none.

    `module.`, which DistributedDataParallel puts before every name, is taken off.

    Raises:
        WeightsError: as of `check_plain`.
    """
    if not isinstance(content, Mapping):
        return None
    wrapped = (content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping))
    state = next(wrapped, content)
    if not state or not all(isinstance(k, str) and torch.is_tensor(v) for k, v in state.items()):
        return None
    for name, tensor in state.items():
        check_plain(path, f"tensor {name}", tensor)
    if all(name.startswith(_DISTRIBUTED) for name in state):
        state = {name.removeprefix(_DISTRIBUTED): tensor for name, tensor in state.items()}
    args = content.get("args")
    if isinstance(args, argparse.Namespace):
        args = vars(args)
    return Checkpoint(path, state, args if isinstance(args, Mapping) else {})
