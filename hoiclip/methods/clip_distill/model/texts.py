"""CLIP's text embeddings of HOI classes, and cosines relative to the classes of one object.

Shapes: C HOI classes, O objects (one row more, for 'no object', where a class has none), K the most
HOI classes of one object, E width of CLIP's shared space, N features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hoiclip.methods.clip_distill.caches.classes import ObjectClasses


@dataclass(frozen=True)
class TextTables:
    """L2-normalised text embeddings, and which belong together.

    Attributes:
        hoi: (C, E).
        null: (O, E), a person and the object that do nothing together.
        classes: the HOI classes of each object, and whether the null prompt competes with them.
    """

    hoi: Tensor
    null: Tensor
    classes: ObjectClasses


class ClassTexts(nn.Module):
    """Cosines with the text of each HOI class, less their mean over what the object may mean.

    Raw cosines of CLIP share an offset that differs from image to image and from object to object,
    which a sigmoid cannot read. The mean is over the object's HOI classes and its null prompt. As
    it is linear in the texts, one centre per object stands for it.

    Args:
        tables: text embeddings.
    """

    embeddings: Tensor
    centres: Tensor
    object_of_hoi: Tensor
    index: Tensor
    mask: Tensor

    def __init__(self, tables: TextTables) -> None:
        super().__init__()
        index, mask = tables.classes.indices, tables.classes.mask
        object_of_hoi = np.zeros(len(tables.hoi), np.int64)
        object_of_hoi[index[mask]] = np.nonzero(mask)[0]
        members = torch.cat([tables.hoi[index], tables.null[:, None]], 1)
        competing = np.concatenate([mask, tables.classes.has_null[:, None]], 1)
        counted = torch.from_numpy(competing).to(members.dtype)
        centres = torch.einsum("okd,ok->od", members, counted)
        self.register_buffer("embeddings", tables.hoi)
        self.register_buffer("centres", centres / counted.sum(1, keepdim=True).clamp(min=1))
        # These follow from the vocabulary.
        for name, values in (("object_of_hoi", object_of_hoi), ("index", index), ("mask", mask)):
            self.register_buffer(name, torch.from_numpy(values), persistent=False)

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
