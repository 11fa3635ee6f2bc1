"""The mimic loss: interaction features learn CLIP's view of the whole image."""

from __future__ import annotations

from torch import Tensor

from hoiclip.methods.gen_vlkt.model.config import GenVlktConfig


def mimic_loss(features: Tensor, image_features: Tensor, config: GenVlktConfig) -> Tensor:
    """L1 distance of an image's mean interaction feature and CLIP's feature (L_glo of the paper).

    The mean is over all queries, matched or not. Of one layer it is the mean over images and
    coordinates; layers are summed.

    Args:
        features: (L, B, Q, E) of every decoder layer, before L2 normalisation.
        image_features: (B, E), CLIP's projected global feature, not normalised, without gradient.
        config: weight and layers.

    Returns:
        The weighted term, a scalar.
    """
    if config.mimic_layers == "last":
        features = features[-1:]
    distances = (features.mean(2) - image_features.detach()).abs().mean((1, 2))
    return config.mimic * distances.sum()
