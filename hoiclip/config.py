"""The sections of params.yaml as frozen dataclasses, checked when read.

Every field says its unit and, where the paper fixes one, the paper's value.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

from hoiclip.errors import ParamsError

T = TypeVar("T")


def _check(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    """The toy world (`dataset` in params.yaml).

    Attributes:
        seed: of the world; the toy weights belong to it.
        train_images: scenes of the train partition.
        test_images: scenes of the test partition.
        workers: processes that render; the result does not depend on it.
    """

    seed: int
    train_images: int
    test_images: int
    workers: int


@dataclass(frozen=True, kw_only=True)
class WeightsConfig:
    """Pretrained weights (`weights` in params.yaml).

    Attributes:
        clip: file of the CLIP.
        clip_model: open_clip's name of it; null where the file says it.
        clip_sha256: expected hash, or null for whatever is there.
        detector: file of a DETR; null starts from random weights.
        detector_sha256: expected hash, or null.
    """

    clip: str
    clip_model: str | None
    clip_sha256: str | None
    detector: str | None
    detector_sha256: str | None


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """A ResNet (paper: ResNet-50).

    Attributes:
        block: `bottleneck` (ResNet-50 and deeper) or `basic`.
        layers: blocks of each of the four stages.
        channels: width of each stage, before a bottleneck's expansion.
        stride: image pixels per cell of the last stage: 32, 16 or 8.
    """

    block: Literal["basic", "bottleneck"]
    layers: list[int]
    channels: list[int]
    stride: int

    def __post_init__(self) -> None:
        _check(len(self.layers) == 4, f"layers: {self.layers}, expected four stages")
        _check(len(self.channels) == 4, f"channels: {self.channels}, expected four stages")
        _check(self.stride in (8, 16, 32), f"stride: {self.stride}, expected 8, 16 or 32")


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """Detector encoder and the layers of the instance decoder.

    Attributes:
        backbone: the ResNet.
        width: of every token (paper: 256).
        encoder_layers: (6).
        heads: of every attention (8).
        feed_forward: hidden width of feed-forward blocks (2048).
        dropout: probability (0.1).
    """

    backbone: BackboneConfig
    width: int
    encoder_layers: int
    heads: int
    feed_forward: int
    dropout: float

    def __post_init__(self) -> None:
        _check(self.width % 4 == 0, f"width: {self.width}, expected a multiple of 4")
        _check(self.width % self.heads == 0, f"heads: {self.heads} do not divide width {self.width}")
        _check(0 <= self.dropout < 1, f"dropout: {self.dropout}, expected 0 <= dropout < 1")


@dataclass(frozen=True, kw_only=True)
class InteractionConfig:
    """Interaction decoder.

    Attributes:
        clip_attention: `shared` is knowledge integration (the paper), `separate` adds an attention
            to CLIP's tokens of its own, `none` leaves CLIP's tokens out.
        mask_detector_memory: whether V_d's padding is masked; the released models do not mask it.
        heads: of every attention (paper: 8).
        feed_forward: hidden width of feed-forward blocks (2048).
        dropout: probability (0.1).
    """

    clip_attention: Literal["none", "separate", "shared"]
    mask_detector_memory: bool
    heads: int
    feed_forward: int
    dropout: float

    def __post_init__(self) -> None:
        _check(0 <= self.dropout < 1, f"dropout: {self.dropout}, expected 0 <= dropout < 1")


@dataclass(frozen=True, kw_only=True)
class VerbConfig:
    """Verb adapter and classifier.

    Attributes:
        representation: where the verb vectors come from: `arithmetic` (the paper), `average`,
            `text`; `none` leaves the verb classifier out.
        weight: λ_v, weight of the verb logits (0.5 on HICO-DET, 0.1 on V-COCO).
        adapter_hidden: hidden width of the adapter (256).
    """

    representation: Literal["none", "arithmetic", "average", "text"]
    weight: float
    adapter_hidden: int


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network (`model` in params.yaml).

    Attributes:
        num_queries: pairs of queries (paper: 64).
        decoder_layers: of the instance and of the interaction decoder alike (3).
        detector: encoder and instance decoder.
        interaction: interaction decoder.
        verb: verb adapter and classifier.
    """

    num_queries: int
    decoder_layers: int
    detector: DetectorConfig
    interaction: InteractionConfig
    verb: VerbConfig

    def __post_init__(self) -> None:
        _check(self.num_queries > 0, f"num_queries: {self.num_queries}, expected at least 1")
        _check(self.decoder_layers > 0, f"decoder_layers: {self.decoder_layers}, expected at least 1")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the losses and of the matching cost (spec of the paper, section 3.5).

    Attributes:
        hoi: focal loss of HOI logits (2).
        object: cross-entropy of object logits (1).
        no_object: weight of the 'nothing' class within it (0.1).
        l1: L1 of human and of object boxes (2.5).
        giou: generalised IoU of human and of object boxes (1).
        focal_alpha: (0.5).
        focal_gamma: (2).
        cost_hoi: matching cost of HOI scores (1).
        cost_object: of the object class (1).
        cost_l1: of boxes (2.5).
        cost_giou: of boxes (1).
    """

    hoi: float = 2.0
    object: float = 1.0
    no_object: float = 0.1
    l1: float = 2.5
    giou: float = 1.0
    focal_alpha: float = 0.5
    focal_gamma: float = 2.0
    cost_hoi: float = 1.0
    cost_object: float = 1.0
    cost_l1: float = 2.5
    cost_giou: float = 1.0


@dataclass(frozen=True, kw_only=True)
class TransformsConfig:
    """Image sizes and augmentation.

    Attributes:
        flip: probability of a horizontal flip (paper: 0.5).
        color_jitter: strength of brightness, contrast and saturation jitter (0.4); 0 is none.
        scales: shorter sides to choose from in training, px (480..800 step 32); none leaves the
            image as it is.
        crop_scales: shorter sides before a random crop, which half of the images get (400, 500,
            600); none never crops.
        crop_sides: least and largest side of the crop, px (384, 600).
        max_side: longest side after resizing, px (1333).
        test_scale: shorter side in inference, px (800); 0 leaves the image as it is.
    """

    flip: float
    color_jitter: float
    scales: list[int]
    crop_scales: list[int]
    crop_sides: list[int]
    max_side: int
    test_scale: int

    @property
    def only_flips(self) -> bool:
        """Whether an image has just two versions, itself and its mirror image."""
        return self.color_jitter == 0 and not self.scales and not self.crop_scales

    def __post_init__(self) -> None:
        _check(0 <= self.flip <= 1, f"flip: {self.flip}, expected 0 <= flip <= 1")
        _check(self.color_jitter >= 0, f"color_jitter: {self.color_jitter}, expected >= 0")
        _check(len(self.crop_sides) == 2, f"crop_sides: {self.crop_sides}, expected two sides")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Optimisation (`train` in params.yaml).

    Attributes:
        seed: of initialisation, order and augmentation.
        threads: CPU threads of one process; part of what decides the bits of a result.
        device: `cpu`, `cuda` or `auto`.
        epochs: (paper: 90).
        lr_drop_epoch: epoch from which the rate is multiplied by `lr_drop_factor` (60).
        lr_drop_factor: (0.1).
        workers: processes that load images beside the training one; 0 loads in it.
        batch_size: images per step (16); the last incomplete batch of an epoch is dropped.
        lr: AdamW's rate (1e-4).
        lr_backbone: the backbone's rate (1e-5); 0 freezes it.
        weight_decay: on every trained tensor (1e-4).
        clip_norm: largest gradient norm (0.1); 0 does not clip.
        validate_every: epochs between validations; the last epoch always validates.
        keep: `best` keeps the weights of the best validation mAP, `last` the last ones.
        loss: weights of the losses.
        transforms: image sizes and augmentation.
    """

    seed: int
    threads: int
    device: Literal["cpu", "cuda", "auto"]
    epochs: int
    lr_drop_epoch: int
    lr_drop_factor: float
    workers: int
    batch_size: int
    lr: float
    lr_backbone: float
    weight_decay: float
    clip_norm: float
    validate_every: int
    keep: Literal["best", "last"]
    loss: LossConfig
    transforms: TransformsConfig

    def __post_init__(self) -> None:
        for name in ("threads", "epochs", "batch_size", "validate_every"):
            value = getattr(self, name)
            _check(value >= 1, f"{name}: {value}, expected at least 1")
        for name in ("lr", "lr_backbone", "weight_decay", "clip_norm"):
            value = getattr(self, name)
            _check(value >= 0, f"{name}: {value}, expected at least 0")


@dataclass(frozen=True, kw_only=True)
class NmsConfig:
    """Pair NMS within each HOI class (paper: 0.7, 1, 0.5).

    Attributes:
        threshold: a pair goes above this product of IoUs; 0 turns NMS off.
        human_power: exponent of the human boxes' IoU.
        object_power: exponent of the object boxes' IoU.
        plus_one_extents: whether boxes end one pixel later, as in the released code.
    """

    threshold: float
    human_power: float
    object_power: float
    plus_one_extents: bool


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Inference (`predict` in params.yaml).

    Attributes:
        device: `cpu`, `cuda` or `auto`.
        threads: CPU threads.
        batch_size: images per step; padding makes results depend on it in their last digits.
        top_k: (query, HOI class) rows kept per image before NMS (100).
        nms: pair NMS.
        enhancement_k: classes that the training-free enhancement keeps (10); 0 is none, null takes
            the best of `sweep_k` on the validation partition.
        sweep_k: values tried on the validation partition.
        enhancement_weight: factor on the enhancement (1).
        enhancement_kind: `cosine` (the paper) or `sigmoid` (the released code).
    """

    device: Literal["cpu", "cuda", "auto"]
    threads: int
    batch_size: int
    top_k: int
    nms: NmsConfig
    enhancement_k: int | None
    sweep_k: list[int]
    enhancement_weight: float
    enhancement_kind: Literal["cosine", "sigmoid"]

    def __post_init__(self) -> None:
        for name in ("threads", "batch_size", "top_k"):
            value = getattr(self, name)
            _check(value >= 1, f"{name}: {value}, expected at least 1")
        _check(
            self.enhancement_k is not None or bool(self.sweep_k),
            "sweep_k: empty, but enhancement_k null needs values to choose from",
        )


@dataclass(frozen=True, kw_only=True)
class VerbVectorsConfig:
    """Visual semantic arithmetic (`verb_vectors` in params.yaml).

    Attributes:
        accumulation: `correct` counts each annotated row once; `released` repeats the released
            code's, for comparison.
        batch_size: crops per step.
        threads: CPU threads.
    """

    accumulation: Literal["correct", "released"]
    batch_size: int
    threads: int


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Evaluation (`evaluate` in params.yaml).

    Attributes:
        protocol: `hico` (the original), `hoiclip` (the released port) or `pocket`.
    """

    protocol: Literal["hico", "hoiclip", "pocket"]


def _parse(value: Any, expected: Any, where: str) -> Any:
    """`value` checked against a type annotation; int is taken where float is meant."""
    if dataclasses.is_dataclass(expected):
        return from_mapping(expected, value, where)
    origin = typing.get_origin(expected)
    if origin is Literal:
        choices = typing.get_args(expected)
        if value not in choices:
            raise ParamsError(f"{where}: {value!r}, expected one of {', '.join(map(repr, choices))}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in typing.get_args(expected):
            return None
        (inner,) = [t for t in typing.get_args(expected) if t is not type(None)]
        return _parse(value, inner, where)
    if origin in (list, tuple):
        if not isinstance(value, list):
            raise ParamsError(f"{where}: {value!r}, expected a list")
        inner = typing.get_args(expected)[0]
        return origin(_parse(item, inner, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ParamsError(f"{where}: {value!r}, expected a mapping")
        _, inner = typing.get_args(expected)
        return {str(key): _parse(item, inner, f"{where}.{key}") for key, item in value.items()}
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        hint = ""
        if expected is float and isinstance(value, str):
            hint = " (YAML reads 1e-4 as text: write 1.0e-4)"
        raise ParamsError(f"{where}: {value!r}, expected {expected.__name__}{hint}")
    return value


def from_mapping(cls: type[T], value: Any, where: str) -> T:
    """Builds the dataclass `cls` from a mapping, refusing unknown and missing keys.

    Args:
        cls: a dataclass; nested dataclasses, lists and Literals are followed.
        value: what YAML gave.
        where: dotted path of `value`, for messages.

    Raises:
        ParamsError: names the key, its value and what was expected.
    """
    if not isinstance(value, dict):
        raise ParamsError(f"{where}: {value!r}, expected a section with keys")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for key in value:
        if key not in fields:
            raise ParamsError(f"{where}.{key}: unknown key; known are {', '.join(fields)}")
    parsed = {key: _parse(item, hints[key], f"{where}.{key}") for key, item in value.items()}
    for name, f in fields.items():
        if name not in parsed and f.default is dataclasses.MISSING:
            if f.default_factory is not dataclasses.MISSING:
                continue
            raise ParamsError(f"{where}.{name}: missing")
    try:
        return cls(**parsed)
    except ValueError as error:
        raise ParamsError(f"{where}.{error}") from None


def read_params(path: str | Path) -> dict[str, Any]:
    """Reads params.yaml.

    Raises:
        ParamsError: absent, not YAML, or not a mapping of sections.
    """
    try:
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise ParamsError(f"{path}: expected a mapping of sections")
    return value


def load(cls: type[T], section: str, path: str | Path = "params.yaml") -> T:
    """The section `section` of the params file at `path` as `cls`.

    Raises:
        ParamsError: see `from_mapping`.
    """
    params = read_params(path)
    if section not in params:
        raise ParamsError(f"{path}: section {section!r} is missing")
    return from_mapping(cls, params[section], f"{path}: {section}")
