"""Contrastive pretraining of the toy world's CLIP: `python -m hoiclip.pretraining.clip --out FILE`.

A small open_clip model learns from rendered scenes and their captions. The corpus shows all (verb,
object) combinations, as the web shows them to the real CLIP, and none of the data set's images.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import typing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from hoiclip.checkpoints.clip import save_clip
from hoiclip.clip.encoder import OPENAI_MEAN, OPENAI_STD, ClipEncoder, build_clip, compact_tokens
from hoiclip.core.files import sha256_file, write_json
from hoiclip.pretraining.clip_batches import Captions, sample_batch
from hoiclip.pretraining.clip_figures import evaluate
from hoiclip.pretraining.corpus import RenderedScene, render_corpus
from hoiclip.progress import say, track
from hoiclip.stage_main import guarded
from hoiclip.toy.world import ALL_COMBINATIONS, SIZE
from hoiclip.util.ranges import (
    BatchSize,
    Config,
    Count,
    CountOrZero,
    Images,
    Layers,
    Rate,
    Seed,
    Width,
    number,
)

_MAX_LOGIT_SCALE = math.log(100.0)


@dataclass(frozen=True)
class ClipPretraining(Config):
    """Settings; a budget is a number of steps, so that the same settings give the same weights."""

    seed: Seed = 0
    scenes: Images = 20_000
    held_out_scenes: Images = 500
    steps: Count = 2_400
    batch_size: BatchSize = 128
    lr: Rate = 1e-3
    text_lr_factor: Rate = 0.1
    weight_decay: Rate = 0.05
    warmup_steps: CountOrZero = 200
    save_every: Count = 300
    width: Width = 128
    layers: Layers = 3
    embed_dim: Width = 128
    bfloat16: bool = True


def model_config(settings: ClipPretraining, captions: list[str]) -> dict[str, Any]:
    """Configuration of the toy CLIP, whose text tower knows the tokens of `captions` only."""
    context = 16
    tokens = open_clip.tokenize(captions, context)
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
    """Symmetric contrastive loss with several captions a picture, several pictures a caption.

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
    # Finite, since the gradient of a logsumexp without any rival would not be.
    negatives = logits.masked_fill(positive | also_true, -1e4)
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


def pretrain(settings: ClipPretraining, out: Path) -> dict[str, float]:
    """Trains, writes `out` and, beside it, its figures as JSON; returns the final figures.

    Every `save_every` steps the state so far is written too. Equal settings give equal weights on
    one machine; the number of threads is one.
    """
    torch.manual_seed(settings.seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    scenes = render_corpus(settings.scenes, seed=settings.seed)
    held_out = render_corpus(settings.held_out_scenes, seed=settings.seed + 1)
    captions = Captions()
    config = model_config(settings, captions.texts)
    model = new_model(config)
    preprocessor = ClipEncoder(config).visual()
    tokens = open_clip.tokenize(captions.texts, model.context_length)
    tokens = compact_tokens(tokens, captions.texts, config["token_ids"])
    optimizer = make_optimizer(model, settings)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: schedule(s, settings))
    rng = np.random.default_rng(settings.seed)
    figures: dict[str, float] = {}
    for step in track(range(1, settings.steps + 1), "steps"):
        batch = sample_batch(rng, scenes, captions, preprocessor, settings.batch_size)
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
            image = model.encode_image(batch.pixels)
        image = F.normalize(image.float(), dim=-1)
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
        if step % settings.save_every == 0 or step == settings.steps:
            figures = write(out, settings, step, config, model.state_dict(), held_out)
            say(f"step {step}: loss {loss.item():.3f}, {figures}")
    return figures


def write(
    out: Path,
    settings: ClipPretraining,
    step: int,
    config: dict[str, Any],
    state: dict[str, Tensor],
    held_out: list[RenderedScene],
) -> dict[str, float]:
    """Writes the model with its matrices in half precision, and the figures of what was written."""
    state = {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in state.items()}
    stored = build_clip(config)
    stored.load_state_dict(state)
    figures = evaluate(ClipEncoder(config, stored), held_out)
    card = {
        "data": f"{settings.scenes} rendered scenes, none of them in the data set; all "
        f"{len(ALL_COMBINATIONS)} combinations of verb and object, equally likely",
        "settings": asdict(settings),
        "steps_done": step,
        "held_out": {"scenes": settings.held_out_scenes} | figures,
    }
    save_clip(out, config, state, card)
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = round(sum(u.ru_utime + u.ru_stime for u in usage))
    write_json(
        out.with_suffix(".json"), card | {"cpu_seconds": seconds, "sha256": sha256_file(out)}
    )
    return figures


def main() -> None:
    """Command line."""
    defaults = ClipPretraining()
    parser = argparse.ArgumentParser(description="Pretrain the toy world's CLIP.")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    hints = typing.get_type_hints(ClipPretraining, include_extras=True)
    for name, value in asdict(defaults).items():
        option = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            parser.add_argument(option, action=argparse.BooleanOptionalAction, default=value)
        else:
            kind = number(hints[name])
            parser.add_argument(option, type=kind, default=value, help=f"default {value}")
    arguments = vars(parser.parse_args())
    out = arguments.pop("out")
    sys.exit(guarded(lambda: pretrain(ClipPretraining(**arguments), out)))


if __name__ == "__main__":
    main()
