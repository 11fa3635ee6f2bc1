"""CLIP distillation as training, inference and the model file see it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from hoiclip.batches.batch import Batch, ClipView
from hoiclip.clip.config import check_clip_config
from hoiclip.clip.encoder import ClipFeatures, ClipVisual
from hoiclip.contract.learning import BatchCounts
from hoiclip.contract.method import FrozenFeatures, Method, RankSettings, Rates
from hoiclip.contract.restore import restore_module
from hoiclip.contract.scored_pairs import ScoredPairs
from hoiclip.core.config import check, from_mapping, load
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.detr.file import PretrainedDetr
from hoiclip.detr.network import Detr
from hoiclip.methods.clip_distill.caches.classes import classes_of_object
from hoiclip.methods.clip_distill.caches.pairs import make_pairs
from hoiclip.methods.clip_distill.detect import ObjectDetector, detect
from hoiclip.methods.clip_distill.model.batch import join_pairs
from hoiclip.methods.clip_distill.model.config import (
    ClipDistillConfig,
    DistillationLossConfig,
    DistilledConfig,
    DistillScoring,
)
from hoiclip.methods.clip_distill.model.data import DistillBatch
from hoiclip.methods.clip_distill.model.losses import DistillCounts, distillation_losses
from hoiclip.methods.clip_distill.model.network import Student
from hoiclip.methods.clip_distill.model.ranking import pair_scores, ranked
from hoiclip.methods.clip_distill.model.student_inputs import student_pairs
from hoiclip.methods.clip_distill.model.texts import TextTables
from hoiclip.methods.clip_distill.view import clip_view
from hoiclip.model.config import DetectorConfig
from hoiclip.text_embeddings.table import TextEmbeddings


class ClipDistillMethod(Method[DistillBatch, Rates, DistillScoring]):
    """Learns without annotations of interactions what CLIP says of whole images and unions.

    Attributes:
        losses: weights of the loss terms, in training.

    Args:
        network: the student.
        clip: the frozen image tower.
        detr: the frozen detector.
        vocabulary: what the classes mean.
        config: of all three.
        scoring: how scores are joined.

    Raises:
        ValueError: the detector knows too little of the vocabulary.
    """

    name = "clip_distill"
    title = "CLIP distillation (after Wan & Tuytelaars)"
    uses_labels = False
    section = ClipDistillConfig
    shown_score = 0.1
    clip_source = "original"
    network: Student
    config: DistilledConfig
    losses = DistillationLossConfig()

    def __init__(
        self,
        network: Student,
        clip: ClipVisual,
        detr: Detr,
        vocabulary: Vocabulary,
        config: DistilledConfig,
        scoring: DistillScoring,
    ) -> None:
        self.network, self.clip = network, clip
        # With a gradient PyTorch multiplies matrices in another way, of other last bits.
        detr.requires_grad_(False)
        clip.requires_grad_(False)
        self.detector = ObjectDetector.of(PretrainedDetr(detr, tuple(config.objects)), vocabulary)
        self.frozen = {"clip": clip, "detector": detr}
        self.vocabulary, self.config, self.scoring = vocabulary, config, scoring
        self.classes = classes_of_object(vocabulary)

    @classmethod
    def build(
        cls,
        config: ClipDistillConfig,
        sizes: DetectorConfig,
        clip: ClipVisual,
        detr: PretrainedDetr,
        text: TextEmbeddings,
        vocabulary: Vocabulary,
    ) -> Self:
        """A student ready to train, with random weights beside what is frozen.

        Args:
            config: settings.
            sizes: of the detector.
            clip: the frozen image tower.
            detr: the frozen detector.
            text: the vocabulary's text embeddings, by the same CLIP.
            vocabulary: objects and HOI classes.

        Raises:
            ValueError: a setting does not fit CLIP's sizes, or the detector not the vocabulary.
        """
        classes = classes_of_object(vocabulary)
        tables = TextTables(torch.from_numpy(text.hoi), torch.from_numpy(text.null), classes)
        network = Student(
            tables, clip.visual_projection, sizes.width, config.model, config.teacher.temperature
        )
        held = DistilledConfig(
            detections=config.detections,
            teacher=config.teacher,
            student=config.model,
            detector=sizes,
            decoder_layers=len(detr.model.decoder.layers),
            objects=list(detr.objects),
        )
        method = cls(network, clip, detr.model, vocabulary, held, DistillScoring())
        method.losses = config.train.loss
        return method

    @classmethod
    def restore(
        cls,
        header: Mapping[str, Any],
        vocabulary: Vocabulary,
        state: Mapping[str, Mapping[str, Tensor]],
    ) -> Self:
        """See `Method.restore`."""
        config = from_mapping(DistilledConfig, header["config"], "config")
        scoring = from_mapping(DistillScoring, header["scoring"], "scoring")
        check_clip_config(header["clip"])
        clip = restore_module(lambda: ClipVisual(header["clip"]), state["clip"])
        queries = len(state["detector"]["queries.weight"])
        objects = len(config.objects)
        detr = restore_module(
            lambda: Detr(config.detector, config.decoder_layers, objects, queries),
            state["detector"],
        )
        texts = state["model"]["texts.embeddings"]
        classes = classes_of_object(vocabulary)
        found, wanted = len(texts), vocabulary.num_hois
        check(found == wanted, f"vocabulary: {wanted} HOI classes, the tensors have {found}")
        # What the null prompts add is in the student's own tensors.
        tables = TextTables(texts, torch.zeros(len(classes.mask), texts.shape[1]), classes)
        width, temperature = config.detector.width, config.teacher.temperature
        network = restore_module(
            lambda: Student(tables, clip.visual_projection, width, config.student, temperature),
            state["model"],
        )
        return cls(network, clip, detr, vocabulary, config, scoring)

    def header(self) -> dict[str, Any]:
        """See `Method.header`."""
        return {
            "config": dataclasses.asdict(self.config),
            "scoring": dataclasses.asdict(self.scoring),
            "clip": self.clip.config,
        }

    @property
    def clip_view(self) -> ClipView:
        """The whole image, padded to a square: the student's boxes are in that view."""
        return clip_view(self.clip, "pad")

    def frozen_features(self, clip_pixels: Tensor) -> ClipFeatures:
        """CLIP's tokens and global feature."""
        return self.clip.encode_image_tokens(clip_pixels)

    def loss_counts(self, batch: DistillBatch) -> Tensor:
        """See `Method.loss_counts`; `hoiclip.methods.clip_distill.model.losses.DistillCounts`."""
        counts = DistillCounts.of(batch.targets, batch.pairs, self.classes)
        return torch.tensor(counts, dtype=torch.float64)

    def training_step(
        self,
        batch: DistillBatch,
        features: FrozenFeatures | None,
        counts: BatchCounts | None = None,
    ) -> dict[str, Tensor]:
        """See `Method.training_step`; the losses are worked out in float32 always.

        Raises:
            ValueError: there are no features.
        """
        if features is None:
            raise ValueError("the student takes CLIP's view of each image")
        pairs, targets = batch.pairs.to(self.device), batch.targets.to(self.device)
        outputs = self.network(*features, pairs)
        by = None if counts is None else DistillCounts(*counts.whole.tolist())
        relate = batch.epoch > 0
        with torch.autocast(self.device.type, enabled=False):
            return distillation_losses(
                outputs, targets, pairs, self.losses, relate=relate, counts=by
            )

    def parameter_groups(self, rates: Rates) -> list[dict[str, Any]]:
        """See `Method.parameter_groups`; everything in the network is trained."""
        return [{"params": list(self.network.parameters()), "lr": rates.lr}]

    @classmethod
    def scorings(cls, params: Path) -> list[DistillScoring]:
        """The one that the settings name: choosing another would take labels."""
        return [load(ClipDistillConfig, "clip_distill", params).predict]

    @torch.inference_mode()
    def score_pairs(
        self, batch: Batch, settings: RankSettings, scorings: Sequence[DistillScoring]
    ) -> list[ScoredPairs]:
        """See `Method.score_pairs`; every pair of an image's detections is one of its pairs.

        Raises:
            ValueError: there are no views for CLIP.
        """
        if batch.clip_pixels is None:
            raise ValueError("the student takes CLIP's view of each image")
        features = self.frozen_features(batch.clip_pixels.to(self.device))
        detections = detect(self.detector, batch, self.config.detections)
        pairs = [make_pairs(found, self.vocabulary) for found in detections]
        joined = join_pairs(
            [
                student_pairs(*of_image, self.clip.image_size)
                for of_image in zip(pairs, detections, batch.sizes, strict=True)
            ]
        )
        outputs = self.network(*features, joined.to(self.device))
        found = pair_scores(outputs, pairs, joined.image.numpy())
        return [ranked(found, pairs, scoring, settings) for scoring in scorings]
