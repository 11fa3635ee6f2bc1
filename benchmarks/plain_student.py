"""The label-free student once more, image by image, in PyTorch's plain layers.

It computes what `hoiclip.methods.clip_distill.model.network.Student` computes without relatedness,
from the same weights under the same names, but takes one image after another: regions, texts
relative to those of the pair's object, and an attention that also returns its weights.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from hoiclip.methods.clip_distill.model.batch import PairBatch
from hoiclip.methods.clip_distill.model.network import (
    AdaptedBranch,
    InstanceBranch,
    RelativeScore,
    Student,
    StudentOutputs,
)


class PlainStudent(nn.Module):
    """The student.

    Args:
        student: whose weights are copied; it has all three branches.
    """

    visual_projection: Tensor
    global_: AdaptedBranch
    union: AdaptedBranch
    instance: InstanceBranch

    def __init__(self, student: Student) -> None:
        super().__init__()
        if student.relatedness is not None:
            raise ValueError("a student with relatedness: it is not transcribed")
        self.register_buffer("visual_projection", student.visual_projection.clone())
        self.texts, self.global_, self.union, self.instance = (
            copy.deepcopy(getattr(student, name))
            for name in ("texts", "global_", "union", "instance")
        )

    def forward(self, tokens: Tensor, global_feature: Tensor, pairs: PairBatch) -> StudentOutputs:
        """As `Student`."""
        images = [
            self.image(tokens[i], global_feature[i], pairs, torch.where(pairs.image == i)[0])
            for i in range(len(tokens))
        ]
        global_logits, unions, instances = (torch.cat(each) for each in zip(*images, strict=True))
        index, mask = self.texts.index[pairs.objects], self.texts.mask[pairs.objects]
        return StudentOutputs(index, mask, global_logits, unions, instances, None)

    def image(
        self, tokens: Tensor, global_feature: Tensor, pairs: PairBatch, rows: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of one image: (1, C) global, (p, K) of unions, (p, K) of instances.

        Args:
            tokens: (1 + G, W).
            global_feature: (E,).
            pairs: of all images.
            rows: (p,) which pairs are this image's.
        """
        side = round((len(tokens) - 1) ** 0.5)
        grid = (tokens[1:] @ self.visual_projection).t().reshape(1, -1, side, side)

        def regions(boxes_xyxy: Tensor) -> Tensor:
            found = roi_align(grid.contiguous(), [boxes_xyxy[rows] * side], 7, aligned=True)
            return found.mean((2, 3))

        objects = pairs.objects[rows]
        texts = self.texts
        seen = F.normalize(self.global_.adapter(global_feature[None]), dim=-1)
        cosines = seen @ texts.embeddings.t() - (seen @ texts.centres.t())[:, texts.object_of_hoi]
        score = self.global_.score
        global_logits = score.log_scale.exp() * cosines + score.bias

        union = self.union.adapter(regions(pairs.union_boxes_xyxy))
        human, object_ = regions(pairs.human_boxes_xyxy), regions(pairs.object_boxes_xyxy)
        branch = self.instance
        geometry = branch.geometry(pairs.geometry[rows])
        features = [human, object_, pairs.human_features[rows], pairs.object_features[rows]]
        y = branch.joint_norm(branch.joint(torch.cat([*features, geometry], 1)))
        bank = texts.embeddings[None]
        y = branch.bank_norm(y + branch.dropout(branch.bank(y[None], bank, bank)[0][0]))
        y = branch.feed_forward_norm(y + branch.dropout(branch.feed_forward(y)))
        return (
            global_logits,
            self.of_object(union, objects, self.union.score),
            self.of_object(y, objects, branch.score),
        )

    def of_object(self, features: Tensor, objects: Tensor, score: RelativeScore) -> Tensor:
        """(p, K) logits of the classes of each pair's object from features (p, E); 0 beyond."""
        texts = self.texts
        features = F.normalize(features, dim=-1)
        cosines = torch.gather(features @ texts.embeddings.t(), 1, texts.index[objects])
        centre = (features * texts.centres[objects]).sum(1, keepdim=True)
        logits = score.log_scale.exp() * (cosines - centre) + score.bias
        return torch.where(texts.mask[objects], logits, torch.zeros_like(logits))
