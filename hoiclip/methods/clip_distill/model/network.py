"""The student: three branches that score HOI classes against CLIP's texts.

Which branches there are is published (Wan & Tuytelaars, WACV 2024, abstract); what is inside them
is ours. Shapes as in `hoiclip.methods.clip_distill.model.batch`, and G patches, W width of CLIP's
tokens, E of its shared space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from hoiclip.contract.precision import in_float32
from hoiclip.core.config import check
from hoiclip.methods.clip_distill.model.batch import PairBatch
from hoiclip.methods.clip_distill.model.config import StudentConfig
from hoiclip.methods.clip_distill.model.texts import ClassTexts, TextTables
from hoiclip.model.layers import xavier_uniform_matrices

GEOMETRY = 36
_GEOMETRY_WIDTHS = (128, 256)
_ROI_SIDE = 7
_INSTANCE_TEMPERATURE = 1 / 0.07


@dataclass(frozen=True)
class StudentOutputs:
    """What the student says of a batch; None where the branch is left out.

    Attributes:
        classes: (P, K) int64, HOI classes of each pair's object, ascending, filled up with 0.
        mask: (P, K) bool, which of them are classes of the object.
        global_logits: (B, C), each class among those of its own object.
        union_logits: (P, K) of `classes`; 0 outside `mask`.
        instance_logits: (P, K) likewise.
        relatedness_logits: (P,), whether human and object belong together at all.
    """

    classes: Tensor
    mask: Tensor
    global_logits: Tensor | None
    union_logits: Tensor | None
    instance_logits: Tensor | None
    relatedness_logits: Tensor | None

    @property
    def log_agreement(self) -> Tensor:
        """(P, K) logarithm of the geometric mean of the union and the instance branch's
        probabilities; 0 without these branches."""
        logits = [x for x in (self.union_logits, self.instance_logits) if x is not None]
        if not logits:
            return torch.zeros(self.mask.shape, device=self.mask.device)
        return torch.stack([F.logsigmoid(x) for x in logits]).mean(0)

    @property
    def log_probability(self) -> Tensor:
        """(P, K) logarithm of the agreement times the probability that the pair is related."""
        if self.relatedness_logits is None:
            return self.log_agreement
        return self.log_agreement + F.logsigmoid(self.relatedness_logits)[:, None]

    @property
    def probability(self) -> Tensor:
        """(P, K) of each HOI class; 0 outside `mask`."""
        return self.log_probability.exp().masked_fill(~self.mask, 0)


class Adapter(nn.Module):
    """A residual bottleneck that leaves features as they are until it is trained."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width // 2)
        self.outer = nn.Linear(width // 2, width)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) → (..., width)."""
        return x + self.outer(F.relu(self.inner(x)))


class RelativeScore(nn.Module):
    """Logits of all HOI classes from relative cosines, with a scale and a bias of its own.

    Args:
        temperature: factor on the cosines to begin with.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(temperature)))
        self.bias = nn.Parameter(torch.zeros(()))

    @in_float32
    def forward(self, features: Tensor, texts: ClassTexts) -> Tensor:
        """(N, E) → (N, C)."""
        return self.log_scale.exp() * texts(features) + self.bias


class AdaptedBranch(nn.Module):
    """Global and union branch: a feature of CLIP, adapted.

    Args:
        width: E.
        temperature: see `RelativeScore`.
    """

    def __init__(self, width: int, temperature: float) -> None:
        super().__init__()
        self.adapter = Adapter(width)
        self.score = RelativeScore(temperature)

    def forward(self, features: Tensor, texts: ClassTexts) -> Tensor:
        """(N, E) → (N, C) logits."""
        return self.score(self.adapter(features), texts)


class InstanceBranch(nn.Module):
    """Instance branch: both instances and their geometry, augmented from a bank of CLIP's texts.

    Args:
        width: E.
        detector_width: D.
        bank_heads: of the attention to the knowledge bank.
        dropout: probability.
    """

    def __init__(self, width: int, detector_width: int, bank_heads: int, dropout: float) -> None:
        super().__init__()
        inner, outer = _GEOMETRY_WIDTHS
        self.geometry = nn.Sequential(
            nn.Linear(GEOMETRY, inner), nn.ReLU(), nn.Linear(inner, outer), nn.ReLU()
        )
        self.joint = nn.Linear(2 * width + 2 * detector_width + outer, width)
        self.joint_norm = nn.LayerNorm(width)
        self.bank = nn.MultiheadAttention(width, bank_heads, dropout=dropout, batch_first=True)
        xavier_uniform_matrices(self.bank)
        self.bank_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.score = RelativeScore(_INSTANCE_TEMPERATURE)

    def forward(self, pairs: PairBatch, humans: Tensor, objects: Tensor, bank: Tensor) -> Tensor:
        """Features (P, E) of pairs.

        Args:
            pairs: detector's features and geometry.
            humans: (P, E) CLIP's feature of each human's box.
            objects: (P, E) of each object's box.
            bank: (C, E) text embeddings.
        """
        geometry = self.geometry(pairs.geometry)
        joint = (humans, objects, pairs.human_features, pairs.object_features, geometry)
        y = self.joint_norm(self.joint(torch.cat(joint, -1)))
        knowledge, _ = self.bank(y[None], bank[None], bank[None], need_weights=False)
        y = self.bank_norm(y + self.dropout(knowledge[0]))
        return self.feed_forward_norm(y + self.dropout(self.feed_forward(y)))


class Student(nn.Module):
    """Scores the HOI classes of detected pairs from what frozen networks see.

    Args:
        tables: CLIP's text embeddings; frozen.
        visual_projection: (W, E) of CLIP; frozen.
        detector_width: D.
        config: branches, heads, relatedness and dropout.
        temperature: factor on CLIP's cosines in global and union branch to begin with.

    Raises:
        ValueError: the heads do not divide E.
    """

    visual_projection: Tensor

    def __init__(
        self,
        tables: TextTables,
        visual_projection: Tensor,
        detector_width: int,
        config: StudentConfig,
        temperature: float,
    ) -> None:
        super().__init__()
        width = visual_projection.shape[1]
        self.register_buffer("visual_projection", visual_projection.detach())
        self.texts = ClassTexts(tables)
        check(
            width % config.bank_heads == 0,
            f"bank_heads: {config.bank_heads} do not divide the width {width} of CLIP's texts",
        )
        self.global_: AdaptedBranch | None = None
        self.union: AdaptedBranch | None = None
        self.instance: InstanceBranch | None = None
        self.relatedness: nn.Linear | None = None
        if "global" in config.branches:
            self.global_ = AdaptedBranch(width, temperature)
        if "union" in config.branches:
            self.union = AdaptedBranch(width, temperature)
        if "instance" in config.branches:
            self.instance = InstanceBranch(width, detector_width, config.bank_heads, config.dropout)
        if config.relatedness == "self":
            self.relatedness = nn.Linear(width, 1)

    def forward(self, tokens: Tensor, global_feature: Tensor, pairs: PairBatch) -> StudentOutputs:
        """Logits of a batch; also where no image has a pair.

        Args:
            tokens: (B, 1 + G, W) of CLIP: CLS first, then a square grid of patches by row; after
                the final LayerNorm, before the visual projection.
            global_feature: (B, E) of CLIP.
            pairs: of these images.
        """
        patches = patch_grid(tokens) @ self.visual_projection
        global_logits = union_logits = instance_logits = relatedness_logits = None
        if self.global_ is not None:
            global_logits = self.global_(global_feature, self.texts)
        if self.union is not None:
            unions = region_features(patches, pairs.image, pairs.union_boxes_xyxy)
            union_logits = self.texts.of_objects(self.union(unions, self.texts), pairs.objects)
        if self.instance is not None:
            humans = region_features(patches, pairs.image, pairs.human_boxes_xyxy)
            objects = region_features(patches, pairs.image, pairs.object_boxes_xyxy)
            features = self.instance(pairs, humans, objects, self.texts.embeddings)
            scores = self.instance.score(features, self.texts)
            instance_logits = self.texts.of_objects(scores, pairs.objects)
            if self.relatedness is not None:
                relatedness_logits = self.relatedness(features).squeeze(-1).float()
        return StudentOutputs(
            self.texts.index[pairs.objects],
            self.texts.mask[pairs.objects],
            global_logits,
            union_logits,
            instance_logits,
            relatedness_logits,
        )


def patch_grid(tokens: Tensor) -> Tensor:
    """(B, 1 + G, W) tokens → (B, √G, √G, W) patches.

    Raises:
        ValueError: G is not a square number.
    """
    side = math.isqrt(tokens.shape[1] - 1)
    if side * side != tokens.shape[1] - 1:
        raise ValueError(f"{tokens.shape[1] - 1} patches are no square grid")
    return tokens[:, 1:].unflatten(1, (side, side))


def region_features(patches: Tensor, image: Tensor, boxes_xyxy: Tensor) -> Tensor:
    """Mean feature of each box, by RoI-align.

    Args:
        patches: (B, side, side, E).
        image: (P,) int64, position in the batch.
        boxes_xyxy: (P, 4) in [0, 1] of the grid.

    Returns:
        (P, E).
    """
    side = patches.shape[1]
    regions = torch.cat([image[:, None].to(boxes_xyxy.dtype), boxes_xyxy * side], 1)
    grid = patches.permute(0, 3, 1, 2).contiguous().float()
    return roi_align(grid, regions, _ROI_SIDE, aligned=True).mean((-2, -1))
