"""GEN-VLKT's model file → a checkpoint as the released code reads it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hoiclip.contract.method import Method
from hoiclip.contract.model_file import Detector, load_detector
from hoiclip.convert.gen_vlkt import MODEL, gen_vlkt_key_map
from hoiclip.convert.pretrained.arguments import Arguments
from hoiclip.convert.pretrained.key_map import inverted
from hoiclip.convert.pretrained.report import Conversion
from hoiclip.convert.released import RELEASED, RELEASED_TRANSFORMS, released_scores
from hoiclip.convert.setting import Setting, check_known, published_settings
from hoiclip.core.config import from_mapping
from hoiclip.core.files import atomic_file
from hoiclip.errors import ParamsError, WeightsError
from hoiclip.methods.gen_vlkt.model.config import GenVlktConfig, GenVlktModelConfig
from hoiclip.methods.gen_vlkt.model.method import GenVlktMethod
from hoiclip.methods.registry import method_named
from hoiclip.pairs.pair_nms import PAPER_NMS, PairNms


def release_gen_vlkt(src: str | Path, dst: str | Path, setting: str | None = None) -> Conversion:
    """Writes tensors under the released names, with `args` of which `convert_gen_vlkt` makes the
    same network again.

    Args:
        src: a model file of GEN-VLKT.
        dst: the `.pth` file to write.
        setting: published setting of its training; None is what a converted file says of itself,
            and `default` or `vcoco`, by its classes, for any other.

    Returns:
        With a note of everything that the file says and a released checkpoint has no place for.

    Raises:
        WeightsError: not such a file, of another setting than it states, of other classes than the
            setting, or of a network that the released code does not have.
    """
    src, dst = Path(src), Path(dst)
    detector = load_detector(src, _which_goes_back(src))
    found = _setting(src, detector, setting)
    method = detector.method
    assert isinstance(method, GenVlktMethod)  # which `_which_goes_back` saw to
    seen = found.seen.tolist() if found.zero_shot else None
    state = released_state(src, method.config, method.network.state_dict(), seen)
    said = _arguments(method.config, _nms(src, detector), found)
    content = {"model": state, "args": argparse.Namespace(**said)}
    with atomic_file(dst) as aside:
        torch.save(content, aside)
    notes = _not_held(detector, method.config.gen_vlkt, said, found)
    return Conversion(dst, "a model file of GEN-VLKT", found.name, notes=notes)


def _which_goes_back(src: Path) -> Callable[[str], type[Method]]:
    """For `load_detector`: the method whose files go back; of any other, says which it is."""

    def find(name: str) -> type[Method]:
        method = method_named(name)
        if method is GenVlktMethod:
            return method
        raise WeightsError(
            f"{src}: a model file of {method.title}; the way back to a released checkpoint exists "
            f"for {GenVlktMethod.title}'s model files alone. `hoiclip predict --weights` takes "
            "this one as it is"
        )

    return find


def _setting(src: Path, detector: Detector, asked: str | None) -> Setting:
    check_known(asked)
    stated = detector.provenance.get("setting")
    if None not in (asked, stated) and asked != stated:
        raise WeightsError(
            f"{src}: a model of setting {stated!r}, not of {asked!r}; name the right setting or "
            "none"
        )
    name = asked or stated
    for setting in published_settings():
        fits = setting.vocabulary == detector.vocabulary
        if fits and (setting.name == name or (name is None and not setting.zero_shot)):
            return setting
    raise WeightsError(
        f"{src}: its classes are not those of setting {name or 'default'!r}; the released code "
        "knows HICO-DET's and V-COCO's"
    )


def _nms(src: Path, detector: Detector) -> PairNms | None:
    """Suppression that the file states; None where it states none."""
    if "nms" not in detector.scores:
        return None
    try:
        given = detector.scores["nms"]
        whole = {**asdict(PAPER_NMS), **given} if isinstance(given, Mapping) else given
        return from_mapping(PairNms, whole, "scores.nms")
    except ParamsError as error:
        raise WeightsError(f"{src}: {error}") from None


def _arguments(config: GenVlktModelConfig, nms: PairNms | None, setting: Setting) -> dict[str, Any]:
    sizes, switches = config.detector, config.gen_vlkt
    said: dict[str, Any] = {
        "dec_layers": config.decoder_layers,
        "nheads": sizes.heads,
        "dropout": sizes.dropout,
        "dilation": sizes.backbone.stride == 16,
        "zero_shot_type": setting.name if setting.zero_shot else "default",
        "del_unseen": setting.zero_shot,
        "fix_clip": switches.classifiers == "frozen",
        "ft_clip_with_small_lr": True,
        "lr_clip": switches.lr_classifiers,
        "with_mimic": switches.mimic > 0,
        "mimic_loss_coef": switches.mimic,
        "with_clip_label": True,
        "with_obj_clip_label": True,
    }
    if nms is not None:
        said |= {
            "use_nms_filter": nms.threshold > 0,
            "thres_nms": nms.threshold,
            "nms_alpha": nms.human_power,
            "nms_beta": nms.object_power,
        }
    return said


def _not_held(
    detector: Detector, switches: GenVlktConfig, said: Mapping[str, Any], setting: Setting
) -> list[str]:
    """What of a model file a released checkpoint cannot say, a line each."""
    notes = []
    means = released_scores(Arguments({**RELEASED, **said}, frozenset()), setting)
    for key, value in means.items():
        stated = detector.scores.get(key)
        if stated != value:
            said_here = "not stated here" if stated is None else f"{stated} here"
            notes.append(f"{key}: {said_here}, comes back as {value}")
    here, there = (
        {"test_scale": made.test_scale, "max_side": made.max_side}
        for made in (detector.transforms, RELEASED_TRANSFORMS)
    )
    of_files = detector.image_file_transforms.test_scale
    if (here, of_files) != (there, RELEASED_TRANSFORMS.test_scale):
        notes.append(
            f"sizes of images: {here | {'inference_scale': of_files}} here, come back as {there}"
        )
    if not switches.classifier_bias:
        notes.append("classifier_bias: False here, comes back as True, with biases of zero")
    if switches.mimic > 0 and switches.mimic_layers != "all":
        notes.append(f"mimic_layers: {switches.mimic_layers} here, comes back as all")
    if switches.classifier_start != "text":
        notes.append(f"classifier_start: {switches.classifier_start} here, comes back as text")
    return [f"not held: {note}" for note in notes]


def released_state(
    path: Path,
    config: GenVlktModelConfig,
    state: Mapping[str, Tensor],
    seen: Sequence[int] | None = None,
) -> dict[str, Tensor]:
    """A network's tensors as the released code names them, the reverse of `convert_gen_vlkt`.

    Args:
        path: where the network comes from, for messages.
        config: its sizes and switches.
        state: its state dict.
        seen: HOI classes of the training head, for a zero-shot model; None for all. That head's
            bias, which nothing trained and no evaluation takes, is the one of those classes.

    Raises:
        WeightsError: the released code has no such network.
    """
    switches, backbone = config.gen_vlkt, config.detector.backbone
    problems = [
        f"{name} {value}"
        for name, value, known in (
            ("guidance", switches.guidance, ("per_layer",)),
            ("position_guided", switches.position_guided, (True,)),
            ("block", backbone.block, ("bottleneck",)),
            ("stride", backbone.stride, (16, 32)),
        )
        if value not in known
    ]
    if problems:
        problem = ", ".join(problems)
        raise WeightsError(
            f"{path}: a network with {problem}, which the released code does not have"
        )
    named = {MODEL + name: tensor for name, tensor in state.items()}
    for classifier in ("hoi_classifier", "object_classifier.classifier"):
        table = state[f"{classifier}.table"]
        named.setdefault(f"{MODEL}{classifier}.bias", table.new_zeros(len(table)))
    released = inverted(path, named, gen_vlkt_key_map(seen is not None)[0])
    if seen is not None:
        rows = torch.as_tensor(seen, dtype=torch.long)
        for part in ("weight", "bias"):
            released[f"visual_projection.{part}"] = released[f"eval_visual_projection.{part}"][rows]
    return released
