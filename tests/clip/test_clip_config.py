"""Headers of CLIP and DETR files: every ViT of open_clip is in range, nonsense is one line."""

from __future__ import annotations

import json
import time

import open_clip
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import load_file, save_file

from hoiclip.checkpoints.clip import load_clip, save_clip
from hoiclip.clip.config import check_clip_config
from hoiclip.clip.encoder import build_clip
from hoiclip.core import schema
from hoiclip.detr.file import DETR_HEADER, read_detr
from hoiclip.errors import InputError, ParamsError, WeightsError
from hoiclip.model.tensors import read_safetensors

NAN = float("nan")


def plain_vits():
    for name in open_clip.list_models():
        model = open_clip.get_model_config(name)
        whole = isinstance(model["vision_cfg"].get("layers"), int)
        own = set(model) <= {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}
        if whole and own and "hf_tokenizer_name" not in model["text_cfg"]:
            yield name, model


def test_every_plain_vit_of_open_clip_is_in_range(clip_config):
    names = []
    for name, model in plain_vits():
        check_clip_config({"model_cfg": model})
        names.append(name)
    assert {"ViT-B-32-quickgelu", "ViT-L-14-336", "ViT-bigG-14"} <= set(names)
    check_clip_config(clip_config)


def vision(header):
    return header["model_cfg"]["vision_cfg"]


@pytest.fixture
def saved(tmp_path, clip_config):
    path = tmp_path / "clip.safetensors"
    save_clip(path, clip_config, build_clip(clip_config).state_dict(), {})
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: vision(h).update(width=16_384), "shape|missing"),
        (lambda h: vision(h).update(width=10**12), "width: 1000000000000, expected at least 1"),
        (lambda h: vision(h).update(layers=128), "more layers than the file has tensors"),
        (lambda h: vision(h).update(mlp_ratio=NAN), "mlp_ratio: nan"),
        (lambda h: vision(h).update(timm_model_name="x"), "timm_model_name: unknown key"),
        (lambda h: h["model_cfg"]["text_cfg"].update(hf_model_name="x"), "hf_model_name: unknown"),
        (lambda h: h["model_cfg"]["text_cfg"].update(vocab_size=10**9), "vocab_size: 1000000000"),
        (lambda h: h["model_cfg"]["text_cfg"].update(heads=3), "heads: 3 do not divide 8"),
        (lambda h: h.update(token_ids=[-1]), r"token_ids\[0\]: -1"),
        (lambda h: h.clear(), "model_cfg: missing"),
    ],
)
def test_a_header_out_of_range_is_one_line_at_once(saved, change, message):
    started = time.monotonic()
    header = json.loads(read_safetensors(saved)[1]["clip_config"])
    change(header)
    save_file(load_file(saved), saved, {"clip_config": json.dumps(header)})
    with pytest.raises(WeightsError, match=message) as info:
        load_clip(saved)
    assert str(info.value).startswith(f"{saved}: ")
    assert "\n" not in str(info.value)
    assert time.monotonic() - started < 20


TEXTS = ["", "{", "[]", "7", "null", "[" * 100_000, "9" * 5000, '{"model_cfg": NaN}']


@pytest.mark.parametrize("text", TEXTS)
def test_a_header_that_is_no_configuration_is_one_line(saved, text):
    save_file(load_file(saved), saved, {"clip_config": text})
    with pytest.raises(WeightsError, match="its header is not of a CLIP") as info:
        load_clip(saved)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("text", [text for text in TEXTS if "model_cfg" not in text])
def test_a_detrs_header_likewise(tmp_path, model_config, text):
    path = tmp_path / "detr.safetensors"
    save_file({"a": torch.zeros(1)}, path, {DETR_HEADER: text})
    with pytest.raises(WeightsError, match="its header is not of a DETR"):
        read_detr(path, model_config.detector)
    save_file({"a": torch.zeros(1)}, path, {DETR_HEADER: '{"model_detector": {"width": NaN}}'})
    with pytest.raises(WeightsError, match="a DETR with width nan"):
        read_detr(path, model_config.detector)


def test_a_tables_footer_likewise(tmp_path):
    path, columns = tmp_path / "a.parquet", pa.schema([("a", pa.int64())])
    schema.write_table(path, columns.empty_table(), columns, {"b": 1})
    assert schema.read_provenance(path) == {"b": 1}
    for text in (b"{", b"[" * 100_000):
        footer = {schema.PROVENANCE_KEY: text}
        pa.parquet.write_table(columns.empty_table().replace_schema_metadata(footer), path)
        with pytest.raises(InputError, match="its footer is not valid JSON"):
            schema.read_provenance(path)


def test_stems_need_patches_that_halve(clip_config):
    good = {**clip_config, "conv_stem": True}
    check_clip_config(good)
    for patch in (1, 3, 12):
        tower = {**clip_config["model_cfg"]["vision_cfg"], "patch_size": patch}
        bad = {**good, "model_cfg": {**clip_config["model_cfg"], "vision_cfg": tower}}
        with pytest.raises(ParamsError, match="conv_stem: patch_size"):
            check_clip_config(bad)
