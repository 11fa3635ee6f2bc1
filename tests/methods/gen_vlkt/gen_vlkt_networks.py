"""Small networks of GEN-VLKT, fresh ones and such with a released checkpoint's numbers."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import torch
from fake_checkpoint import Sizes
from fake_gen_vlkt import SMALL

from hoiclip.convert.gen_vlkt import gen_vlkt_key_map
from hoiclip.convert.pretrained.key_map import rename
from hoiclip.methods.gen_vlkt.model.config import GenVlktConfig, GenVlktModelConfig
from hoiclip.methods.gen_vlkt.model.network import ClassEmbeddings, GenVlkt
from hoiclip.model.config import BackboneConfig, DetectorConfig

PATH = Path("a.pth")
PAPER = GenVlktConfig(
    classifiers="trained", classifier_bias=True, classifier_start="text", lr_classifiers=1e-5,
    mimic=20.0, mimic_layers="all", guidance="per_layer", position_guided=True,
)  # fmt: skip
RATES = SimpleNamespace(lr=1e-4, lr_backbone=1e-5)


def config_of(sizes: Sizes = SMALL, **switches) -> GenVlktModelConfig:
    backbone = BackboneConfig(
        block="bottleneck", layers=list(sizes.blocks), channels=list(sizes.channels), stride=32
    )
    detector = DetectorConfig(
        backbone=backbone, width=sizes.width, encoder_layers=sizes.encoder_layers,
        heads=sizes.heads, feed_forward=sizes.feed_forward, dropout=0.1,
    )  # fmt: skip
    return GenVlktModelConfig(
        num_queries=sizes.queries, decoder_layers=sizes.layers, detector=detector,
        gen_vlkt=dataclasses.replace(PAPER, **switches),
    )  # fmt: skip


def renamed(state, zero_shot=False):
    """Released names → the network's own."""
    found, _ = rename(PATH, state, *gen_vlkt_key_map(zero_shot))
    return {name.removeprefix("model."): tensor for name, tensor in found.items()}


def network_of(state, sizes=SMALL, **switches) -> GenVlkt:
    """The network in eval mode with a released state dict in it."""
    ours = renamed(state, "eval_visual_projection.weight" in state)
    network = GenVlkt(config_of(sizes, **switches), ClassEmbeddings.of_state(ours))
    network.load_state_dict(ours)
    return network.eval()


def fresh(seed=0, sizes=SMALL, hois=7, objects=4, **switches) -> GenVlkt:
    torch.manual_seed(seed)
    tables = ClassEmbeddings(torch.randn(hois, sizes.embed), torch.randn(objects, sizes.embed))
    return GenVlkt(config_of(sizes, **switches), tables)


def batch(seed=7):
    """Two images of different size in one padded batch."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.zeros(2, 3, 96, 128)
    mask = torch.ones(2, 96, 128, dtype=torch.bool)
    for index, (height, width) in enumerate([(96, 70), (64, 128)]):
        images[index, :, :height, :width] = torch.randn(3, height, width, generator=generator)
        mask[index, :height, :width] = False
    return images, mask
