"""The contract of a method: all that training, inference and the model file know of it.

A method is a network, what it learns from, and how its outputs become scored pairs: `Method`, which
a model file makes (`Method.restore`) and, for training, a `Build` of params, caches and weights.
One folder in `hoiclip.methods` holds each; `docs/extending.md` shows how to add one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from hoiclip.batches.batch import Batch, ClipSource, ClipView
from hoiclip.contract.learning import BatchCounts, TrainingBatch, TrainingFiles
from hoiclip.contract.scored_pairs import ScoredPairs
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.pairs.pair_nms import PairNms
from hoiclip.util.ranges import Config

FrozenFeatures = tuple[Tensor, ...]
"""Features of B images by frozen towers, each (B, ...)."""


class NotFiniteError(ValueError):
    """A network gives NaN or an infinity for an image.

    Attributes:
        image: its position in the batch.
    """

    def __init__(self, image: int) -> None:
        super().__init__(f"image {image} of the batch: scores or boxes are not finite")
        self.image = image


class Rates(Protocol):
    """What training knows of learning rates; a method may know further ones."""

    @property
    def lr(self) -> float:
        """Rate of what has no rate of its own."""


BatchT = TypeVar("BatchT", bound=TrainingBatch, contravariant=True)
"""Batches that a method learns from."""
RatesT = TypeVar("RatesT", bound=Rates, contravariant=True)
"""Settings of training that a method takes its learning rates from."""
ScoringT = TypeVar("ScoringT", bound=Config)
"""How a method joins the parts of a score."""


@dataclass(frozen=True)
class RankSettings:
    """How many pairs of an image are kept, and which suppress each other.

    Attributes:
        top_k: (pair, HOI class) rows of an image before suppression.
        nms: pair NMS within each image and HOI class; None for none.
        threads: CPU threads; the result does not depend on them.
    """

    top_k: int
    nms: PairNms | None
    threads: int


class Method(ABC, Generic[BatchT, RatesT, ScoringT]):
    """One way to detect human-object interactions.

    Attributes:
        name: as `method` in params.yaml and model files say it.
        title: as a person reads it.
        uses_labels: whether training reads annotated pairs, and weights are chosen on them. Where
            not, training refuses files of such pairs.
        section: dataclass of the method's section in params.yaml, which bears its name.
        shown_score: rows of a lower score are not shown to a person who states no limit.
        clip_source: of which image `clip_view` makes CLIP's input in inference. `original` where
            training shows CLIP the images as they are stored, `resized` where it shows it what
            it shows the detector.
        network: all that is trained; its state is what training keeps.
        frozen: what inference needs beside the network, by its name in the model file.
        vocabulary: what the classes mean.
        config: of the network; the model file's header carries it.
        scoring: how the parts of a score are joined, which no weight depends on.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    uses_labels: ClassVar[bool]
    section: ClassVar[type[Any]]
    shown_score: ClassVar[float]
    clip_source: ClassVar[ClipSource]
    network: nn.Module
    frozen: Mapping[str, nn.Module]
    vocabulary: Vocabulary
    config: Config
    scoring: ScoringT

    @classmethod
    @abstractmethod
    def restore(
        cls,
        header: Mapping[str, Any],
        vocabulary: Vocabulary,
        state: Mapping[str, Mapping[str, Tensor]],
    ) -> Self:
        """A method for inference, as a model file holds it.

        Args:
            header: what `header` gave.
            vocabulary: of the file.
            state: tensors of the network, under `model`, and of each part of `frozen`.

        Raises:
            ValueError, and other errors of damaged content: header and tensors do not fit.
        """

    @abstractmethod
    def header(self) -> dict[str, Any]:
        """What of a model file's header belongs to the method: JSON, of which `restore`, with the
        tensors, makes it again. Holds at least `config` and `scoring`."""

    @property
    @abstractmethod
    def clip_view(self) -> ClipView | None:
        """Makes an image CLIP's input in inference; None where inference takes no CLIP."""

    @property
    def training_view(self) -> ClipView | None:
        """Makes an augmented image CLIP's input in training; None where training takes no CLIP."""
        return self.clip_view

    @abstractmethod
    def frozen_features(self, clip_pixels: Tensor) -> FrozenFeatures:
        """What frozen towers say of views: nothing that training changes, so it may be kept.

        Args:
            clip_pixels: (B, 3, R, R), views as training shows them to CLIP.
        """

    @abstractmethod
    def loss_counts(self, batch: BatchT) -> Tensor:
        """(N,) float64 on the CPU: what of a batch its loss terms are divided by, known before the
        network has seen it. Counts of parts add up to those of the whole."""

    @abstractmethod
    def training_step(
        self, batch: BatchT, features: FrozenFeatures | None, counts: BatchCounts | None = None
    ) -> dict[str, Tensor]:
        """Weighted loss terms by name, scalars; their sum is to become small.

        Args:
            batch: of the method's own training data.
            features: of `frozen_features`; None where the batch has no view for CLIP.
            counts: of the batch that this is a part of; None where it is all of it.
        """

    @abstractmethod
    def parameter_groups(self, rates: RatesT) -> list[dict[str, Any]]:
        """Parameters by learning rate, for an optimiser; the others are frozen and get no gradient.

        Args:
            rates: the method's own settings of training.
        """

    @classmethod
    @abstractmethod
    def scorings(cls, params: Path) -> Sequence[ScoringT]:
        """What `scoring` may be by the params file, to choose from on validation; epochs are
        compared by the first.

        Raises:
            ParamsError: the method's section is wrong.
        """

    @abstractmethod
    def score_pairs(
        self, batch: Batch, settings: RankSettings, scorings: Sequence[ScoringT]
    ) -> list[ScoredPairs]:
        """The best pairs of the images of a batch, once for each scoring.

        Raises:
            NotFiniteError: what the network gives for an image is not finite.
        """

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def to(self, device: torch.device) -> Self:
        """Moves network and frozen parts."""
        for part in (self.network, *self.frozen.values()):
            part.to(device)
        return self

    def eval(self) -> Self:
        """Network and frozen parts as inference takes them."""
        for part in (self.network, *self.frozen.values()):
            part.eval()
        return self


AnyMethod = Method[Any, Any, Any]
"""A method, whatever it learns from."""
MethodT = TypeVar("MethodT", bound=AnyMethod, covariant=True)
FilesT = TypeVar("FilesT", bound=TrainingFiles, contravariant=True)


class Build(Protocol[MethodT, FilesT]):
    """Makes a method that is to be trained, as `hoiclip.methods.gen_vlkt.build`.

    No part of `Method`: inference then imports nothing of it, and a change there makes no
    prediction stale.
    """

    def __call__(self, params: Path, paths: FilesT, vocabulary: Vocabulary) -> MethodT:
        """A method ready to train, on the CPU.

        Args:
            params: the params file.
            paths: caches and pretrained weights.
            vocabulary: the data set's.

        Raises:
            ParamsError: a section of the params file is wrong.
            WeightsError: weights are absent or do not fit.
            InputError: a cache is absent or belongs to another vocabulary.
        """
