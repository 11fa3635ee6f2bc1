"""What a network says that predicts a set of human-object pairs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Outputs:
    """L decoder layers (last is the answer), B images, Q pairs, C HOI classes, O objects.

    Attributes:
        hoi_logits: (L, B, Q, C).
        object_logits: (L, B, Q, O + 1); the last class is 'nothing'.
        human_boxes_cxcywh: (L, B, Q, 4) in [0, 1], relative to the unpadded image.
        object_boxes_cxcywh: likewise.
        clip_similarity: (B, C) cosine of CLIP's global feature and each HOI class's prompt; None
            where the network takes no CLIP.
        interaction_features: (L, B, Q, E) features in CLIP's shared space before they are
            normalised, for a loss that compares them with CLIP's; None where there is none.
    """

    hoi_logits: Tensor
    object_logits: Tensor
    human_boxes_cxcywh: Tensor
    object_boxes_cxcywh: Tensor
    clip_similarity: Tensor | None = None
    interaction_features: Tensor | None = None
