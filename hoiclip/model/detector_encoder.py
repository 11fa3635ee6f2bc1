"""Detector encoder: ResNet, 1×1 projection, sine positions, transformer encoder → V_d."""

from __future__ import annotations

from collections.abc import Callable

import torch
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn
from torch.nn import functional as F

from hoiclip.model.config import BackboneConfig, DetectorConfig
from hoiclip.model.layers import FrozenBatchNorm2d, sine_position_encoding
from hoiclip.model.transformer import Encoder, Memory

BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck}
# Of the images that inference on a CPU takes through the backbone at a time.
PIXELS_AT_ONCE = 2**20


class Backbone(nn.Module):
    """A ResNet's last stage; parameter names are torchvision's under `body`."""

    def __init__(self, config: BackboneConfig, norm_layer: Callable[..., nn.Module]) -> None:
        super().__init__()
        block = BLOCKS[config.block]
        self.body = ResNet(
            block,  # type: ignore[arg-type]  # timm says blocks where it takes their class
            tuple(config.layers),
            num_classes=0,
            output_stride=config.stride,
            channels=tuple(config.channels),
            norm_layer=norm_layer,
            # A frozen norm that starts at zero would silence its residual branch for good.
            zero_init_last=False,
        )
        self.num_channels: int = self.body.num_features
        # Half the time of a step on a CPU, and no slower on a GPU.
        self.body.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, C, H/stride, W/stride)."""
        if self.training or images.device.type != "cpu":
            return self._features(images)
        # Activations of the first stages are the most memory that inference needs. A GPU would have
        # too little to do with an image of 800 px at a time.
        height, width = images.shape[-2:]
        together = max(1, PIXELS_AT_ONCE // (height * width))
        return torch.cat([self._features(part) for part in images.split(together)])

    def _features(self, images: Tensor) -> Tensor:
        return self.body.forward_features(images.contiguous(memory_format=torch.channels_last))

    def frozen_part(self) -> list[nn.Module]:
        """Stem and first stage, which fine-tuning leaves alone."""
        return [self.body.get_submodule(name) for name in ("conv1", "bn1", "layer1")]


class DetectorEncoder(nn.Module):
    """Images → V_d (spec of DETR-R50, warm-started from a detector).

    Args:
        config: sizes.
        norm_layer: batch norm of the backbone; trained only in detector pretraining.
    """

    def __init__(
        self,
        config: DetectorConfig,
        norm_layer: Callable[..., nn.Module] = FrozenBatchNorm2d,
    ) -> None:
        super().__init__()
        self.width = config.width
        self.backbone = Backbone(config.backbone, norm_layer)
        self.input_projection = nn.Conv2d(self.backbone.num_channels, config.width, kernel_size=1)
        self.transformer = Encoder(
            config.encoder_layers,
            config.width,
            config.heads,
            config.feed_forward,
            config.dropout,
            checkpoint_layers=config.checkpoint_encoder,
        )

    def forward(self, images: Tensor, padding_mask: Tensor | None) -> Memory:
        """Encodes a batch.

        Args:
            images: (B, 3, H, W), normalised, zero-padded right and bottom.
            padding_mask: (B, H, W) bool, true where padded; None where nothing is.
        """
        features = self.input_projection(self.backbone(images))
        if padding_mask is None:
            cells = features.new_zeros((1, *features.shape[-2:])).bool()
            position = sine_position_encoding(cells, self.width).expand(len(images), -1, -1)
            return self.transformer(features.flatten(2).transpose(1, 2), position, None)
        cells = F.interpolate(padding_mask[:, None].float(), size=features.shape[-2:])[:, 0].bool()
        position = sine_position_encoding(cells, self.width)
        return self.transformer(features.flatten(2).transpose(1, 2), position, cells.flatten(1))
