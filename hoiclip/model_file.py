"""The one file a detector travels in: safetensors with a JSON header that says everything else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hoiclip.clip_config import check_clip_config
from hoiclip.clip_encoder import ClipVisual
from hoiclip.config import check, from_mapping
from hoiclip.data.transforms import TransformsConfig
from hoiclip.errors import ParamsError, WeightsError
from hoiclip.files import atomic_file
from hoiclip.model.config import ModelConfig
from hoiclip.model.hoiclip import HOICLIP, Tables
from hoiclip.ranges import told
from hoiclip.tensors import read_safetensors
from hoiclip.vocabulary import Vocabulary

HEADER_KEY = "hoiclip"
FORMAT = 1
_MODEL, _CLIP = "model.", "clip."
_SECTIONS = ("model", "transforms", "clip", "vocabulary", "scores", "provenance")

LARGEST_SCALE = 8192
"""Most that a file may state as its `inference_scale`, px."""
# Files that state no scale are of before there was one: those of the toy world, by the SHA-256 of
# its vocabulary, learned from images of 128 px; any other is taken for one of DETR's usual scale.
_SCALE_UNSTATED = 800
_SCALES_UNSTATED = {"bd576820600f56a6106060de7af74573a84f6618b467cbfc80051bf1a17fbaf1": 128}


@dataclass(frozen=True)
class Detector:
    """A network with all that inference needs; no training data, no text cache.

    Attributes:
        model: the network.
        clip: CLIP's frozen image tower.
        vocabulary: what its classes mean.
        config: the network's sizes and switches.
        transforms: sizes of images in inference.
        scores: what of `hoiclip.prediction.PredictConfig` belongs to the model rather than to the
            run, as for a converted one: `enhancement_kind`, `enhancement_k`, `enhancement_weight`,
            `nms`, `top_k`, or a part of them; empty where the run decides.
        provenance: how the weights came to be.
        inference_scale: shorter side, px, of the images that it knows, to which a photograph of any
            size is resized; None where nobody said so.
    """

    model: HOICLIP
    clip: ClipVisual
    vocabulary: Vocabulary
    config: ModelConfig
    transforms: TransformsConfig
    scores: dict[str, Any]
    provenance: dict[str, Any]
    inference_scale: int | None = None

    @property
    def photo_transforms(self) -> TransformsConfig:
        """`transforms` with a scale for photographs, which may be of any size."""
        scale = self.transforms.test_scale or self.inference_scale
        return dataclasses.replace(
            self.transforms, test_scale=scale or _scale_unstated(self.vocabulary)
        )

    def save(self, path: str | Path) -> None:
        """Writes the file, all or nothing."""
        state = {_MODEL + k: v for k, v in self.model.state_dict().items()}
        state |= {_CLIP + k: v for k, v in self.clip.state_dict().items()}
        header = {
            "format": FORMAT,
            "vocabulary": self.vocabulary.to_json(),
            "model": dataclasses.asdict(self.config),
            "transforms": dataclasses.asdict(self.transforms),
            "clip": self.clip.config,
            "scores": self.scores,
            "provenance": self.provenance,
            "inference_scale": self.photo_transforms.test_scale,
        }
        tensors = {k: v.detach().cpu().clone().contiguous() for k, v in state.items()}
        with atomic_file(path) as aside:
            save_file(tensors, aside, metadata={HEADER_KEY: json.dumps(header, sort_keys=True)})
            aside.chmod(0o644)  # which safetensors makes private


def _scale_unstated(vocabulary: Vocabulary) -> int:
    text = json.dumps(vocabulary.to_json(), sort_keys=True)
    return _SCALES_UNSTATED.get(hashlib.sha256(text.encode()).hexdigest(), _SCALE_UNSTATED)


def tables_of_state(state: dict[str, Tensor]) -> Tables:
    """The classifiers' tables that a model's state dict carries."""
    return Tables(
        hoi_embeddings=state["hoi_classifier.table"],
        object_embeddings=state["object_classifier.classifier.table"],
        verb_to_hoi=state.get("verb_classifier.verb_to_hoi", torch.empty(0)),
        verb_vectors=state.get("verb_classifier.vectors"),
        hoi_bias=state.get("hoi_classifier.bias"),
        object_bias=state.get("object_classifier.classifier.bias"),
    )


def load_detector(path: str | Path) -> Detector:
    """Reads a file that `Detector.save` wrote, in eval mode on the CPU.

    Raises:
        WeightsError: absent, damaged, or not such a file; names the tensor where one does not fit.
    """
    if Path(path).suffix in (".pth", ".pt"):
        raise WeightsError(f"{path}: a PyTorch checkpoint. Run `hoiclip convert` on it first")
    state, metadata = read_safetensors(path)
    if HEADER_KEY not in metadata:
        raise WeightsError(
            f"{path}: not a HOICLIP model file, as training and `hoiclip convert` of a HOICLIP "
            "checkpoint write them"
        )
    header = _read_header(path, metadata[HEADER_KEY])
    if header.get("format") != FORMAT:
        stated = told(header.get("format"))
        raise WeightsError(f"{path}: format {stated}, this version reads {FORMAT}")
    try:
        for key in _SECTIONS:
            check(key in header, f"{key}: missing")
        config = from_mapping(ModelConfig, header["model"], "model")
        transforms = from_mapping(TransformsConfig, header["transforms"], "transforms")
        model_state = {k.removeprefix(_MODEL): v for k, v in state.items() if k.startswith(_MODEL)}
        clip_state = {k.removeprefix(_CLIP): v for k, v in state.items() if k.startswith(_CLIP)}
        check_clip_config(header["clip"])
        clip = _restore(lambda: ClipVisual(header["clip"]), clip_state)
        tables = tables_of_state(model_state)
        model = _restore(lambda: HOICLIP(config, tables, clip.visual_projection), model_state)
        vocabulary = Vocabulary.from_json(header["vocabulary"])
        _check_classes(vocabulary, tables)
        scores, provenance = header["scores"], header["provenance"]
        check(
            isinstance(provenance, dict),
            f"provenance: {told(provenance)}, expected a section with keys",
        )
        scale = header.get("inference_scale")
        check(
            scale is None or (type(scale) is int and 1 <= scale <= LARGEST_SCALE),
            f"inference_scale: {told(scale)}, expected a whole number from 1 to {LARGEST_SCALE}",
        )
        check(isinstance(scores, dict), f"scores: {told(scores)}, expected a section with keys")
        # Fails for NaN, infinities and halves of characters, which no result can be written with.
        json.dumps(header, allow_nan=False, ensure_ascii=False).encode()
    except (
        LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RuntimeError,
        ParamsError,
    ) as error:  # fmt: skip
        problem = " ".join(str(error).split())
        raise WeightsError(f"{path}: header and tensors do not fit: {problem}") from None
    return Detector(model.eval(), clip, vocabulary, config, transforms, scores, provenance, scale)


def _read_header(path: str | Path, text: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: its header is not valid JSON ({error})") from None
    if not isinstance(header, dict):
        raise WeightsError(f"{path}: its header is {told(header)}, expected keys and values")
    return header


def _restore(build: Callable[[], nn.Module], state: dict[str, Tensor]) -> nn.Module:
    """What `build` makes, with `state` in it; without memory for more than the file holds."""
    with torch.device("meta"):
        expected = build().state_dict()
    for name, tensor in expected.items():
        check(name in state, f"{name} is missing")
        found, wanted = tuple(state[name].shape), tuple(tensor.shape)
        check(found == wanted, f"{name} has shape {found}, the header's sizes need {wanted}")
    module = build()
    module.load_state_dict(state)
    return module


def _check_classes(vocabulary: Vocabulary, tables: Tables) -> None:
    objects = vocabulary.num_objects + vocabulary.has_missing_objects + 1
    for name, table, rows in (
        ("HOI classes", tables.hoi_embeddings, vocabulary.num_hois),
        ("objects", tables.object_embeddings, objects),
    ):
        check(len(table) == rows, f"vocabulary: {rows} {name}, the tensors have {len(table)}")
