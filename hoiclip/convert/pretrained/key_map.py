"""Names of tensors in released checkpoints → names in a model file, complete in both directions.

Keys are prefixes in which `*` stands for a layer's number; the longest that fits a name decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from hoiclip.errors import WeightsError

KeyMap = Mapping[str, tuple[str, ...]]


def inverted(path: Path, state: Mapping[str, Tensor], key_map: KeyMap) -> dict[str, Tensor]:
    """The reverse of `rename`: tensors under the released names.

    Args:
        path: where they come from, for messages.
        state: tensors under our names.
        key_map: of a release, in which no two keys fill one name.

    Raises:
        WeightsError: the release has no place for a tensor.
    """
    reverse = {ours: (theirs,) for theirs, group in key_map.items() for ours in group}
    return rename(path, state, reverse, {})[0]


def rename(
    path: Path, state: Mapping[str, Tensor], key_map: KeyMap, dropped: Mapping[str, str]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors under our names, and the names of those left out with the reason.

    Raises:
        WeightsError: a tensor has no place in the map.
    """
    patterns = {key: _pattern(key) for key in (*key_map, *dropped)}
    renamed, left_out = {}, {}
    for name, tensor in state.items():
        fitting = [key for key, pattern in patterns.items() if pattern.match(name)]
        if not fitting:
            raise WeightsError(f"{path}: tensor {name} belongs to no known part of the network")
        key = max(fitting, key=len)
        if key in dropped:
            left_out[name] = dropped[key]
        for ours in key_map.get(key, ()):
            renamed[ours + name.removeprefix(key)] = tensor
    return renamed, left_out


def _pattern(key: str) -> re.Pattern[str]:
    """A key that ends in a dot is a prefix; any other one is a whole name."""
    literal = re.escape(key).replace(r"\*", r"\d+")
    return re.compile(literal if key.endswith(".") else literal + r"\Z")


def check_fit(path: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Checks that `found` has exactly the tensors of `expected`, in their shapes, all finite.

    Args:
        path: the source, for messages.
        found: renamed tensors.
        expected: a network's state dict; may be on the meta device.

    Raises:
        WeightsError: names the first tensor that is missing, surplus, misshapen or not finite.
    """
    missing = [name for name in expected if name not in found]
    if missing:
        raise WeightsError(f"{path}: nothing fills {missing[0]} ({len(missing)} tensors missing)")
    for name, tensor in found.items():
        if name not in expected:
            raise WeightsError(f"{path}: the network has no {name}, which the file would fill")
        shape, wanted = tuple(tensor.shape), tuple(expected[name].shape)
        if shape != wanted:
            raise WeightsError(
                f"{path}: the tensor for {name} has shape {shape}, the others make it {wanted}"
            )
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise WeightsError(f"{path}: the tensor for {name} holds values that are not finite")
