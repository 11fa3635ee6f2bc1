"""CLIP weight files: OpenAI's, open_clip's, and this project's own small safetensors file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor

from hoiclip.checkpoints.pytorch import checkpoint_of, load_pickle
from hoiclip.checkpoints.torchscript import is_torchscript, read_torchscript
from hoiclip.clip.config import check_clip_config
from hoiclip.clip.encoder import ClipEncoder, build_clip
from hoiclip.core.files import atomic_file, sha256_file
from hoiclip.errors import ParamsError, WeightsError
from hoiclip.model.tensors import check_is_file, read_safetensors

_HEADER = "clip_config"
_MODEL_KEYS = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}
# Of an archive: numbers beside the weights, and a mask that every model makes itself.
_NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "attn_mask")


def save_clip(
    path: str | Path, config: dict[str, Any], state: dict[str, Tensor], card: dict[str, Any]
) -> None:
    """Writes a CLIP with everything that `load_clip` needs, all or nothing.

    Args:
        path: a `.safetensors` file.
        config: see `hoiclip.clip.encoder.ClipEncoder`.
        state: state dict of the open_clip model.
        card: how the weights came to be (JSON), kept in the header beside `config`.
    """
    # One entry: safetensors writes several in no fixed order, and equal weights are equal bytes.
    header = {_HEADER: json.dumps(config | {"card": card}, sort_keys=True)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with atomic_file(path) as aside:
        save_file(tensors, aside, header)
        aside.chmod(0o644)


def load_clip(weights: str | Path, model_name: str | None = None) -> ClipEncoder:
    """A frozen float32 CLIP on the CPU; nothing is ever downloaded.

    Args:
        weights: a file of `save_clip`; or, with `model_name`, OpenAI's TorchScript archive or a
            state dict of open_clip (`.safetensors`, `.pt`).
        model_name: open_clip's name of a ViT with CLIP's own text tower, e.g. `ViT-B-32-quickgelu`;
            not needed where the file says it. OpenAI's archives get QuickGELU in any case.

    Raises:
        WeightsError: the file is missing or unreadable, the model is unknown or not supported, or a
            tensor is missing, surplus, misshapen or not finite.
    """
    weights = Path(weights)
    config, state, card = _read(weights, model_name)
    _check(weights, state, _expected(weights, config, state))
    model = build_clip(config)
    model.load_state_dict(_widened(state))
    try:
        encoder = ClipEncoder(config, model)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{weights}: its header is not of a CLIP ({error})") from None
    name = (card or {}).get("model") or model_name or weights.stem
    encoder.provenance = {"model": name, "weights_sha256": sha256_file(weights)}
    return encoder


def convert_clip(weights: str | Path, out: str | Path, model_name: str | None = None) -> None:
    """Writes a CLIP as a file of `save_clip`; one that is such a file already is copied.

    Args:
        weights: as of `load_clip`.
        out: the `.safetensors` file to write, all or nothing.
        model_name: as of `load_clip`.

    Raises:
        WeightsError: as of `load_clip`.
    """
    weights, out = Path(weights), Path(out)
    config, state, card = _read(weights, model_name)
    _check(weights, state, _expected(weights, config, state))
    if card is not None:
        with atomic_file(out) as aside:
            shutil.copyfile(weights, aside)
    else:
        card = {"model": model_name, "source": weights.name, "sha256": sha256_file(weights)}
        save_clip(out, config, _widened(state), card)


def _read(
    path: Path, model_name: str | None
) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any] | None]:
    """Configuration, state dict and, of a file of `save_clip`, its card; no tensor is checked."""
    check_is_file(path, "no such CLIP weight file. Fetch it or correct its path")
    state, header = read_safetensors(path) if path.suffix == ".safetensors" else ({}, {})
    if _HEADER in header:
        config, card = _parse_config(path, header[_HEADER])
        return config, state, card
    if model_name is None:
        fix = "Give open_clip's model name (weights.clip_model or --clip-model)"
        raise WeightsError(f"{path}: the file names no model. {fix}")
    config = {"model_cfg": _named_model(model_name)}
    if path.suffix == ".safetensors":
        return config, state, None
    if is_torchscript(path):
        config["model_cfg"]["quick_gelu"] = True
        state = read_torchscript(path)
        return config, {k: v for k, v in state.items() if k not in _NO_WEIGHTS}, None
    return config, _read_checkpoint(path), None


def _parse_config(path: Path, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Configuration and card that a header holds."""
    try:
        config = json.loads(text)
        card = dict(config.pop("card", {}))
        check_clip_config(config, _HEADER)
    except (ValueError, RecursionError, AttributeError, TypeError, ParamsError) as error:
        raise WeightsError(f"{path}: its header is not of a CLIP ({error})") from None
    return config, card


def _named_model(name: str) -> dict[str, Any]:
    model_cfg = open_clip.get_model_config(name)
    if model_cfg is None:
        raise WeightsError(f"open_clip knows no model {name!r}. See open_clip.list_models()")
    plain_vit = isinstance(model_cfg["vision_cfg"].get("layers"), int)
    own_text = "hf_tokenizer_name" not in model_cfg["text_cfg"]
    if not plain_vit or not own_text or set(model_cfg) - _MODEL_KEYS:
        raise WeightsError(f"CLIP model {name!r} is no ViT with CLIP's own text tower; use one")
    return model_cfg


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    try:
        content = load_pickle(path)
    except WeightsError as error:
        problem = str(error).removeprefix(f"{path}: ")
        raise WeightsError(f"{path}: not a readable file of CLIP weights ({problem})") from None
    checkpoint = checkpoint_of(path, content)
    if checkpoint is None:
        raise WeightsError(f"{path}: holds no state dict (name → tensor)")
    return dict(checkpoint.state)


def _expected(path: Path, config: dict[str, Any], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The model's state dict without its numbers, so that no header asks for memory or time."""
    try:
        for tower in ("vision_cfg", "text_cfg"):
            if config["model_cfg"][tower]["layers"] > len(state):
                raise ValueError(f"{tower} has more layers than the file has tensors")
        with torch.device("meta"):
            return build_clip(config).state_dict()
    except Exception as error:  # open_clip checks no configuration
        problem = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(f"{path}: its header is not of a CLIP ({problem})") from None


def _check(path: Path, state: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, tensor in expected.items():
        if name not in state:
            raise WeightsError(f"{path}: tensor {name} is missing. Is it the named model's file?")
        shape, wanted = tuple(state[name].shape), tuple(tensor.shape)
        if shape != wanted:
            raise WeightsError(f"{path}: tensor {name} has shape {shape}, the model needs {wanted}")
        if not torch.isfinite(state[name]).all():
            raise WeightsError(f"{path}: tensor {name} holds values that are not finite")
    if surplus := sorted(set(state) - set(expected)):
        raise WeightsError(f"{path}: tensor {surplus[0]} belongs to no part of the model")


def _widened(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
