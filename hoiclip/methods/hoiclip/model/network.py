"""HOICLIP (Ning, Qiu, Liu, He, CVPR 2023): the network, in the order of the paper's figure 2."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hoiclip.contract.precision import in_float32
from hoiclip.methods.hoiclip.model.config import ModelConfig
from hoiclip.methods.hoiclip.model.interaction_decoder import InteractionDecoder
from hoiclip.methods.hoiclip.model.verb_classifier import VerbClassifier
from hoiclip.model.detector_encoder import DetectorEncoder
from hoiclip.set_prediction.model.classifiers import (
    INITIAL_LOGIT_SCALE,
    ObjectClassifier,
    TextClassifier,
)
from hoiclip.set_prediction.model.instance_decoder import InstanceDecoder
from hoiclip.set_prediction.model.outputs import Outputs


@dataclass(frozen=True)
class ClassifierWeights:
    """What the network's classifiers are made from.

    Attributes:
        hoi_embeddings: (C, E) text embeddings of the HOI classes.
        object_embeddings: (O + 1, E) of the object classes and, last, of 'nothing'.
        verb_to_hoi: (V, C) 0/1.
        verb_vectors: (V, E), or None without a verb classifier.
        hoi_bias: (C,) fixed bias of released models, or None.
        object_bias: (O + 1,) likewise.
    """

    hoi_embeddings: Tensor
    object_embeddings: Tensor
    verb_to_hoi: Tensor
    verb_vectors: Tensor | None = None
    hoi_bias: Tensor | None = None
    object_bias: Tensor | None = None


class HOICLIP(nn.Module):
    """Detector encoder, instance decoder, interaction decoder, classifiers from CLIP.

    CLIP itself stays outside: it is frozen, so its features are an input.

    Args:
        config: sizes and switches.
        tables: text embeddings and verb vectors.
        visual_projection: (W, E) CLIP's map from token width to the shared space; fixed.
    """

    def __init__(
        self, config: ModelConfig, tables: ClassifierWeights, visual_projection: Tensor
    ) -> None:
        super().__init__()
        width, layers = config.detector.width, config.decoder_layers
        self.mask_detector_memory = config.interaction.mask_detector_memory
        self.encoder = DetectorEncoder(config.detector)
        self.instance_decoder = InstanceDecoder(config.detector, config.num_queries, layers)
        self.object_classifier = ObjectClassifier(
            width, tables.object_embeddings, INITIAL_LOGIT_SCALE, tables.object_bias
        )
        self.interaction_decoder = InteractionDecoder(
            config.interaction, width, visual_projection.shape[0], layers
        )
        self.register_buffer("visual_projection", visual_projection.clone())
        self.hoi_classifier = TextClassifier(tables.hoi_embeddings, tables.hoi_bias)
        self.logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))
        self.verb_weight = config.verb.weight
        self.verb_classifier = None
        if config.verb.representation != "none":
            if tables.verb_vectors is None:
                raise ValueError("verb.representation: there are no verb vectors")
            self.verb_classifier = VerbClassifier(
                tables.verb_vectors, tables.verb_to_hoi, config.verb.adapter_hidden
            )

    def forward(
        self, images: Tensor, padding_mask: Tensor | None, clip_tokens: Tensor, clip_global: Tensor
    ) -> Outputs:
        """Detects interactions.

        Args:
            images: (B, 3, H, W), normalised, zero-padded right and bottom.
            padding_mask: (B, H, W) bool, true where padded; None where nothing is.
            clip_tokens: V_s, (B, 1 + P, W), after CLIP's final norm.
            clip_global: (B, E), CLIP's L2-normalised image feature.
        """
        memory = self.encoder(images, padding_mask)
        humans, objects = self.instance_decoder(memory)
        human_boxes, object_boxes = self.instance_decoder.boxes(humans, objects)
        interactions = self.interaction_decoder(
            (humans[-1] + objects[-1]) / 2,
            memory.tokens,
            memory.padding_mask if self.mask_detector_memory else None,
            clip_tokens,
        )
        return Outputs(
            hoi_logits=self.classify_hois(interactions @ self.visual_projection),
            object_logits=self.object_classifier(objects),
            human_boxes_cxcywh=human_boxes,
            object_boxes_cxcywh=object_boxes,
            clip_similarity=F.linear(clip_global, self.hoi_classifier.table),
        )

    @in_float32
    def classify_hois(self, interactions: Tensor) -> Tensor:
        """HOI logits (..., C) of features O (..., E); verb logits join with weight λ_v."""
        similarity = self.hoi_classifier(interactions)
        if self.verb_classifier is not None:
            similarity = similarity + self.verb_weight * self.verb_classifier(interactions)
        return self.logit_scale.exp() * similarity
