"""GEN-VLKT (Liao et al., CVPR 2022): the network, in the order of the paper's figure 2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from hoiclip.contract.precision import in_float32
from hoiclip.core.config import check
from hoiclip.methods.gen_vlkt.model.config import GenVlktModelConfig
from hoiclip.model.detector_encoder import DetectorEncoder
from hoiclip.model.transformer import Decoder
from hoiclip.set_prediction.model.classifiers import (
    INITIAL_LOGIT_SCALE,
    ObjectClassifier,
    TextClassifier,
)
from hoiclip.set_prediction.model.instance_decoder import InstanceDecoder
from hoiclip.set_prediction.model.outputs import Outputs


@dataclass(frozen=True)
class ClassEmbeddings:
    """What the classifiers start from.

    Attributes:
        hoi_embeddings: (C, E) text embeddings of the HOI classes.
        object_embeddings: (O + 1, E) of the object classes and, last, of 'nothing'.
    """

    hoi_embeddings: Tensor
    object_embeddings: Tensor

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor]) -> Self:
        """The tables that the network's state dict carries.

        Raises:
            ValueError: one is missing; names it.
        """
        names = ("hoi_classifier.table", "object_classifier.classifier.table")
        for name in names:
            check(name in state, f"{name} is missing")
        return cls(*(state[name] for name in names))


class GenVlkt(nn.Module):
    """Guided embedding network: instances in one branch, their interactions in another.

    CLIP is only a teacher: it gives the tables' start and the target of the mimic loss.

    Args:
        config: sizes and switches.
        tables: text embeddings; their rows are L2-normalised here.
    """

    def __init__(self, config: GenVlktModelConfig, tables: ClassEmbeddings) -> None:
        super().__init__()
        detector, layers, switches = config.detector, config.decoder_layers, config.gen_vlkt
        width, embed_width = detector.width, tables.hoi_embeddings.shape[1]
        trained = switches.classifiers == "trained"
        hoi_bias, object_bias = (
            torch.zeros(len(table)) if switches.classifier_bias else None
            for table in (tables.hoi_embeddings, tables.object_embeddings)
        )
        self.encoder = DetectorEncoder(detector)
        self.instance_decoder = InstanceDecoder(
            detector, config.num_queries, layers, position_guided=switches.position_guided
        )
        self.object_classifier = ObjectClassifier(
            width, tables.object_embeddings, INITIAL_LOGIT_SCALE, object_bias, trained=trained
        )
        self.guidance = switches.guidance
        if self.guidance == "none":
            self.interaction_queries = nn.Embedding(config.num_queries, width)
        self.interaction_decoder = Decoder(
            layers, width, detector.heads, detector.feed_forward, detector.dropout
        )
        self.hoi_projection = nn.Sequential(
            nn.Linear(width, embed_width), nn.LayerNorm(embed_width)
        )
        self.hoi_classifier = TextClassifier(tables.hoi_embeddings, hoi_bias, trained=trained)
        self.logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))

    def forward(self, images: Tensor, padding_mask: Tensor | None) -> Outputs:
        """Detects interactions.

        Args:
            images: (B, 3, H, W), normalised, zero-padded right and bottom.
            padding_mask: (B, H, W) bool, true where padded; None where nothing is.

        Returns:
            Of every decoder layer; `interaction_features` are CLIP's students, before L2
            normalisation.
        """
        memory = self.encoder(images, padding_mask)
        humans, objects = self.instance_decoder(memory)
        human_boxes, object_boxes = self.instance_decoder.boxes(humans, objects)
        interactions = self.interaction_decoder(self.guide(humans, objects), memory)
        features = self.project(interactions)
        return Outputs(
            hoi_logits=self.logit_scale.exp() * self.hoi_classifier(features),
            object_logits=self.object_classifier(objects),
            human_boxes_cxcywh=human_boxes,
            object_boxes_cxcywh=object_boxes,
            interaction_features=features,
        )

    @in_float32
    def project(self, interactions: Tensor) -> Tensor:
        """Features (..., E) in CLIP's shared space of the decoder's (..., D)."""
        projected: Tensor = self.hoi_projection(interactions)
        return projected

    def guide(self, humans: Tensor, objects: Tensor) -> Tensor:
        """Instance-guided embedding: what the interaction decoder's queries know of their pairs.

        Args:
            humans: (L, B, Q, D), normalised outputs of the instance decoder's layers. The losses of
                interactions train them too.
            objects: likewise.

        Returns:
            (L, B, Q, D), or (B, Q, D) or (Q, D) for all layers alike.
        """
        if self.guidance == "none":
            return self.interaction_queries.weight
        pairs = (humans + objects) / 2
        return pairs if self.guidance == "per_layer" else pairs[-1]

    def classifier_parameters(self) -> list[nn.Parameter]:
        """Tables and biases of both classifiers that are trained; none where they are frozen."""
        return [
            parameter
            for classifier in (self.hoi_classifier, self.object_classifier.classifier)
            for parameter in classifier.parameters()
        ]
