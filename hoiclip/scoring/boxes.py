"""From the boxes of a file to those that a protocol compares, without rounding on the way."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from hoiclip.evaluation.ap.protocols import PROTOCOLS
from hoiclip.evaluation.vcoco_truth import INCLUSIVE_OFFSET

BoxConvention = Literal["inclusive", "continuous"]
"""What x2 and y2 of 0-based boxes are: the last pixel inside, or the edge behind it."""
CONVENTIONS: tuple[BoxConvention, ...] = get_args(BoxConvention)

_TO_SCHEMA = {"inclusive": (0.0, 0.0, 1.0, 1.0), "continuous": (0.0, 0.0, 0.0, 0.0)}


def protocol_offset(boxes: BoxConvention, protocol: str) -> np.ndarray:
    """(4,) what is added to xyxy boxes of the convention so that they are the protocol's.

    Zero, so that boxes are compared as the file has them, for inclusive boxes and the protocols
    `hoiclip` and `vcoco`, and for continuous ones and `pocket`.
    """
    # Both offsets are small whole numbers, so that one addition rounds once at most.
    own = PROTOCOLS[protocol].offset_xyxy if protocol in PROTOCOLS else INCLUSIVE_OFFSET
    return np.add(_TO_SCHEMA[boxes], own)
