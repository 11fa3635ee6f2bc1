"""Pretrained weights: which files, and that they are the ones meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from hoiclip.clip_encoder import ClipEncoder
from hoiclip.clip_weights import load_clip
from hoiclip.errors import WeightsError
from hoiclip.files import sha256_file
from hoiclip.tensors import read_safetensors


@dataclass(frozen=True, kw_only=True)
class WeightsConfig:
    """Pretrained weights (`weights` in params.yaml).

    Attributes:
        clip: file of the CLIP.
        clip_model: open_clip's name of it; null where the file says it.
        clip_sha256: expected hash, or null for whatever is there.
        detector: file of a DETR, which `train.warm_start` starts from.
        detector_sha256: expected hash, or null.
    """

    clip: str
    clip_model: str | None
    clip_sha256: str | None
    detector: str
    detector_sha256: str | None

    def load_clip(self) -> ClipEncoder:
        """The frozen CLIP.

        Raises:
            WeightsError: absent, altered or not the named model.
        """
        return load_clip(self.clip, self.clip_model, sha256=self.clip_sha256)

    def load_detector(self) -> dict[str, Tensor]:
        """State dict of the DETR, in float32.

        Raises:
            WeightsError: absent, altered or unreadable.
        """
        path = Path(self.detector)
        state, _ = read_safetensors(path)
        if self.detector_sha256 not in (None, found := sha256_file(path)):
            raise WeightsError(
                f"{path}: SHA-256 is {found}, weights.detector_sha256 says {self.detector_sha256}. "
                "Restore the file or correct the hash"
            )
        return {name: tensor.float() for name, tensor in state.items()}
