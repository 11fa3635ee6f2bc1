"""GEN-VLKT as training, inference and the model file see it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from hoiclip.batches.batch import Batch, ClipView
from hoiclip.clip.encoder import ClipVisual
from hoiclip.contract.learning import BatchCounts
from hoiclip.contract.method import FrozenFeatures
from hoiclip.contract.restore import check_classes, restore_module
from hoiclip.core.config import from_mapping
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.methods.gen_vlkt.model.config import GenVlktConfig, GenVlktModelConfig
from hoiclip.methods.gen_vlkt.model.groups import gen_vlkt_groups
from hoiclip.methods.gen_vlkt.model.mimic import mimic_loss
from hoiclip.methods.gen_vlkt.model.network import ClassEmbeddings, GenVlkt
from hoiclip.set_prediction.model.batch import LabelledBatch
from hoiclip.set_prediction.model.method import SetPrediction
from hoiclip.set_prediction.model.outputs import Outputs
from hoiclip.set_prediction.model.parameter_groups import DetectorRates
from hoiclip.set_prediction.model.targets import TargetCounts
from hoiclip.util.ranges import Config


@dataclass(frozen=True, kw_only=True)
class Scoring(Config):
    """Nothing to choose: HOI and object score are joined in one way."""


class GenVlktMethod(SetPrediction[Scoring]):
    """Guided embeddings, trained text classifiers, the mimic loss; CLIP teaches and then leaves.

    Args:
        network: sizes as `config` says.
        vocabulary: what the classes mean.
        config: of the network.
        teacher: the frozen image tower of the mimic loss; None outside training, and without it.
        scoring: there is but one.
    """

    name = "gen_vlkt"
    title = "GEN-VLKT"
    section = GenVlktConfig
    shown_score = 1.0
    network: GenVlkt
    config: GenVlktModelConfig

    def __init__(
        self,
        network: GenVlkt,
        vocabulary: Vocabulary,
        config: GenVlktModelConfig,
        teacher: ClipVisual | None = None,
        scoring: Scoring | None = None,
    ) -> None:
        self.network, self.teacher = network, teacher
        self.frozen = {}
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
        config = from_mapping(GenVlktModelConfig, header["config"], "config")
        scoring = from_mapping(Scoring, header["scoring"], "scoring")
        tables = ClassEmbeddings.of_state(state["model"])
        check_classes(vocabulary, tables.hoi_embeddings, tables.object_embeddings)
        network = restore_module(lambda: GenVlkt(config, tables), state["model"])
        return cls(network, vocabulary, config, scoring=scoring)

    def header(self) -> dict[str, Any]:
        """See `Method.header`."""
        return {
            "config": dataclasses.asdict(self.config),
            "scoring": dataclasses.asdict(self.scoring),
        }

    @property
    def clip_view(self) -> None:
        """Inference takes no CLIP."""

    @property
    def training_view(self) -> ClipView | None:
        """CLIP's own transform; None without the mimic loss."""
        return None if self.teacher is None else self.teacher.preprocess

    def frozen_features(self, clip_pixels: Tensor) -> FrozenFeatures:
        """CLIP's projected feature of each image, (B, E), of its own length.

        Raises:
            RuntimeError: there is no teacher.
        """
        if self.teacher is None:
            raise RuntimeError("outside training, and without the mimic loss, there is no teacher")
        return (self.teacher.encode_image(clip_pixels),)

    def outputs(self, batch: Batch, features: FrozenFeatures | None) -> Outputs:
        """See `SetPrediction.outputs`; `features` are for the loss alone."""
        return self.network(*batch.inputs(self.device))

    def losses(
        self,
        outputs: Outputs,
        batch: LabelledBatch,
        features: FrozenFeatures | None,
        counts: BatchCounts | None = None,
    ) -> dict[str, Tensor]:
        """The losses of every set prediction, and, where there is a teacher, `mimic`.

        Raises:
            ValueError: there is a teacher, but no features of it.
        """
        terms = super().losses(outputs, batch, features, counts)
        if self.teacher is None:
            return terms
        if features is None:
            raise ValueError("the mimic loss has a teacher, but no features of it")
        own = outputs.interaction_features
        assert own is not None  # of every `GenVlkt`
        terms["mimic"] = mimic_loss(own, features[0], self.config.gen_vlkt)
        if counts is not None:  # The mean is over images, of which these are a part.
            images = TargetCounts(*counts.whole.tolist()).images
            terms["mimic"] = terms["mimic"] * (len(batch.indices) / images)
        return terms

    def parameter_groups(self, rates: DetectorRates) -> list[dict[str, Any]]:
        """See `Method.parameter_groups`."""
        return gen_vlkt_groups(self.network, rates, self.config.gen_vlkt)

    @classmethod
    def scorings(cls, params: Path) -> list[Scoring]:
        """See `Method.scorings`."""
        return [Scoring()]

    def to(self, device: torch.device) -> Self:
        """Moves the teacher too."""
        if self.teacher is not None:
            self.teacher.to(device)
        return super().to(device)
