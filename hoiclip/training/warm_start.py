"""Reading the DETR that training starts from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from torch import Tensor

from hoiclip.errors import WeightsError
from hoiclip.model.config import DetectorConfig
from hoiclip.ranges import told
from hoiclip.tensors import read_safetensors

DETR_HEADER = "provenance"
"""Entry of a converted DETR's header: JSON, with its sizes under `model_detector`."""


def read_detr(path: Path, config: DetectorConfig) -> dict[str, Tensor]:
    """State dict of a DETR in a safetensors file, in float32.

    Args:
        path: the file.
        config: what it is to start; where the file states its own sizes, they have to be these.
            Of some, such as the stride, no tensor's shape tells.

    Raises:
        WeightsError: absent, unreadable, or of another size.
    """
    state, metadata = read_safetensors(path)
    try:
        header = json.loads(metadata.get(DETR_HEADER, "{}"))
        stated = dict(header.get("model_detector", {}))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path}: its header is not of a DETR ({error})") from None
    ours = dataclasses.asdict(config)
    for key, value in stated.items():
        if key != "dropout" and ours.get(key) != value:
            raise WeightsError(
                f"{path}: a DETR with {key} {told(value)}, model.detector.{key} in params.yaml "
                f"says {ours.get(key)}"
            )
    return {name: tensor.float() for name, tensor in state.items()}
