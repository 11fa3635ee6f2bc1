"""HOICLIP's network once more, written the way DETR-family repositories write theirs.

Something to measure the project's network against: torchvision's ResNet with a batch norm frozen by
arithmetic, sequence-first attention that also returns its weights, every classifier at every
decoder layer, parts one after another. It computes what HOICLIP's network computes
with knowledge integration and a verb classifier, from the same weights (`OUR_NAMES`).

Shapes: B images, W width and E shared width of CLIP.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import Bottleneck, ResNet

from benchmarks.plain_layers import (
    MLP,
    DecoderLayer,
    EncoderLayer,
    FrozenBatchNorm2d,
    InteractionLayer,
    sine_positions,
)
from hoiclip.clip.encoder import ClipVisual
from hoiclip.methods.hoiclip.model.config import ModelConfig
from hoiclip.methods.hoiclip.model.network import ClassifierWeights
from hoiclip.set_prediction.model.outputs import Outputs

# Prefix of a tensor's name here → its prefix in HOICLIP.
OUR_NAMES = {
    "backbone.": "encoder.backbone.body.",
    "input_proj.": "encoder.input_projection.",
    "encoder.": "encoder.transformer.layers.",
    "instance_decoder.": "instance_decoder.decoder.layers.",
    "instance_norm.": "instance_decoder.decoder.norm.",
    "query_embed_h.": "instance_decoder.human_queries.",
    "query_embed_o.": "instance_decoder.object_queries.",
    "query_embed_pair.": "instance_decoder.position_guided.",
    "hum_bbox_embed.": "instance_decoder.human_box_head.",
    "obj_bbox_embed.": "instance_decoder.object_box_head.",
    "obj_class_embed.": "object_classifier.projection.",
    "obj_logit_scale": "object_classifier.logit_scale",
    "obj_table": "object_classifier.classifier.table",
    "query_proj.": "interaction_decoder.query_projection.",
    "memory_proj.": "interaction_decoder.memory_projection.",
    "interaction_decoder.": "interaction_decoder.layers.",
    "interaction_norm.": "interaction_decoder.norm.",
    "hoi_table": "hoi_classifier.table",
    "verb_adapter.": "verb_classifier.adapter.",
    "verb_vectors": "verb_classifier.vectors",
    "verb_to_hoi": "verb_classifier.verb_to_hoi",
}


def our_name(name: str) -> str:
    """The name that HOICLIP gives to a tensor of `PlainNetwork`."""
    prefix = next((p for p in OUR_NAMES if name.startswith(p)), None)
    return name if prefix is None else OUR_NAMES[prefix] + name.removeprefix(prefix)


class ResNetOfWidths(ResNet):
    """torchvision's ResNet of bottlenecks, with other widths of its four stages."""

    def __init__(self, channels: list[int], layers: list[int]) -> None:
        self.channels = iter(channels)
        super().__init__(Bottleneck, layers, norm_layer=FrozenBatchNorm2d, num_classes=1)
        del self.fc

    def _make_layer(
        self, block: type[Bottleneck], planes: int, *sizes: int, **options: Any
    ) -> nn.Sequential:
        return super()._make_layer(block, next(self.channels), *sizes, **options)


class PlainNetwork(nn.Module):
    """The network, CLIP's frozen image tower included.

    Args:
        config: sizes; a bottleneck ResNet of torchvision's widths and stride 32.
        tables: text embeddings and verb vectors.
        clip: the image tower.
    """

    visual_projection: Tensor
    hoi_table: Tensor
    obj_table: Tensor
    verb_to_hoi: Tensor

    def __init__(self, config: ModelConfig, tables: ClassifierWeights, clip: ClipVisual) -> None:
        super().__init__()
        if tables.verb_vectors is None:
            raise ValueError("tables without verb vectors: the verb classifier needs them")
        detector, interaction = config.detector, config.interaction
        width, token_width, embed_dim = detector.width, clip.token_width, clip.embed_dim
        sizes = (width, detector.heads, detector.feed_forward, detector.dropout)
        self.clip = clip
        channels = detector.backbone.channels
        self.backbone = ResNetOfWidths(channels, detector.backbone.layers)
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(name.startswith(("layer2", "layer3", "layer4")))
        self.input_proj = nn.Conv2d(channels[-1] * Bottleneck.expansion, width, kernel_size=1)
        self.encoder = nn.ModuleList(EncoderLayer(*sizes) for _ in range(detector.encoder_layers))
        layers = range(config.decoder_layers)
        self.instance_decoder = nn.ModuleList(DecoderLayer(*sizes) for _ in layers)
        self.instance_norm = nn.LayerNorm(width)
        self.query_embed_h = nn.Embedding(config.num_queries, width)
        self.query_embed_o = nn.Embedding(config.num_queries, width)
        self.query_embed_pair = nn.Embedding(config.num_queries, width)
        self.hum_bbox_embed = MLP(width, width, 4)
        self.obj_bbox_embed = MLP(width, width, 4)
        self.obj_class_embed = nn.Sequential(nn.Linear(width, embed_dim), nn.LayerNorm(embed_dim))
        self.obj_logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.query_proj = nn.Sequential(nn.Linear(width, token_width), nn.LayerNorm(token_width))
        self.memory_proj = nn.Sequential(nn.Linear(width, token_width), nn.LayerNorm(token_width))
        self.interaction_decoder = nn.ModuleList(
            InteractionLayer(
                token_width, interaction.heads, interaction.feed_forward, interaction.dropout
            )
            for _ in layers
        )
        self.interaction_norm = nn.LayerNorm(token_width)
        self.register_buffer("visual_projection", clip.visual_projection.clone())
        self.register_buffer("hoi_table", F.normalize(tables.hoi_embeddings, dim=-1))
        self.register_buffer("obj_table", F.normalize(tables.object_embeddings, dim=-1))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.verb_adapter = MLP(embed_dim, config.verb.adapter_hidden, embed_dim)
        self.verb_vectors = nn.Parameter(tables.verb_vectors.clone())
        self.register_buffer("verb_to_hoi", tables.verb_to_hoi)
        self.verb_weight = config.verb.weight
        self.mask_memory = interaction.mask_detector_memory

    def encode_clip(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """CLIP's tokens (B, 1 + P, W), all normalised, and its global feature (B, E)."""
        tower = self.clip.tower
        x = tower.conv1(pixels).flatten(2).permute(0, 2, 1)
        start = tower.class_embedding.expand(len(x), 1, -1)
        x = tower.ln_pre(torch.cat([start, x], 1) + tower.positional_embedding)
        x = tower.ln_post(tower.transformer(x))
        return x, F.normalize(x[:, 0] @ tower.proj, dim=-1)

    def extract(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, C, H/32, W/32)."""
        body = self.backbone
        x = body.maxpool(body.relu(body.bn1(body.conv1(images))))
        return body.layer4(body.layer3(body.layer2(body.layer1(x))))

    def forward(self, images: Tensor, mask: Tensor, pixels: Tensor) -> Outputs:
        """Detects interactions.

        Args:
            images: (B, 3, H, W).
            mask: (B, H, W) bool, true where padded.
            pixels: (B, 3, S, S), CLIP's input.
        """
        features = self.input_proj(self.extract(images))
        mask = F.interpolate(mask[None].float(), size=features.shape[-2:]).bool()[0]
        pos = sine_positions(mask, features.shape[1]).flatten(2).permute(2, 0, 1)
        memory, mask = features.flatten(2).permute(2, 0, 1), mask.flatten(1)
        for layer in self.encoder:
            memory = layer(memory, mask, pos)

        pair = self.query_embed_pair.weight
        query_pos = torch.cat([self.query_embed_h.weight + pair, self.query_embed_o.weight + pair])
        query_pos = query_pos.unsqueeze(1).repeat(1, len(images), 1)
        out = torch.zeros_like(query_pos)
        intermediate = []
        for layer in self.instance_decoder:
            out = layer(out, memory, mask, pos, query_pos)
            intermediate.append(self.instance_norm(out))
        humans, objects = torch.stack(intermediate).transpose(1, 2).chunk(2, dim=2)

        clip_tokens, clip_global = self.encode_clip(pixels)
        out = self.query_proj(((humans[-1] + objects[-1]) / 2).permute(1, 0, 2))
        memory, clip_tokens = self.memory_proj(memory), clip_tokens.permute(1, 0, 2)
        intermediate = []
        for layer in self.interaction_decoder:
            out = layer(out, clip_tokens, memory, mask if self.mask_memory else None)
            intermediate.append(self.interaction_norm(out))
        interactions = torch.stack(intermediate).transpose(1, 2) @ self.visual_projection

        scale = self.logit_scale.exp()
        hoi = scale * (F.normalize(interactions, dim=-1) @ self.hoi_table.t())
        verb = F.normalize(self.verb_adapter(interactions), dim=-1) @ self.verb_vectors.t()
        hoi = hoi + self.verb_weight * (scale * (verb @ self.verb_to_hoi))
        objects_512 = F.normalize(self.obj_class_embed(objects), dim=-1)
        return Outputs(
            hoi_logits=hoi,
            object_logits=self.obj_logit_scale.exp() * (objects_512 @ self.obj_table.t()),
            human_boxes_cxcywh=self.hum_bbox_embed(humans).sigmoid(),
            object_boxes_cxcywh=self.obj_bbox_embed(objects).sigmoid(),
            clip_similarity=clip_global @ self.hoi_table.t(),
        )
