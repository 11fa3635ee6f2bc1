"""DETR in a safetensors file, under the names of DETR's own tensors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hoiclip.detr.network import DETR_PREFIXES, Detr
from hoiclip.errors import WeightsError
from hoiclip.model.config import OF_TRAINING, DetectorConfig
from hoiclip.model.tensors import read_safetensors
from hoiclip.util.ranges import quoted

DETR_HEADER = "provenance"
"""Entry of a converted DETR's header: JSON, with its sizes under `model_detector` and the names of
its object classes under `objects`."""

_PRETRAINED_HEADER = "hoiclip"
"""Entry of the header of a DETR pretrained here; JSON with `objects`."""

_LAYERS = "transformer.decoder.layers."
_COUNTERS = "num_batches_tracked"  # of batch norms in training


@dataclass(frozen=True)
class PretrainedDetr:
    """A frozen DETR.

    Attributes:
        model: in eval mode.
        objects: names of its K object classes, in the order of its class head.
    """

    model: Detr
    objects: tuple[str, ...]


def read_detr(path: Path, config: DetectorConfig) -> dict[str, Tensor]:
    """State dict of a DETR in a safetensors file, in float32.

    Args:
        path: the file.
        config: what it is to start; where the file states its own sizes, they have to be these.
            Of some, such as the stride, no tensor's shape tells.

    Raises:
        WeightsError: absent, unreadable, or of another size.
    """
    return _read(path, config)[0]


def load_detr(path: Path, config: DetectorConfig, num_queries: int | None) -> PretrainedDetr:
    """The detector of a file with its own queries and class head, and all its decoder layers.

    Args:
        path: as `hoiclip convert` or `hoiclip.pretraining` writes it.
        config: its sizes.
        num_queries: takes the first so many queries: of a Group DETR those of one group, since the
            groups do not see each other. None takes all.

    Raises:
        WeightsError: absent, unreadable or of another size; without class head, queries or names
            of its classes; with fewer queries.
    """
    state, header = _read(path, config)
    objects = header.get("objects")
    heads = ("class_embed.weight", "class_embed.bias", "query_embed.weight")
    if absent := [name for name in heads if name not in state]:
        raise WeightsError(
            f"{path}: a DETR without its own {absent[0].split('.')[0]}, which detecting takes. "
            "Convert DETR's own file again"
        )
    if not isinstance(objects, list) or not all(isinstance(name, str) for name in objects):
        raise WeightsError(f"{path}: does not say what its object classes are called")
    found = len(state["query_embed.weight"])
    if num_queries is not None and num_queries > found:
        raise WeightsError(f"{path}: a DETR of {found} queries, {num_queries} are asked for")
    state["query_embed.weight"] = state["query_embed.weight"][:num_queries]
    layers = {name.removeprefix(_LAYERS).split(".")[0] for name in state if _LAYERS in name}
    with torch.device("meta"):
        model = Detr(config, len(layers), len(objects), len(state["query_embed.weight"]))
    _fill(model, state, path)
    return PretrainedDetr(model.eval().requires_grad_(False), tuple(objects))


def _read(path: Path, config: DetectorConfig) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State dict and what the header says."""
    state, metadata = read_safetensors(path)
    header: dict[str, Any] = {}
    try:
        for entry in (_PRETRAINED_HEADER, DETR_HEADER):
            header |= json.loads(metadata.get(entry, "{}")).items()
        stated = dict(header.get("model_detector", {}))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path}: its header is not of a DETR ({error})") from None
    ours = config.sizes()
    for key, value in stated.items():
        # Files converted by earlier versions state settings of training, too.
        if key not in OF_TRAINING and ours.get(key) != value:
            raise WeightsError(
                f"{path}: a DETR with {key} {quoted(value)}, model.detector.{key} in params.yaml "
                f"says {ours.get(key)}"
            )
    return {name: tensor.float() for name, tensor in state.items()}, header


def _fill(model: Detr, state: dict[str, Tensor], path: Path) -> None:
    """Loads DETR's tensors, of which none may be missing, surplus or misshapen."""
    target = model.state_dict()
    filled = {}
    for name, tensor in state.items():
        prefix = next((p for p in DETR_PREFIXES if name.startswith(p)), None)
        key = None if prefix is None else DETR_PREFIXES[prefix] + name.removeprefix(prefix)
        if key not in target:
            raise WeightsError(f"{path}: tensor {name} has no place in a DETR of model.detector")
        if target[key].shape != tensor.shape:
            raise WeightsError(
                f"{path}: tensor {name} has shape {tuple(tensor.shape)}, "
                f"expected {tuple(target[key].shape)}"
            )
        filled[key] = tensor.contiguous()
    missing = [key for key in target if key not in filled and not key.endswith(_COUNTERS)]
    if missing:
        raise WeightsError(f"{path}: nothing fills {missing[0]} ({len(missing)} tensors missing)")
    counters = {key: torch.zeros((), dtype=torch.long) for key in target if key not in filled}
    model.to_empty(device="cpu")
    model.load_state_dict(filled | counters)
