"""Foreign checkpoints for `hoiclip convert`."""

from __future__ import annotations

import copy
import io
import warnings
import zipfile
from functools import cache

import torch
from case import Case
from damage import damaged_bytes, damaged_document
from fake_checkpoint import Sizes, detr_shapes, official_file, random_state
from fake_gen_vlkt import gen_vlkt_file
from hypothesis import strategies as st
from layouts import HICO

from hoiclip.catalog.vocabularies import vcoco
from hoiclip.clip.encoder import build_clip

CLIP = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 64, "layers": 1},
    "text_cfg": {"context_length": 8, "vocab_size": 9, "width": 64, "heads": 1, "layers": 1},
}
"""The CLIP that open_clip is made to know as `tiny`."""


@cache
def checkpoints():
    """Content and its file's suffix once converted, by name."""
    torch.manual_seed(0)
    state = random_state(detr_shapes(Sizes(heads=8), 2))
    start = state | {"obj_class_embed.bias": torch.zeros(2)}
    verbs = torch.nn.functional.normalize(torch.randn(HICO.num_verbs, 8), dim=-1)
    return {
        "detr": ({"model": state, "args": {"nheads": 8}}, "safetensors"),
        "official": (official_file(), "safetensors"),
        "official_vcoco": (official_file(setting="vcoco"), "safetensors"),
        "gen_vlkt": (gen_vlkt_file(setting="unseen_verb"), "safetensors"),
        "start": ({"model": start}, "safetensors"),
        "clip": ({"state_dict": build_clip({"model_cfg": CLIP}).state_dict()}, "safetensors"),
        "verb": (verbs, "parquet"),
        "vcoco_verb": (torch.randn(vcoco().num_verbs, 8) * 9, "parquet"),
    }


STRANGE_TENSORS = [
    lambda t: t * float("nan"), lambda t: t.reshape(-1)[:0], lambda t: t[None], lambda t: t.half(),
    lambda t: t.long(), lambda t: t.bool(), lambda t: t.to(torch.complex64), lambda t: t.T,
    lambda t: torch.zeros(1).expand(1 << 40), lambda t: t.flatten()[:1], lambda t: t.to_sparse(),
    lambda t: torch.zeros(3, 5, 0), lambda t: torch.tensor(1.0), lambda t: t * 1e30,
    lambda t: None, lambda t: "x", lambda t: {"a": t}, lambda t: 10**400, lambda t: [t],
]  # fmt: skip


@st.composite
def damaged_state(draw, state, plain=False):
    """A state dict after up to three changes; `plain` keeps what safetensors can hold."""
    state = dict(state)
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(sorted(state)))
        kind = draw(st.sampled_from(["change", "delete", "rename", "more"]))
        if kind == "change":
            change = draw(st.sampled_from(STRANGE_TENSORS))
            small = torch.is_tensor(state[name]) and state[name].numel() < 1 << 30
            value = change(state[name]) if small else None
            if not plain:
                state[name] = value
            elif torch.is_tensor(value) and value.numel() < 1 << 20 and not value.is_sparse:
                state[name] = value.clone().contiguous()
        elif kind == "delete" and len(state) > 1:
            del state[name]
        elif kind == "rename":
            new = draw(st.sampled_from(["x", "", "module." + name, name + ".0", name.upper()]))
            state[new] = state.pop(name)
        else:
            state[draw(st.sampled_from(["extra", "transformer.decoder.layers.9999.x"]))] = (
                torch.zeros(1)
            )
    return state


@st.composite
def damaged_checkpoint(draw):
    """Bytes and the suffix of what is asked for."""
    name = draw(st.sampled_from([*sorted(checkpoints()), "torchscript"]))
    if name == "torchscript":
        return draw(damaged_torchscript()), "safetensors"
    content, suffix = checkpoints()[name]
    if torch.is_tensor(content):
        if draw(st.booleans()):
            content = draw(st.sampled_from(STRANGE_TENSORS))(content)
    else:
        key = next(k for k in ("model", "state_dict") if k in content)
        changed = draw(damaged_state(content[key]))
        wrapper = draw(st.sampled_from([key, "model", "model_state_dict", "state_dict", None, "x"]))
        rest = {k: v for k, v in content.items() if k != key}
        if "args" in rest and draw(st.booleans()):
            rest["args"] = draw(damaged_document(_plain(rest["args"])))
        content = changed if wrapper is None else rest | {wrapper: changed}
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=draw(st.integers(0, 4)) > 0)
    return draw(damaged_bytes(file.getvalue(), rarely=draw(st.booleans()))), suffix


def _plain(args):
    return copy.copy(args if isinstance(args, dict) else vars(args))


@cache
def torchscript_file():
    """A small CLIP as OpenAI's are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = build_clip({"model_cfg": CLIP}).eval()
        example = (torch.zeros(2, 3, 32, 32), torch.ones(2, 8, dtype=torch.long))
        file = io.BytesIO()
        torch.jit.save(torch.jit.trace(model, example, check_trace=False), file)
    return file.getvalue()


@st.composite
def damaged_torchscript(draw):
    whole = torchscript_file()
    if draw(st.booleans()):
        return draw(damaged_bytes(whole, rarely=draw(st.booleans())))
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(file, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename.endswith("/data.pkl"):
                data = draw(damaged_bytes(data))
            new.writestr(info.filename, data)
    return file.getvalue()


@st.composite
def conversions(draw):
    data, suffix = draw(damaged_checkpoint())
    options = ["--clip-model", "tiny"] * draw(st.booleans())
    if draw(st.integers(0, 3)) == 0:
        options += [
            "--kind",
            draw(st.sampled_from(["official", "gen_vlkt", "detr", "clip", "verb"])),
        ]
    arguments = ["convert", "a.pth", f"out.{suffix}", *options]
    return Case("checkpoints", "hoiclip", arguments, {"a.pth": data})
