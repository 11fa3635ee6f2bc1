"""HOICLIP as training, inference and the model file see it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from hoiclip.batches.batch import Batch, ClipView
from hoiclip.clip.config import check_clip_config
from hoiclip.clip.encoder import ClipFeatures, ClipVisual
from hoiclip.contract.method import FrozenFeatures
from hoiclip.contract.restore import check_classes, restore_module
from hoiclip.core.config import from_mapping, load
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.methods.hoiclip.model.config import HoiclipConfig, ModelConfig, Scoring
from hoiclip.methods.hoiclip.model.network import HOICLIP, ClassifierWeights
from hoiclip.set_prediction.model import postprocess
from hoiclip.set_prediction.model.method import SetPrediction
from hoiclip.set_prediction.model.outputs import Outputs
from hoiclip.set_prediction.model.parameter_groups import DetectorRates, parameter_groups


class HoiclipMethod(SetPrediction[Scoring]):
    """Knowledge integration of CLIP's tokens, verb classifier, training-free enhancement.

    Args:
        network: sizes as `config` says.
        clip: the frozen image tower.
        vocabulary: what the classes mean.
        config: of the network.
        scoring: the training-free enhancement.
    """

    name = "hoiclip"
    title = "HOICLIP"
    section = HoiclipConfig
    shown_score = 1.0
    network: HOICLIP
    config: ModelConfig

    def __init__(
        self,
        network: HOICLIP,
        clip: ClipVisual,
        vocabulary: Vocabulary,
        config: ModelConfig,
        scoring: Scoring | None = None,
    ) -> None:
        self.network, self.clip = network, clip
        self.frozen = {"clip": clip}
        self.vocabulary, self.config = vocabulary, config
        self.scoring = scoring or Scoring()

    @classmethod
    def restore(
        cls,
        header: Mapping[str, Any],
        vocabulary: Vocabulary,
        state: Mapping[str, Mapping[str, Tensor]],
    ) -> Self:
        """See `Method.restore`."""
        config = from_mapping(ModelConfig, header["config"], "config")
        scoring = from_mapping(Scoring, header["scoring"], "scoring")
        check_clip_config(header["clip"])
        clip = restore_module(lambda: ClipVisual(header["clip"]), state["clip"])
        tables = tables_of_state(state["model"])
        check_classes(vocabulary, tables.hoi_embeddings, tables.object_embeddings)
        network = restore_module(
            lambda: HOICLIP(config, tables, clip.visual_projection), state["model"]
        )
        return cls(network, clip, vocabulary, config, scoring)

    def header(self) -> dict[str, Any]:
        """See `Method.header`."""
        return {
            "config": dataclasses.asdict(self.config),
            "scoring": dataclasses.asdict(self.scoring),
            "clip": self.clip.config,
        }

    @property
    def clip_view(self) -> ClipView:
        """CLIP's own transform."""
        return self.clip.preprocess

    def frozen_features(self, clip_pixels: Tensor) -> ClipFeatures:
        """CLIP's tokens and global feature."""
        return self.clip.encode_image_tokens(clip_pixels)

    def outputs(self, batch: Batch, features: FrozenFeatures | None) -> Outputs:
        """See `SetPrediction.outputs`.

        Raises:
            ValueError: there are no features.
        """
        if features is None:
            raise ValueError("HOICLIP takes CLIP's view of each image")
        tokens, global_feature = features
        return self.network(*batch.inputs(self.device), tokens, global_feature)

    def enhancement(self, outputs: Outputs, scoring: Scoring) -> np.ndarray:
        """CLIP's view of the whole image.

        See `hoiclip.set_prediction.model.postprocess.enhancement`.

        Raises:
            ValueError: the outputs say nothing of CLIP's view.
        """
        if outputs.clip_similarity is None:
            raise ValueError("outputs of a network that takes no CLIP")
        similarity = outputs.clip_similarity.cpu().numpy()
        return postprocess.enhancement(similarity, scoring.k, scoring.weight, scoring.kind)

    def parameter_groups(self, rates: DetectorRates) -> list[dict[str, Any]]:
        """See `Method.parameter_groups`."""
        backbone = self.network.encoder.backbone
        return parameter_groups(self.network, backbone, rates)

    @classmethod
    def scorings(cls, params: Path) -> list[Scoring]:
        """See `Method.scorings`."""
        return load(HoiclipConfig, "hoiclip", params).enhancement.scorings()


def tables_of_state(state: Mapping[str, Tensor]) -> ClassifierWeights:
    """The classifiers' tables that a network's state dict carries."""
    return ClassifierWeights(
        hoi_embeddings=state["hoi_classifier.table"],
        object_embeddings=state["object_classifier.classifier.table"],
        verb_to_hoi=state.get("verb_classifier.verb_to_hoi", torch.empty(0)),
        verb_vectors=state.get("verb_classifier.vectors"),
        hoi_bias=state.get("hoi_classifier.bias"),
        object_bias=state.get("object_classifier.classifier.bias"),
    )
