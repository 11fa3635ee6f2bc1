"""The verb classifier, by cosine similarity to verb vectors.

Shapes: `...` leading dimensions, E width of CLIP's shared space.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from hoiclip.contract.precision import in_float32
from hoiclip.model.layers import MLP


class VerbClassifier(nn.Module):
    """Verb adapter and classifier by visual semantic arithmetic (HOICLIP section 3.4, equation 6).

    Args:
        vectors: (V, E) verb vectors E_v, trained on from there and not renormalised.
        verb_to_hoi: (V, C) 0/1 matrix that spreads verbs to HOI classes.
        hidden: width of the adapter's hidden layers.
    """

    verb_to_hoi: Tensor

    def __init__(self, vectors: Tensor, verb_to_hoi: Tensor, hidden: int) -> None:
        super().__init__()
        self.adapter = MLP(vectors.shape[1], hidden, vectors.shape[1], 3)
        self.vectors = nn.Parameter(vectors.clone())
        self.register_buffer("verb_to_hoi", verb_to_hoi)

    @in_float32
    def forward(self, interactions: Tensor) -> Tensor:
        """(..., E) → (..., C): each HOI class gets its verb's similarity, not scaled."""
        return (
            F.linear(F.normalize(self.adapter(interactions), dim=-1), self.vectors)
            @ self.verb_to_hoi
        )
