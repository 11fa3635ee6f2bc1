"""CLIP weight files: OpenAI's, open_clip's, and this project's own small safetensors file."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.factory import load_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hoiclip.clip_config import check_clip_config
from hoiclip.clip_encoder import ClipEncoder, build_clip
from hoiclip.errors import ParamsError, WeightsError
from hoiclip.files import atomic_file, sha256_file

_HEADER = "clip_config"
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*m")
_MODEL_KEYS = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}


def save_clip(
    path: str | Path, config: dict[str, Any], state: dict[str, Tensor], card: dict[str, Any]
) -> None:
    """Writes a CLIP with everything that `load_clip` needs, all or nothing.

    Args:
        path: a `.safetensors` file.
        config: see `hoiclip.clip_encoder.ClipEncoder`.
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
    _check_tensors(weights, config, state)
    model = build_clip(config)
    model.load_state_dict(state)
    encoder = ClipEncoder(config, model)
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
    _check_tensors(weights, config, state)
    if card is not None:
        with atomic_file(out) as aside:
            shutil.copyfile(weights, aside)
    else:
        card = {"model": model_name, "source": weights.name, "sha256": sha256_file(weights)}
        save_clip(out, config, state, card)


def _read(
    path: Path, model_name: str | None
) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any] | None]:
    """Configuration, state dict and, of a file of `save_clip`, its card."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such CLIP weight file. Fetch it or correct its path")
    header, card = _read_header(path), None
    if _HEADER in header:
        config, card = _parse_config(path, header[_HEADER])
    elif model_name is None:
        fix = "Give open_clip's model name (weights.clip_model or --clip-model)"
        raise WeightsError(f"{path}: the file names no model. {fix}")
    else:
        config = {"model_cfg": _named_model(model_name)}
    torchscript = _is_torchscript(path)
    if torchscript:
        config["model_cfg"]["quick_gelu"] = True
    return config, _read_state(path, torchscript), card


def _parse_config(path: Path, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Configuration and card that a header holds."""
    try:
        config = json.loads(text)
        card = config.pop("card", {}) if isinstance(config, dict) else {}
        check_clip_config(config, _HEADER)
    except (ValueError, RecursionError, ParamsError) as error:
        raise WeightsError(f"{path}: its header is not of a CLIP ({error})") from None
    return config, card if isinstance(card, dict) else {}


def _read_header(path: Path) -> dict[str, str]:
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from None


def _named_model(name: str) -> dict[str, Any]:
    model_cfg = open_clip.get_model_config(name)
    if model_cfg is None:
        raise WeightsError(f"open_clip knows no model {name!r}. See open_clip.list_models()")
    plain_vit = isinstance(model_cfg["vision_cfg"].get("layers"), int)
    own_text = "hf_tokenizer_name" not in model_cfg["text_cfg"]
    if not plain_vit or not own_text or set(model_cfg) - _MODEL_KEYS:
        raise WeightsError(f"CLIP model {name!r} is no ViT with CLIP's own text tower; use one")
    return model_cfg


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _read_state(path: Path, torchscript: bool) -> dict[str, Tensor]:
    try:
        if torchscript:
            model = open_clip.load_openai_model(str(path), precision="fp32", device="cpu")
            state = model.state_dict()
        else:
            state = load_state_dict(str(path), weights_only=True)
    except Exception as error:  # torch and safetensors raise a dozen types for a broken file
        problem = (str(error).strip() or type(error).__name__).splitlines()[0]
        problem = _TERMINAL_CODES.sub("", problem).partition(". ")[0]
        raise WeightsError(f"{path}: not a readable file of CLIP weights ({problem})") from None
    return {
        k: v.float() if torch.is_tensor(v) and v.is_floating_point() else v
        for k, v in state.items()
    }


def _check_tensors(path: Path, config: dict[str, Any], state: dict[str, Tensor]) -> None:
    # Without memory: a wrong file may state any size.
    with torch.device("meta"):
        expected = build_clip(config).state_dict()
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
