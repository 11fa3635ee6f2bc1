"""CLIP's text embeddings of HOI classes, and cosines relative to the classes of one object.

Shapes: C HOI classes, O objects (one row more, for 'no object', where a class has none), K the most
HOI classes of one object, E width of CLIP's shared space, N features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class TextTables:
    """L2-normalised text embeddings, and whose they are.

    Attributes:
        hoi: (C, E).
        null: (O, E), a person and the object that do nothing together.
        has_null: (O,) bool; false where an HOI class of the object says the same already.
        object_of_hoi: (C,) int64, row of each class's object.
    """

    hoi: Tensor
    null: Tensor
    has_null: Tensor
    object_of_hoi: Tensor


def classes_of_objects(object_of_hoi: Tensor, num_objects: int) -> tuple[Tensor, Tensor]:
    """HOI classes of each object, ascending.

    Args:
        object_of_hoi: (C,) int64.
        num_objects: O.

    Returns:
        (O, K) int64, filled up with 0, and (O, K) bool, which of them are classes of the object.
    """
    rows = [(object_of_hoi == row).nonzero().flatten() for row in range(num_objects)]
    width = max((len(row) for row in rows), default=0)
    index = torch.zeros(num_objects, width, dtype=torch.long)
    mask = torch.zeros(num_objects, width, dtype=torch.bool)
    for place, classes in enumerate(rows):
        index[place, : len(classes)] = classes
        mask[place, : len(classes)] = True
    return index, mask


class ClassTexts(nn.Module):
    """Cosines with the text of each HOI class, less their mean over what the object may mean.

    Raw cosines of CLIP share an offset that differs from image to image and from object to object,
    which a sigmoid cannot read. The mean is over the object's HOI classes and its null prompt. As
    it is linear in the texts, one centre per object stands for it.

    Args:
        tables: text embeddings.
    """

    def __init__(self, tables: TextTables) -> None:
        super().__init__()
        index, mask = classes_of_objects(tables.object_of_hoi, len(tables.null))
        members = torch.cat([tables.hoi[index], tables.null[:, None]], 1)
        counted = torch.cat([mask, tables.has_null[:, None]], 1).to(members.dtype)
        centres = torch.einsum("okd,ok->od", members, counted)
        self.register_buffer("embeddings", tables.hoi)
        self.register_buffer("centres", centres / counted.sum(1, keepdim=True).clamp(min=1))
        # These follow from the vocabulary.
        self.register_buffer("object_of_hoi", tables.object_of_hoi, persistent=False)
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """(N, E) → (N, C) relative cosines, each class among those of its own object."""
        features = F.normalize(features, dim=-1)
        means = features @ self.centres.T
        return features @ self.embeddings.T - means[:, self.object_of_hoi]

    def of_objects(self, values: Tensor, objects: Tensor) -> Tensor:
        """Of (N, C) the classes of each row's object, (N, K); 0 beyond them.

        Args:
            values: (N, C).
            objects: (N,) int64.
        """
        return values.gather(1, self.index[objects]).masked_fill(~self.mask[objects], 0)
