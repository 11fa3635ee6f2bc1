"""The one file a detector travels in: safetensors with a JSON header that says everything else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from hoiclip.batches.transforms import TransformsConfig
from hoiclip.contract.method import AnyMethod
from hoiclip.core.config import check, from_mapping
from hoiclip.core.files import atomic_file
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.errors import ParamsError, WeightsError
from hoiclip.model.tensors import HEADER_KEY, read_safetensors
from hoiclip.util.ranges import quoted

FORMAT = 2
_SECTIONS = ("method", "config", "scoring", "transforms", "vocabulary", "scores", "provenance")
# What a file of format 1 says of the enhancement, as `scoring` names it now.
_SCORES_OF_FORMAT_1 = {
    "enhancement_k": "k",
    "enhancement_weight": "weight",
    "enhancement_kind": "kind",
}

LARGEST_SCALE = 8192
"""Most that a file may state as its `inference_scale`, px."""
# Files that state no scale are of before there was one: those of the toy world, by the SHA-256 of
# its vocabulary, learned from images of 128 px; any other is taken for one of DETR's usual scale.
_SCALE_UNSTATED = 800
_SCALES_UNSTATED = {"bd576820600f56a6106060de7af74573a84f6618b467cbfc80051bf1a17fbaf1": 128}


@dataclass(frozen=True)
class Detector:
    """A method with all that inference needs; no training data, no text cache.

    Attributes:
        method: network and frozen parts.
        transforms: sizes of images in inference.
        scores: what of `PredictConfig` belongs to the model rather than to the
            run, as for a converted one: `nms`, `top_k`, `inclusive_boxes`, or a part of them; empty
            where the run decides.
        provenance: how the weights came to be.
        inference_scale: shorter side, px, of the images that it knows, to which a photograph of any
            size is resized; None where nobody said so.
    """

    method: AnyMethod
    transforms: TransformsConfig
    scores: dict[str, Any]
    provenance: dict[str, Any]
    inference_scale: int | None = None

    @property
    def vocabulary(self) -> Vocabulary:
        """What its classes mean."""
        return self.method.vocabulary

    @property
    def image_file_transforms(self) -> TransformsConfig:
        """`transforms` with a scale for photographs, which may be of any size."""
        scale = self.transforms.test_scale or self.inference_scale
        return dataclasses.replace(
            self.transforms, test_scale=scale or _scale_unstated(self.vocabulary)
        )

    def save(self, path: str | Path) -> None:
        """Writes the file, all or nothing."""
        parts = {"model": self.method.network, **self.method.frozen}
        state = {
            f"{part}.{name}": tensor
            for part, module in parts.items()
            for name, tensor in module.state_dict().items()
        }
        header = {
            **self.method.header(),
            "format": FORMAT,
            "method": self.method.name,
            "vocabulary": self.vocabulary.to_json(),
            "transforms": dataclasses.asdict(self.transforms),
            "scores": self.scores,
            "provenance": self.provenance,
            "inference_scale": self.image_file_transforms.test_scale,
        }
        tensors = {k: v.detach().cpu().clone().contiguous() for k, v in state.items()}
        with atomic_file(path) as aside:
            save_file(tensors, aside, metadata={HEADER_KEY: json.dumps(header, sort_keys=True)})
            aside.chmod(0o644)  # which safetensors makes private


def _scale_unstated(vocabulary: Vocabulary) -> int:
    text = json.dumps(vocabulary.to_json(), sort_keys=True)
    return _SCALES_UNSTATED.get(hashlib.sha256(text.encode()).hexdigest(), _SCALE_UNSTATED)


def only(method: type[AnyMethod]) -> Callable[[str], type[AnyMethod]]:
    """For `load_detector`: takes files of one method alone."""

    def find(name: str) -> type[AnyMethod]:
        check(name == method.name, f"method: {quoted(name)}, expected {method.name}")
        return method

    return find


def load_detector(path: str | Path, find: Callable[[str], type[AnyMethod]]) -> Detector:
    """Reads a file that `Detector.save` wrote, now or in format 1, in eval mode on the CPU.

    Args:
        path: the file.
        find: gives the method of a name, as `hoiclip.methods.registry.method_named`.

    Raises:
        WeightsError: absent, damaged, or not such a file; names the tensor where one does not fit.
    """
    if Path(path).suffix in (".pth", ".pt"):
        raise WeightsError(f"{path}: a PyTorch checkpoint. Run `hoiclip convert` on it first")
    state, metadata = read_safetensors(path)
    if HEADER_KEY not in metadata:
        raise WeightsError(
            f"{path}: no model file of this project, as training and `hoiclip convert` of a "
            "released checkpoint write them"
        )
    header = _read_header(path, metadata[HEADER_KEY])
    if header.get("format") not in (1, FORMAT):
        stated = quoted(header.get("format"))
        raise WeightsError(f"{path}: format {stated}, this version reads 1 and {FORMAT}")
    try:
        if header["format"] == 1:
            header = _of_format_1(header)
        for key in _SECTIONS:
            check(key in header, f"{key}: missing")
        return _detector(header, state, find)
    except (
        LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RuntimeError,
        ParamsError,
    ) as error:  # fmt: skip
        problem = " ".join(str(error).split())
        raise WeightsError(f"{path}: header and tensors do not fit: {problem}") from None


def _detector(
    header: dict[str, Any], state: dict[str, Tensor], find: Callable[[str], type[AnyMethod]]
) -> Detector:
    transforms = from_mapping(TransformsConfig, header["transforms"], "transforms")
    vocabulary = Vocabulary.from_json(header["vocabulary"])
    scores, provenance, scale = (
        header["scores"],
        header["provenance"],
        header.get("inference_scale"),
    )
    for name, section in (("provenance", provenance), ("scores", scores)):
        check(isinstance(section, dict), f"{name}: {quoted(section)}, expected a section with keys")
    check(
        scale is None or (type(scale) is int and 1 <= scale <= LARGEST_SCALE),
        f"inference_scale: {quoted(scale)}, expected a whole number from 1 to {LARGEST_SCALE}",
    )
    parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in state.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    try:
        method = find(header["method"])
    except KeyError:
        raise ValueError(f"method: {quoted(header['method'])} is none that is known") from None
    restored = method.restore(header, vocabulary, parts)
    # Fails for NaN, infinities and halves of characters, which no result can be written with.
    json.dumps(header, allow_nan=False, ensure_ascii=False).encode()
    return Detector(restored.eval(), transforms, scores, provenance, scale)


def _of_format_1(header: dict[str, Any]) -> dict[str, Any]:
    """The header of a file of format 1, which knew HOICLIP alone, as one of format 2."""
    header = {**header, "method": "hoiclip", "config": header["model"]}
    check(isinstance(header["scores"], dict), "scores: expected a section with keys")
    scores = dict(header["scores"])
    header["scoring"] = {
        now: scores.pop(then) for then, now in _SCORES_OF_FORMAT_1.items() if then in scores
    }
    return {**header, "scores": scores}


def _read_header(path: str | Path, text: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: its header is not valid JSON ({error})") from None
    if not isinstance(header, dict):
        raise WeightsError(f"{path}: its header is {quoted(header)}, expected keys and values")
    return header
