"""Settings of the methods at their published sizes, from the profiles in params/; and tiny ones.

For benchmarks of whole methods. Weights are random, so no file but params is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.network_inputs import ROOT, SIZES, merged
from hoiclip.core.config import from_mapping, read_params
from hoiclip.methods.clip_distill.model.config import ClipDistillConfig
from hoiclip.methods.gen_vlkt.model.config import GenVlktModelConfig
from hoiclip.methods.hoiclip.model.config import ModelConfig
from hoiclip.model.config import DetectorConfig
from hoiclip.set_prediction.config import TrainConfig

PROFILES = {"hoiclip": "hico", "gen_vlkt": "gen-vlkt-s", "clip_distill": "clip-distill"}
"""Profile of each method: HICO-DET, ResNet-50, CLIP ViT-B/32."""


@dataclass(frozen=True)
class Scale:
    """How large networks and images are.

    Attributes:
        changes: over the profile, nested as params.yaml.
        clip: open_clip's `vision_cfg`.
        embed_dim: width of CLIP's shared space.
        detr: decoder layers and queries of the student's detector.
        shorter: side of the images that networks see, px.
    """

    changes: dict[str, Any]
    clip: dict[str, Any]
    embed_dim: int
    detr: tuple[int, int]
    shorter: int


_SMALL = {"heads": 8, "feed_forward": 32}
SCALES = {
    "published": Scale({}, SIZES["released"].clip, 512, (6, 100), 800),
    "tiny": Scale(
        {
            "model": {
                "num_queries": 5,
                "decoder_layers": 2,
                "detector": {
                    "backbone": {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 16]},
                    "width": 32,
                    "encoder_layers": 1,
                    **_SMALL,
                },
            },
            "hoiclip": {"interaction": _SMALL},
        },
        SIZES["tiny"].clip,
        embed_dim=24,
        detr=(2, 8),
        shorter=64,
    ),
}


def read_profile(name: str, scale: Scale) -> dict[str, Any]:
    """params.yaml under a profile and what the profile extends, at a scale."""
    chain = []
    base: str | None = name
    while base is not None:
        overlay = read_params(ROOT / "params" / f"{base}.yaml")
        base = overlay.pop("extends", None)
        chain.append(overlay)
    params = read_params(ROOT / "params.yaml")
    for overlay in reversed(chain):
        params = merged(params, overlay)
    return merged(params, scale.changes)


@dataclass(frozen=True)
class Published:
    """A method's settings.

    Attributes:
        params: all of them.
        scale: of networks and images.
    """

    params: dict[str, Any]
    scale: Scale

    @classmethod
    def of(cls, method: str, scale: str) -> Published:
        """Of a method of `PROFILES` at a scale of `SCALES`."""
        return cls(read_profile(PROFILES[method], SCALES[scale]), SCALES[scale])

    @property
    def hoiclip(self) -> ModelConfig:
        """HOICLIP's network."""
        own = {key: self.params["hoiclip"][key] for key in ("interaction", "verb")}
        return from_mapping(ModelConfig, self.params["model"] | own, "model")

    @property
    def gen_vlkt(self) -> GenVlktModelConfig:
        """GEN-VLKT's network."""
        own = {"gen_vlkt": self.params["gen_vlkt"]}
        return from_mapping(GenVlktModelConfig, self.params["model"] | own, "model")

    @property
    def detector(self) -> DetectorConfig:
        """The student's detector."""
        return from_mapping(DetectorConfig, self.params["model"]["detector"], "model.detector")

    @property
    def train(self) -> TrainConfig:
        """Training of networks that predict a set of pairs; every image gets one size.

        Flip and colour jitter are the published ones. Random sizes and crops are left out, so that
        all steps have the same work.
        """
        sizes = {
            "scales": [self.scale.shorter],
            "crop_scales": [],
            "test_scale": self.scale.shorter,
        }
        train = merged(self.params["train"], {"transforms": sizes})
        return from_mapping(TrainConfig, train, "train")

    @property
    def distill(self) -> ClipDistillConfig:
        """CLIP distillation; without suppression, and of each image six people at most, 30 pairs:
        the made-up detector of `benchmarks.method_forms` sees people alone."""
        few = {"nms_iou": None, "max_instances": 6}
        sizes = {"detections": {"test_scale": self.scale.shorter, **few}}
        section = merged(self.params["clip_distill"], sizes)
        return from_mapping(ClipDistillConfig, section, "clip_distill")

    @property
    def clip(self) -> dict[str, Any]:
        """open_clip's configuration of the image tower."""
        vision = {
            "embed_dim": self.scale.embed_dim, "quick_gelu": True, "vision_cfg": self.scale.clip,
        }  # fmt: skip
        return {"model_cfg": vision}

    def texts(self, count: int) -> torch.Tensor:
        """(count, E) random text embeddings of unit length."""
        return torch.nn.functional.normalize(torch.randn(count, self.scale.embed_dim), dim=-1)
