"""Contrastive pretraining of the toy world's CLIP: `python -m hoiclip.pretraining.clip --out FILE`.

A small open_clip model learns from rendered scenes and their captions. The corpus shows all (verb,
object) combinations, as the web shows them to the real CLIP, and none of the data set's images.
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from hoiclip.clip_encoder import OPENAI_MEAN, OPENAI_STD, ClipEncoder, build_clip, compact_tokens
from hoiclip.clip_weights import save_clip
from hoiclip.crops import crop, enclosing_box
from hoiclip.files import sha256_file, write_json
from hoiclip.pretraining.clip_batches import Captions, pair_captions, sample_batch
from hoiclip.pretraining.corpus import RenderedScene, render_corpus
from hoiclip.toy.world import ALL_COMBINATIONS, SIZE

_MAX_LOGIT_SCALE = math.log(100.0)


@dataclass(frozen=True)
class ClipPretraining:
    """Settings; a budget is a number of steps, so that the same settings give the same weights."""

    seed: int = 0
    scenes: int = 24_000
    held_out_scenes: int = 800
    steps: int = 3_000
    batch_size: int = 128
    lr: float = 1e-3
    text_lr_factor: float = 0.1
    weight_decay: float = 0.05
    warmup_steps: int = 200
    save_every: int = 400
    width: int = 128
    layers: int = 3
    embed_dim: int = 128


def model_config(settings: ClipPretraining, captions: list[str]) -> dict[str, Any]:
    """Configuration of the toy CLIP, whose text tower knows the tokens of `captions` only."""
    context = 16
    tokens = open_clip.SimpleTokenizer(context_length=context)(captions)
    token_ids = tokens.unique().tolist()
    return {
        "model_cfg": {
            "embed_dim": settings.embed_dim,
            "vision_cfg": {
                "image_size": SIZE,
                "patch_size": 16,
                "width": settings.width,
                "layers": settings.layers,
                "head_width": 32,
                "pool_type": "avg",
            },
            "text_cfg": {
                "context_length": context,
                "vocab_size": len(token_ids),
                "width": 64,
                "heads": 2,
                "layers": 2,
            },
        },
        "conv_stem": True,
        "mean": list(OPENAI_MEAN),
        "std": list(OPENAI_STD),
        "token_ids": token_ids,
    }


def contrastive_loss(logits: Tensor, positive: Tensor, also_true: Tensor) -> Tensor:
    """Symmetric contrastive loss where a picture has several captions and a caption several pictures.

    Each positive competes with the negatives of its row (picture to captions) and of its column
    (caption to pictures), never with another positive; captions that are true but not asked for
    take no part. With one positive a row this is CLIP's loss.

    Args:
        logits: (B, C) scaled cosines.
        positive: (B, C) bool, at least one in every row.
        also_true: (B, C) bool, disjoint from `positive`.

    Returns:
        Mean over pictures, plus mean over captions that have a picture, halved.
    """
    negatives = logits.masked_fill(positive | also_true, float("-inf"))
    terms = []
    for dim in (1, 0):
        rivals = negatives.logsumexp(dim, keepdim=True)
        count = positive.sum(dim)
        each = (F.softplus(rivals - logits) * positive).sum(dim)
        terms.append((each / count.clamp(min=1)).sum() / (count > 0).sum())
    return (terms[0] + terms[1]) / 2


def new_model(config: dict[str, Any]) -> open_clip.CLIP:
    """A fresh model whose captions start apart.

    With open_clip's small initial embeddings such similar captions all but coincide, and training
    stays at chance for hundreds of steps.
    """
    model = build_clip(config)
    torch.nn.init.normal_(model.token_embedding.weight, std=0.3)
    return model


def make_optimizer(model: open_clip.CLIP, settings: ClipPretraining) -> torch.optim.AdamW:
    """AdamW; vectors and scalars do not decay, the text tower learns slower."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        text = not name.startswith("visual.") and name != "logit_scale"
        groups.setdefault((text, parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": settings.lr * (settings.text_lr_factor if text else 1.0),
                "weight_decay": settings.weight_decay if decays else 0.0,
            }
            for (text, decays), parameters in groups.items()
        ]
    )


def schedule(step: int, settings: ClipPretraining) -> float:
    """Factor on the learning rates: linear warm-up, then half a cosine down to zero."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    progress = (step - settings.warmup_steps) / max(settings.steps - settings.warmup_steps, 1)
    return 0.5 * (1 + math.cos(math.pi * progress))


def evaluate(encoder: ClipEncoder, scenes: list[RenderedScene]) -> dict[str, float]:
    """Zero-shot figures in 0..1 on `scenes`.

    `hoi` and `verb`: crops of pairs, the best of all HOI captions (its verb); `verb_prompt`: the
    best verb caption; `object`: crops of entities, the best object caption; `image_p1`: whole
    images, the best HOI caption is true; `image_r5`: share of a whole image's HOI classes among
    the best five.
    """
    captions = Captions()
    text = encoder.encode_text(captions.texts)
    hits: dict[str, list[float]] = {}

    def best(pictures: Iterable[Image.Image], among: list[int], k: int = 1) -> np.ndarray:
        pixels = torch.stack([encoder.preprocess(picture) for picture in pictures])
        features = F.normalize(encoder.encode_image(pixels), dim=-1)
        return (features @ text[among].T).topk(k).indices.numpy()

    for scene in scenes:
        image = Image.fromarray(scene.image)
        truth = [pair_captions(scene, pair, captions)[0] for pair in scene.pairs]
        unions = [
            crop(image, enclosing_box(scene.boxes_xyxy[[pair.human, pair.object]]))
            for pair in scene.pairs
        ]
        for pair, true, top in zip(scene.pairs, truth, best(unions, captions.hoi), strict=True):
            hits.setdefault("hoi", []).append(captions.hoi[top[0]] in true)
            hits.setdefault("verb", []).append(ALL_COMBINATIONS[top[0]][0] in pair.verbs)
        for pair, top in zip(scene.pairs, best(unions, captions.verb), strict=True):
            hits.setdefault("verb_prompt", []).append(top[0] in pair.verbs)
        entities = [crop(image, box) for box in scene.boxes_xyxy]
        for category, top in zip(scene.objects, best(entities, captions.object), strict=True):
            hits.setdefault("object", []).append(top[0] == category)
        shown = {caption for true in truth for caption in true}
        top = [captions.hoi[i] for i in best([image], captions.hoi, k=5)[0]]
        hits.setdefault("image_p1", []).append(top[0] in shown)
        hits.setdefault("image_r5", []).append(len(shown.intersection(top)) / len(shown))
    return {name: float(np.mean(values)) for name, values in hits.items()}


def pretrain(settings: ClipPretraining, out: Path) -> dict[str, float]:
    """Trains, writes `out` and, beside it, its figures as JSON; returns the final figures.

    Every `save_every` steps the state so far is written too.
    """
    torch.manual_seed(settings.seed)
    torch.use_deterministic_algorithms(True)
    start = time.monotonic()
    scenes = render_corpus(settings.scenes, seed=settings.seed)
    held_out = render_corpus(settings.held_out_scenes, seed=settings.seed + 1)
    captions = Captions()
    config = model_config(settings, captions.texts)
    model = new_model(config)
    preprocessor = ClipEncoder(config).visual()
    tokens = open_clip.SimpleTokenizer(context_length=model.context_length)(captions.texts)
    tokens = compact_tokens(tokens, captions.texts, config["token_ids"])
    optimizer = make_optimizer(model, settings)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: schedule(s, settings))
    rng = np.random.default_rng(settings.seed)
    figures: dict[str, float] = {}
    running = 0.0
    for step in range(1, settings.steps + 1):
        batch = sample_batch(rng, scenes, captions, preprocessor, settings.batch_size)
        image = F.normalize(model.encode_image(batch.pixels), dim=-1)
        text = model.encode_text(tokens, normalize=True)
        logits = model.logit_scale.exp() * image @ text.T
        loss = contrastive_loss(logits, batch.positive, batch.also_true)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0.0, _MAX_LOGIT_SCALE)
        running += loss.item()
        if step % 50 == 0:
            seconds = time.monotonic() - start
            print(f"step {step} loss {running / 50:.3f} after {seconds:.0f} s", file=sys.stderr)
            running = 0.0
        if step % settings.save_every == 0 or step == settings.steps:
            figures = evaluate(ClipEncoder(config, copy.deepcopy(model)), held_out)
            print(f"step {step} {figures}", file=sys.stderr)
            card = {"settings": asdict(settings), "steps_done": step, "held_out": figures}
            save_clip(out, config, model.state_dict(), card)
            duration = {"seconds": round(time.monotonic() - start), "sha256": sha256_file(out)}
            write_json(out.with_suffix(".json"), card | duration)
    return figures


def main() -> None:
    """Command line."""
    defaults = ClipPretraining()
    parser = argparse.ArgumentParser(description="Pretrain the toy world's CLIP.")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    for name, value in asdict(defaults).items():
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=type(value), default=value, help=f"default {value}")
    arguments = vars(parser.parse_args())
    out = arguments.pop("out")
    pretrain(ClipPretraining(**arguments), out)


if __name__ == "__main__":
    main()
