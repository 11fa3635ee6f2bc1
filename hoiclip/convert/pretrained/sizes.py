"""Sizes of a network, read from the shapes of its tensors."""

from __future__ import annotations

from hoiclip.checkpoints.pytorch import Checkpoint
from hoiclip.convert.pretrained.arguments import Arguments
from hoiclip.errors import WeightsError
from hoiclip.model.config import (
    BackboneConfig,
    DetectorConfig,
    SetPredictionConfig,
)

_BODY = "backbone.0.body."


def backbone_config(checkpoint: Checkpoint, dilation: bool) -> BackboneConfig:
    """The ResNet; dilation ("DC5") halves the stride of its last stage."""
    stages = [f"{_BODY}layer{stage}." for stage in range(1, 5)]
    bottleneck = f"{stages[0]}0.conv3.weight" in checkpoint.state
    return BackboneConfig(
        block="bottleneck" if bottleneck else "basic",
        layers=[checkpoint.layers(stage) for stage in stages],
        channels=[checkpoint.shape(f"{stage}0.conv1.weight", 4)[0] for stage in stages],
        stride=16 if dilation else 32,
    )


def detector_config(checkpoint: Checkpoint, arguments: Arguments) -> DetectorConfig:
    """Detector encoder and decoder layers of a DETR or of a network that grew from it.

    Raises:
        WeightsError: a tensor that tells a size is missing, or a size makes no network.
    """
    try:
        return DetectorConfig(
            backbone=backbone_config(checkpoint, arguments["dilation"]),
            width=checkpoint.shape("input_proj.weight", 4)[0],
            encoder_layers=checkpoint.layers("transformer.encoder.layers."),
            heads=arguments["nheads"],
            feed_forward=checkpoint.shape("transformer.encoder.layers.0.linear1.weight", 2)[0],
            dropout=float(arguments["dropout"]),
        )
    except (ValueError, ZeroDivisionError) as error:
        raise WeightsError(f"{checkpoint.path}: its shapes make no network: {error}") from None


def set_prediction_config(
    checkpoint: Checkpoint, arguments: Arguments, interaction_decoder: str
) -> SetPredictionConfig:
    """What released networks for pairs share.

    Args:
        checkpoint: of HOICLIP or GEN-VLKT.
        arguments: of `checkpoint`.
        interaction_decoder: prefix of the tensors of its interaction decoder.

    Raises:
        WeightsError: see `detector_config`; or instance and interaction decoder differ in depth.
    """
    detector = detector_config(checkpoint, arguments)
    layers = checkpoint.layers("transformer.instance_decoder.layers.")
    interaction_layers = checkpoint.layers(f"{interaction_decoder}layers.")
    if layers != interaction_layers:
        raise WeightsError(
            f"{checkpoint.path}: {layers} layers in the instance decoder, {interaction_layers} in "
            "the interaction decoder; expected as many in both"
        )
    try:
        return SetPredictionConfig(
            num_queries=checkpoint.shape("query_embed_h.weight", 2)[0],
            decoder_layers=layers,
            detector=detector,
        )
    except ValueError as error:
        raise WeightsError(f"{checkpoint.path}: its shapes make no network: {error}") from None
