"""Sizes and switches of the network (`model` in params.yaml), with the paper's values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hoiclip.config import check

# PyTorch 2.15's oneDNN corrupts the heap of a processor without AVX-512 in the backward pass of a
# strided 1x1 convolution in channels_last that has fewer input channels, as a downsampling has.
_LEAST_CHANNELS = 8


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """A ResNet (paper: ResNet-50).

    Attributes:
        block: `bottleneck` (ResNet-50 and deeper) or `basic`.
        layers: blocks of each of the four stages.
        channels: width of each stage, at least 8, before a bottleneck's expansion.
        stride: image pixels per cell of the last stage: 32, 16 or 8.
    """

    block: Literal["basic", "bottleneck"]
    layers: list[int]
    channels: list[int]
    stride: int

    def __post_init__(self) -> None:
        check(len(self.layers) == 4, f"layers: {self.layers}, expected four stages")
        check(len(self.channels) == 4, f"channels: {self.channels}, expected four stages")
        check(
            min(self.channels) >= _LEAST_CHANNELS,
            f"channels: {self.channels}, expected at least {_LEAST_CHANNELS} in every stage: "
            "PyTorch's convolutions of fewer corrupt memory on processors without AVX-512",
        )
        check(self.stride in (8, 16, 32), f"stride: {self.stride}, expected 8, 16 or 32")


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """Detector encoder and the layers of the instance decoder.

    Attributes:
        backbone: the ResNet.
        width: of every token (paper: 256).
        encoder_layers: (6).
        heads: of every attention (8).
        feed_forward: hidden width of feed-forward blocks (2048).
        dropout: probability (0.1).
    """

    backbone: BackboneConfig
    width: int
    encoder_layers: int
    heads: int
    feed_forward: int
    dropout: float

    def __post_init__(self) -> None:
        check(self.width % 4 == 0, f"width: {self.width}, expected a multiple of 4")
        check(self.width % self.heads == 0, f"heads: {self.heads} do not divide width {self.width}")
        check(0 <= self.dropout < 1, f"dropout: {self.dropout}, expected 0 <= dropout < 1")


@dataclass(frozen=True, kw_only=True)
class InteractionConfig:
    """Interaction decoder.

    Attributes:
        clip_attention: `shared` is knowledge integration (the paper), `separate` adds an attention
            to CLIP's tokens of its own, `none` leaves CLIP's tokens out.
        mask_detector_memory: whether V_d's padding is masked; the released models do not mask it.
        heads: of every attention (paper: 8).
        feed_forward: hidden width of feed-forward blocks (2048).
        dropout: probability (0.1).
    """

    clip_attention: Literal["none", "separate", "shared"]
    mask_detector_memory: bool
    heads: int
    feed_forward: int
    dropout: float

    def __post_init__(self) -> None:
        check(0 <= self.dropout < 1, f"dropout: {self.dropout}, expected 0 <= dropout < 1")


@dataclass(frozen=True, kw_only=True)
class VerbConfig:
    """Verb adapter and classifier.

    Attributes:
        representation: where the verb vectors come from: `arithmetic` (the paper), `average`,
            `text`; `none` leaves the verb classifier out.
        weight: λ_v, weight of the verb logits (0.5 on HICO-DET, 0.1 on V-COCO).
        adapter_hidden: hidden width of the adapter (256).
    """

    representation: Literal["none", "arithmetic", "average", "text"]
    weight: float
    adapter_hidden: int


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network (`model` in params.yaml).

    Attributes:
        num_queries: pairs of queries (paper: 64).
        decoder_layers: of the instance and of the interaction decoder alike (3).
        detector: encoder and instance decoder.
        interaction: interaction decoder.
        verb: verb adapter and classifier.
    """

    num_queries: int
    decoder_layers: int
    detector: DetectorConfig
    interaction: InteractionConfig
    verb: VerbConfig

    def __post_init__(self) -> None:
        check(self.num_queries > 0, f"num_queries: {self.num_queries}, expected at least 1")
        check(
            self.decoder_layers > 0, f"decoder_layers: {self.decoder_layers}, expected at least 1"
        )
