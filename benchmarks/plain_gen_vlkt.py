"""GEN-VLKT's network once more, written the way DETR-family repositories write theirs.

As `plain_network.py` is to HOICLIP: it computes what `GenVlkt` computes with guided embeddings per
layer and trained classifiers with biases, from the same weights (`OUR_NAMES`).

Shapes: B images, Q pairs of queries, L decoder layers, D width, E shared width of CLIP.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.plain_detr import PlainEncoder
from benchmarks.plain_layers import MLP, DecoderLayer
from hoiclip.methods.gen_vlkt.model.config import GenVlktModelConfig
from hoiclip.methods.gen_vlkt.model.network import ClassEmbeddings
from hoiclip.set_prediction.model.outputs import Outputs

# Prefix of a tensor's name here → its prefix in `GenVlkt`.
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
    "interaction_decoder.": "interaction_decoder.layers.",
    "interaction_norm.": "interaction_decoder.norm.",
    "hoi_class_fc.": "hoi_projection.",
    "hoi_table": "hoi_classifier.table",
    "hoi_bias": "hoi_classifier.bias",
    "logit_scale": "logit_scale",
    "obj_class_fc.": "object_classifier.projection.",
    "obj_table": "object_classifier.classifier.table",
    "obj_bias": "object_classifier.classifier.bias",
    "obj_logit_scale": "object_classifier.logit_scale",
}


class PlainGenVlkt(PlainEncoder):
    """The network; CLIP, the teacher of its training, is no part of it.

    Args:
        config: sizes; a bottleneck ResNet of stride 32.
        tables: text embeddings.
    """

    def __init__(self, config: GenVlktModelConfig, tables: ClassEmbeddings) -> None:
        super().__init__(config.detector)
        width, embed_dim = config.detector.width, tables.hoi_embeddings.shape[1]
        layers = range(config.decoder_layers)
        self.instance_decoder = nn.ModuleList(DecoderLayer(*self.sizes) for _ in layers)
        self.instance_norm = nn.LayerNorm(width)
        self.query_embed_h = nn.Embedding(config.num_queries, width)
        self.query_embed_o = nn.Embedding(config.num_queries, width)
        self.query_embed_pair = nn.Embedding(config.num_queries, width)
        self.hum_bbox_embed = MLP(width, width, 4)
        self.obj_bbox_embed = MLP(width, width, 4)
        self.interaction_decoder = nn.ModuleList(DecoderLayer(*self.sizes) for _ in layers)
        self.interaction_norm = nn.LayerNorm(width)
        self.hoi_class_fc = nn.Sequential(nn.Linear(width, embed_dim), nn.LayerNorm(embed_dim))
        self.obj_class_fc = nn.Sequential(nn.Linear(width, embed_dim), nn.LayerNorm(embed_dim))
        self.hoi_table = nn.Parameter(F.normalize(tables.hoi_embeddings, dim=-1))
        self.hoi_bias = nn.Parameter(torch.zeros(len(tables.hoi_embeddings)))
        self.obj_table = nn.Parameter(F.normalize(tables.object_embeddings, dim=-1))
        self.obj_bias = nn.Parameter(torch.zeros(len(tables.object_embeddings)))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.obj_logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, images: Tensor, mask: Tensor | None) -> Outputs:
        """As `hoiclip.methods.gen_vlkt.model.network.GenVlkt`."""
        memory = self.encode(images, mask)
        pair = self.query_embed_pair.weight
        query_pos = torch.cat([self.query_embed_h.weight + pair, self.query_embed_o.weight + pair])
        query_pos = query_pos.unsqueeze(1).repeat(1, len(images), 1)
        layers = len(self.instance_decoder)
        instances = self.decode(
            self.instance_decoder, self.instance_norm, [query_pos] * layers, memory
        )
        humans, objects = instances.chunk(2, dim=1)
        guided = list((humans + objects) / 2)
        interactions = self.decode(
            self.interaction_decoder, self.interaction_norm, guided, memory
        ).transpose(1, 2)
        humans, objects = humans.transpose(1, 2), objects.transpose(1, 2)

        features = self.hoi_class_fc(interactions)
        hoi = F.normalize(features, dim=-1) @ self.hoi_table.t() + self.hoi_bias
        object_512 = F.normalize(self.obj_class_fc(objects), dim=-1)
        obj = object_512 @ self.obj_table.t() + self.obj_bias
        return Outputs(
            hoi_logits=self.logit_scale.exp() * hoi,
            object_logits=self.obj_logit_scale.exp() * obj,
            human_boxes_cxcywh=self.hum_bbox_embed(humans).sigmoid(),
            object_boxes_cxcywh=self.obj_bbox_embed(objects).sigmoid(),
            interaction_features=features,
        )
