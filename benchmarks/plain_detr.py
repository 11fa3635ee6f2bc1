"""DETR once more, written the way DETR-family repositories write theirs; see `plain_network.py`.

`PlainDetr` stands for the student's frozen detector; its encoder is that of `PlainGenVlkt`, too.

Shapes: B images, N memory cells, Q queries, D width; sequences come first.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import Bottleneck

from benchmarks.plain_layers import MLP, DecoderLayer, EncoderLayer, sine_positions
from benchmarks.plain_network import ResNetOfWidths
from hoiclip.detr.network import DetrOutputs
from hoiclip.model.config import DetectorConfig

# Prefix of a tensor's name here → its prefix in `hoiclip.detr.network.Detr`.
DETR_NAMES = {
    "backbone.": "encoder.backbone.body.",
    "input_proj.": "encoder.input_projection.",
    "encoder.": "encoder.transformer.layers.",
    "decoder.": "decoder.layers.",
    "norm.": "decoder.norm.",
    "queries.": "queries.",
    "bbox_embed.": "box_head.",
    "class_embed.": "class_head.",
}


@torch.no_grad()
def take_weights(plain: nn.Module, ours: nn.Module, names: dict[str, str]) -> None:
    """Gives a plain network the weights of one of the package.

    Args:
        plain: takes them.
        ours: has them.
        names: prefix of a tensor's name in `plain` → its prefix in `ours`.
    """
    found = ours.state_dict()
    for name, tensor in plain.state_dict().items():
        prefix = next(prefix for prefix in names if name.startswith(prefix))
        tensor.copy_(found[names[prefix] + name.removeprefix(prefix)])


class PlainEncoder(nn.Module):
    """Images → DETR's memory.

    Args:
        config: sizes; a bottleneck ResNet of stride 32.
    """

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        channels, width = config.backbone.channels, config.width
        self.sizes = (width, config.heads, config.feed_forward, config.dropout)
        self.backbone = ResNetOfWidths(channels, config.backbone.layers)
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(name.startswith(("layer2", "layer3", "layer4")))
        self.input_proj = nn.Conv2d(channels[-1] * Bottleneck.expansion, width, kernel_size=1)
        self.encoder = nn.ModuleList(
            EncoderLayer(*self.sizes) for _ in range(config.encoder_layers)
        )

    def encode(self, images: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Memory (N, B, D), its mask (B, N) and its positions (N, B, D).

        Args:
            images: (B, 3, H, W).
            mask: (B, H, W) bool, true where padded; None where nothing is.
        """
        if mask is None:
            mask = torch.zeros_like(images[:, 0], dtype=torch.bool)
        body = self.backbone
        x = body.maxpool(body.relu(body.bn1(body.conv1(images))))
        features = self.input_proj(body.layer4(body.layer3(body.layer2(body.layer1(x)))))
        mask = F.interpolate(mask[None].float(), size=features.shape[-2:]).bool()[0]
        pos = sine_positions(mask, features.shape[1]).flatten(2).permute(2, 0, 1)
        memory, mask = features.flatten(2).permute(2, 0, 1), mask.flatten(1)
        for layer in self.encoder:
            memory = layer(memory, mask, pos)
        return memory, mask, pos

    def decode(
        self,
        layers: nn.ModuleList,
        norm: nn.Module,
        query_pos: list[Tensor],
        memory: tuple[Tensor, Tensor, Tensor],
    ) -> Tensor:
        """(L, Q, B, D), every decoder layer's normalised output.

        Args:
            layers: L of them.
            norm: of every output.
            query_pos: (Q, B, D) for each layer.
            memory: of `encode`.
        """
        out = torch.zeros_like(query_pos[0])
        intermediate = []
        for layer, position in zip(layers, query_pos, strict=True):
            out = layer(out, *memory, position)
            intermediate.append(norm(out))
        return torch.stack(intermediate)


class PlainDetr(PlainEncoder):
    """DETR.

    Args:
        config: sizes.
        decoder_layers: L.
        num_classes: K, 'nothing' not counted.
        num_queries: Q.
    """

    def __init__(
        self, config: DetectorConfig, decoder_layers: int, num_classes: int, num_queries: int
    ) -> None:
        super().__init__(config)
        self.decoder = nn.ModuleList(DecoderLayer(*self.sizes) for _ in range(decoder_layers))
        self.norm = nn.LayerNorm(config.width)
        self.queries = nn.Embedding(num_queries, config.width)
        self.bbox_embed = MLP(config.width, config.width, 4)
        self.class_embed = nn.Linear(config.width, num_classes + 1)

    def forward(self, images: Tensor, mask: Tensor | None = None) -> DetrOutputs:
        """As `hoiclip.detr.network.Detr`."""
        memory = self.encode(images, mask)
        query_pos = self.queries.weight.unsqueeze(1).repeat(1, len(images), 1)
        query_pos_of = [query_pos] * len(self.decoder)
        out = self.decode(self.decoder, self.norm, query_pos_of, memory).transpose(1, 2)
        return DetrOutputs(out, self.class_embed(out), self.bbox_embed(out).sigmoid())
