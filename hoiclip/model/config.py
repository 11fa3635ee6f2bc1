"""Sizes and switches of the networks, with the papers' values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from hoiclip.core.config import check
from hoiclip.util.ranges import Config, Dropout, Layers, Range, Width

# PyTorch 2.15's oneDNN corrupts the heap of a processor without AVX-512 in the backward pass of a
# strided 1x1 convolution in channels_last that has fewer input channels, as a downsampling has.
_WHY = "PyTorch's convolutions of fewer channels corrupt memory on processors without AVX-512"
Channels = Annotated[int, Range(8, 2048, why=_WHY)]
TokenWidth = Annotated[int, Range(4, 4096)]
Heads = Annotated[int, Range(1, 512)]

OF_TRAINING = frozenset({"dropout", "checkpoint_encoder"})
"""Settings of `DetectorConfig` on which no inference depends."""


@dataclass(frozen=True, kw_only=True)
class BackboneConfig(Config):
    """A ResNet (paper: ResNet-50).

    Attributes:
        block: `bottleneck` (ResNet-50 and deeper) or `basic`.
        layers: blocks of each of the four stages.
        channels: width of each stage, at least 8, before a bottleneck's expansion.
        stride: image pixels per cell of the last stage: 32, 16 or 8.
    """

    block: Literal["basic", "bottleneck"]
    layers: list[Layers]
    channels: list[Channels]
    stride: Annotated[int, Range(8, 32)]

    def __post_init__(self) -> None:
        super().__post_init__()
        check(len(self.layers) == 4, f"layers: {self.layers}, expected four stages")
        check(len(self.channels) == 4, f"channels: {self.channels}, expected four stages")
        check(self.stride in (8, 16, 32), f"stride: {self.stride}, expected 8, 16 or 32")


@dataclass(frozen=True, kw_only=True)
class DetectorConfig(Config):
    """Detector encoder and the layers of the instance decoder.

    Attributes:
        backbone: the ResNet.
        width: of every token (paper: 256).
        encoder_layers: (6).
        heads: of every attention (8).
        feed_forward: hidden width of feed-forward blocks (2048).
        dropout: probability (0.1).
        checkpoint_encoder: whether training computes the encoder's layers again in the backward
            pass instead of keeping what they need: less memory, more time, the same result.
    """

    backbone: BackboneConfig
    width: TokenWidth
    encoder_layers: Layers
    heads: Heads
    feed_forward: Width
    dropout: Dropout
    checkpoint_encoder: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.width % 4 == 0, f"width: {self.width}, expected a multiple of 4")
        check(self.width % self.heads == 0, f"heads: {self.heads} do not divide width {self.width}")

    def sizes(self) -> dict[str, Any]:
        """What inference depends on, by field: all but `OF_TRAINING`; nested JSON."""
        return {key: value for key, value in asdict(self).items() if key not in OF_TRAINING}


@dataclass(frozen=True, kw_only=True)
class SetPredictionConfig(Config):
    """What every network that predicts a set of pairs has (`model` in params.yaml).

    Attributes:
        num_queries: pairs of queries (paper: 64).
        decoder_layers: of the instance and of the interaction decoder alike (3).
        detector: encoder and instance decoder.
    """

    num_queries: Annotated[int, Range(1, 10_000)]
    decoder_layers: Layers
    detector: DetectorConfig
