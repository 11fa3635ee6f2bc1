"""Each method with random weights, as the package has it and as a plain transcription.

Both forms of a method are a `Method`, with equal weights, the same losses and the same
post-processing; what differs is the network, and for the label-free student that it and CLIP take
one image after another. Frozen towers are part of both.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.network_inputs import fill
from benchmarks.plain_detr import DETR_NAMES, PlainDetr, take_weights
from benchmarks.plain_gen_vlkt import OUR_NAMES as GEN_VLKT_NAMES
from benchmarks.plain_gen_vlkt import PlainGenVlkt
from benchmarks.plain_network import PlainNetwork, our_name
from benchmarks.plain_student import PlainStudent
from benchmarks.published import Published
from hoiclip.batches.batch import Batch
from hoiclip.catalog.vocabularies import hico_det
from hoiclip.clip.encoder import ClipFeatures, ClipVisual
from hoiclip.contract.method import FrozenFeatures, Method
from hoiclip.detr.file import PretrainedDetr
from hoiclip.detr.network import Detr
from hoiclip.methods.clip_distill.model.method import ClipDistillMethod
from hoiclip.methods.clip_distill.model.network import Student
from hoiclip.methods.gen_vlkt.model.method import GenVlktMethod
from hoiclip.methods.gen_vlkt.model.network import ClassEmbeddings, GenVlkt
from hoiclip.methods.hoiclip.model.method import HoiclipMethod
from hoiclip.methods.hoiclip.model.network import HOICLIP, ClassifierWeights
from hoiclip.set_prediction.criterion import Criterion
from hoiclip.set_prediction.matcher import HungarianMatcher
from hoiclip.set_prediction.model.outputs import Outputs
from hoiclip.set_prediction.model.parameter_groups import DetectorRates
from hoiclip.text_embeddings.table import TextEmbeddings

_NOT_FILLED = ("table", "logit_scale", "log_scale", "visual_projection")
_COCO_UNUSED = 11  # of DETR's 91 classes, beside the 80 objects


def rates_of_parts(network: nn.Module, rates: DetectorRates) -> list[dict[str, Any]]:
    """A plain network's parameters, the backbone at a rate of its own, as DETR's groups are."""
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    backbone = [p for name, p in trained.items() if name.startswith("backbone.")]
    others = [p for name, p in trained.items() if not name.startswith("backbone.")]
    return [{"params": others, "lr": rates.lr}, {"params": backbone, "lr": rates.lr_backbone}]


class PlainHoiclipMethod(HoiclipMethod):
    """HOICLIP with `PlainNetwork`, which takes CLIP's view itself."""

    def frozen_features(self, clip_pixels: Tensor) -> ClipFeatures:
        """The views: CLIP is in the network."""
        return cast(ClipFeatures, (clip_pixels,))

    def outputs(self, batch: Batch, features: FrozenFeatures | None) -> Outputs:
        """See `HoiclipMethod.outputs`."""
        assert features is not None
        images, mask = batch.inputs(self.device)
        mask = torch.zeros_like(images[:, 0], dtype=torch.bool) if mask is None else mask
        return cast(Outputs, cast(nn.Module, self.network)(images, mask, features[0]))

    def parameter_groups(self, rates: DetectorRates) -> list[dict[str, Any]]:
        """See `rates_of_parts`."""
        return rates_of_parts(self.network, rates)


class PlainGenVlktMethod(GenVlktMethod):
    """GEN-VLKT with `PlainGenVlkt`."""

    def parameter_groups(self, rates: DetectorRates) -> list[dict[str, Any]]:
        """See `rates_of_parts`."""
        return rates_of_parts(self.network, rates)


class PlainDistillMethod(ClipDistillMethod):
    """CLIP distillation with `PlainStudent` and `PlainDetr`."""

    def frozen_features(self, clip_pixels: Tensor) -> ClipFeatures:
        """CLIP's tokens and global features, image by image."""
        each = [self.clip.encode_image_tokens(pixels[None]) for pixels in clip_pixels]
        return ClipFeatures(*(torch.cat(parts) for parts in zip(*each, strict=True)))


def fill_network(network: nn.Module) -> None:
    """Random weights that keep activations in range, by `benchmarks.network_inputs.fill`."""
    fill(
        {
            name: tensor
            for name, tensor in network.state_dict(keep_vars=True).items()
            if tensor.is_floating_point()
            and not name.endswith(_NOT_FILLED)
            and not name.startswith(("texts.", "clip.", "verb_classifier.v"))
        }
    )


def build_method(name: str, published: Published, *, plain: bool) -> Method[Any, Any, Any]:
    """A method ready to train or to predict, on the CPU; both forms have equal weights.

    Args:
        name: of the method.
        published: its settings.
        plain: whether it is the plain transcription.
    """
    torch.manual_seed(0)
    clip = ClipVisual(published.clip)
    made = _BUILDERS[name](published, clip, plain)
    if name != "clip_distill":
        vocabulary, config = made.vocabulary, published.train
        made.criterion = Criterion(
            config.loss,
            HungarianMatcher(config.matching),
            vocabulary.num_objects + 1,
            torch.ones(vocabulary.num_hois, dtype=torch.bool),
        )
    return made


def _hoiclip(published: Published, clip: ClipVisual, plain: bool) -> HoiclipMethod:
    vocabulary, config = hico_det(), published.hoiclip
    verb_to_hoi = torch.zeros(vocabulary.num_verbs, vocabulary.num_hois)
    verb_to_hoi[torch.from_numpy(vocabulary.verb_of_hoi), torch.arange(vocabulary.num_hois)] = 1
    tables = ClassifierWeights(
        published.texts(vocabulary.num_hois),
        published.texts(vocabulary.num_objects + 1),
        verb_to_hoi,
        published.texts(vocabulary.num_verbs),
    )
    network = HOICLIP(config, tables, clip.visual_projection)
    fill_network(network)
    if not plain:
        return HoiclipMethod(network, clip, vocabulary, config)
    copied = PlainNetwork(config, tables, clip)
    own = [name for name in copied.state_dict() if not name.startswith("clip.")]
    found = network.state_dict()
    copied.load_state_dict({name: found[our_name(name)] for name in own}, strict=False)
    return PlainHoiclipMethod(cast(HOICLIP, copied), clip, vocabulary, config)


def _gen_vlkt(published: Published, clip: ClipVisual, plain: bool) -> GenVlktMethod:
    vocabulary, config = hico_det(), published.gen_vlkt
    tables = ClassEmbeddings(
        published.texts(vocabulary.num_hois), published.texts(vocabulary.num_objects + 1)
    )
    network = GenVlkt(config, tables)
    fill_network(network)
    if not plain:
        return GenVlktMethod(network, vocabulary, config, clip)
    copied = PlainGenVlkt(config, tables)
    take_weights(copied, network, GEN_VLKT_NAMES)
    return PlainGenVlktMethod(cast(GenVlkt, copied), vocabulary, config, clip)


def _clip_distill(published: Published, clip: ClipVisual, plain: bool) -> ClipDistillMethod:
    vocabulary, sizes = hico_det(), published.detector
    layers, queries = published.scale.detr
    objects = (*vocabulary.objects, *(f"unused {n}" for n in range(_COCO_UNUSED)))
    detr = Detr(sizes, layers, len(objects), queries).eval()
    fill_network(detr)
    # Random ones would find nothing in one image and the same in all places of another.
    nn.init.zeros_(detr.class_head.weight)
    detr.class_head.bias.data[vocabulary.person] = 10
    texts = {
        "hoi": vocabulary.num_hois, "object": vocabulary.num_objects, "no_object": 1,
        "verb": vocabulary.num_verbs, "null": vocabulary.num_objects,
    }  # fmt: skip
    text = TextEmbeddings(**{name: published.texts(n).numpy() for name, n in texts.items()})
    found = PretrainedDetr(detr, objects)
    method = ClipDistillMethod.build(published.distill, sizes, clip, found, text, vocabulary)
    fill_network(method.network)
    if not plain:
        return method
    copied = PlainDetr(sizes, layers, len(objects), queries).eval()
    take_weights(copied, detr, DETR_NAMES)
    student = cast(Student, PlainStudent(method.network))
    return PlainDistillMethod(
        student, clip, cast(Detr, copied), vocabulary, method.config, method.scoring
    )


_BUILDERS: dict[str, Any] = {
    "hoiclip": _hoiclip, "gen_vlkt": _gen_vlkt, "clip_distill": _clip_distill,
}  # fmt: skip
