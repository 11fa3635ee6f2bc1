"""Sizes, weights and batches for timing networks: made up, and the same in every process."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.plain_network import PlainNetwork, our_name
from hoiclip.core.config import from_mapping, read_params
from hoiclip.methods.hoiclip.model.config import ModelConfig
from hoiclip.methods.hoiclip.model.network import ClassifierWeights
from hoiclip.set_prediction.config import TrainConfig
from hoiclip.set_prediction.model.targets import Targets

ROOT = Path(__file__).resolve().parents[1]

PAIRS_PER_IMAGE = 4


@dataclass(frozen=True)
class Size:
    """Sizes of one benchmark.

    Attributes:
        model: what departs from `model` in params.yaml.
        clip: open_clip's `vision_cfg`.
        embed_dim: width of CLIP's shared space.
        classes: verbs, objects and HOI classes.
        image: height and width in pixels.
    """

    model: dict[str, Any]
    clip: dict[str, Any]
    embed_dim: int
    classes: tuple[int, int, int]
    image: tuple[int, int]


def model_sizes(
    queries: int, layers: int, blocks: list[int], width: int, encoder_layers: int, hidden: int
) -> dict[str, Any]:
    attention = {"heads": 8, "feed_forward": hidden, "dropout": 0.1}
    backbone = {
        "block": "bottleneck", "layers": blocks, "channels": [64, 128, 256, 512], "stride": 32,
    }  # fmt: skip
    return {
        "num_queries": queries,
        "decoder_layers": layers,
        "detector": {
            "backbone": backbone, "width": width, "encoder_layers": encoder_layers, **attention,
        },
        "interaction": {"clip_attention": "shared", "mask_detector_memory": False, **attention},
        "verb": {"representation": "arithmetic", "adapter_hidden": 256},
    }  # fmt: skip


SIZES = {
    "released": Size(
        model_sizes(64, 3, [3, 4, 6, 3], 256, 6, 2048),
        {"image_size": 224, "patch_size": 32, "width": 768, "layers": 12},
        embed_dim=512,
        classes=(117, 80, 600),
        image=(800, 1066),
    ),
    "tiny": Size(
        model_sizes(5, 2, [1, 1, 1, 1], 32, 1, 32),
        {"image_size": 32, "patch_size": 16, "width": 64, "layers": 1},
        embed_dim=24,
        classes=(3, 4, 7),
        image=(64, 96),
    ),
}


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    return base | {
        key: merged(base[key], value) if isinstance(value, dict) else value
        for key, value in over.items()
    }


def configs(size: Size) -> tuple[ModelConfig, TrainConfig]:
    """The committed parameters at other sizes, with the paper's rates."""
    params = read_params(ROOT / "params.yaml")
    own = {key: params["hoiclip"][key] for key in ("interaction", "verb")}
    model = merged(params["model"] | own, size.model)
    train = params["train"] | {"lr": 1e-4, "lr_backbone": 1e-5}
    return from_mapping(ModelConfig, model, "model"), from_mapping(TrainConfig, train, "train")


def tables_of(size: Size) -> ClassifierWeights:
    verbs, objects, hois = size.classes
    verb_to_hoi = torch.zeros(verbs, hois)
    verb_to_hoi[torch.arange(hois) % verbs, torch.arange(hois)] = 1
    return ClassifierWeights(
        torch.randn(hois, size.embed_dim),
        torch.randn(objects + 1, size.embed_dim),
        verb_to_hoi,
        nn.functional.normalize(torch.randn(verbs, size.embed_dim), dim=-1),
    )


@torch.no_grad()
def fill(tensors: dict[str, Tensor]) -> None:
    """Numbers that depend on a tensor's name alone and keep activations in range."""
    for name, tensor in tensors.items():
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        # Of its own: the order in which `normal_` fills depends on the memory format.
        values = torch.empty(tensor.shape)
        if tensor.dim() > 1:
            values.normal_(0, tensor[0].numel() ** -0.5, generator=generator)
        elif name.endswith(("weight", "running_var")):
            values.uniform_(0.5, 1.0, generator=generator)
        else:
            values.normal_(0, 0.05, generator=generator)
        tensor.copy_(values)


def filled_tensors(model: nn.Module) -> dict[str, Tensor]:
    """What `fill` sets, by HOICLIP's names: all but CLIP, what comes from it, logit scales."""
    name_of = our_name if isinstance(model, PlainNetwork) else str
    tensors = {name_of(name): t for name, t in model.state_dict(keep_vars=True).items()}
    kept = ("clip.", "visual_projection", "verb_classifier.v")
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not name.startswith(kept) and not name.endswith(("table", "logit_scale"))
    }


@dataclass(frozen=True)
class Batch:
    """Two made-up images, CLIP's view of them, and annotated pairs."""

    images: Tensor
    mask: Tensor
    pixels: Tensor
    targets: Targets

    @classmethod
    def make(cls, size: Size) -> Batch:
        """The same numbers in every process."""
        generator = torch.Generator().manual_seed(1)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator)

        height, width = size.image
        _, objects, hois = size.classes
        total, side = 2 * PAIRS_PER_IMAGE, size.clip["image_size"]
        labels = torch.zeros(total, hois)
        labels[torch.arange(total), torch.arange(total) % hois] = 1
        return cls(
            2 * uniform(2, 3, height, width) - 1,
            torch.zeros(2, height, width, dtype=torch.bool),
            2 * uniform(2, 3, side, side) - 1,
            Targets(
                [PAIRS_PER_IMAGE] * 2,
                labels,
                torch.arange(total) % objects,
                0.3 + 0.4 * uniform(total, 4),
                0.3 + 0.4 * uniform(total, 4),
                torch.ones(total, dtype=torch.bool),
            ),
        )
