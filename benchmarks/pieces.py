"""Times pieces of the network, and what memory they take, written by hand and in PyTorch's forms.

Run from the repository root: `python -m benchmarks.pieces [--out benchmarks/pieces.json]`.

Every piece does a forward and a backward pass in training, with dropout 0.1, at the released sizes
(two images of 800 x 1066: 850 cells, width 256, 8 heads, hidden width 2048, ResNet-50), float32:

- `attention`: self-attention of an encoder layer.
- `dropout`, `relu + dropout`: of a feed-forward block's hidden features.
- `backbone`: ResNet-50 in channels_last, frozen as in training, with each form of its frozen norm.
- `encoder`: six layers with all of these, and with each layer computed again in the backward pass.
- `network`: HOICLIP after CLIP's tower, to the sum of its squared outputs.

Forms: `hand-made` is `benchmarks/handmade.py`; `plain` PyTorch's modules; `two steps` norms by
x * scale + shift, as DETR does; `addcmul`, which the network has, by one operation for both, so
that autograd keeps no activation; `checkpoint` is `model.detector.checkpoint_encoder`.

Every form has a process of its own; they take turns, so that other load on the machine falls on all
alike. Figures are medians; `x plain` is the median of a form's CPU seconds by those of `plain` in
the same turn. `kept` is what autograd holds between the passes, parameters left out, `peak` the
highest resident memory above what the process held before.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import handmade
from benchmarks.machine import machine
from benchmarks.network import Process, build
from benchmarks.network_inputs import SIZES, Batch, Size, configs
from hoiclip.core.files import write_json
from hoiclip.methods.hoiclip.model import interaction_decoder
from hoiclip.model import layers, transformer
from hoiclip.model.detector_encoder import DetectorEncoder
from hoiclip.util.ranges import Count, Threads, number

FORMS = {
    "attention": ("plain", "hand-made"),
    "dropout": ("plain", "hand-made"),
    "relu + dropout": ("plain", "hand-made"),
    "backbone": ("plain", "hand-made", "two steps", "addcmul"),
    "encoder": ("plain", "hand-made", "checkpoint"),
    "network": ("plain", "hand-made", "addcmul", "addcmul, checkpoint"),
}
DROPOUT = 0.1
COLUMNS = ("seconds", "CPU s", "kept MB", "peak MB")


def handmade_feed_forward(block: layers.FeedForwardBlock, x: Tensor) -> Tensor:
    hidden = handmade.relu_dropout(block.linear1(x), DROPOUT)
    return handmade.dropout(block.linear2(hidden), DROPOUT)


def plain_relu_dropout(x: Tensor, probability: float) -> Tensor:
    return F.dropout(F.relu(x), probability)


def statistics_of(norm: nn.Module) -> tuple[Tensor, ...]:
    return norm.running_mean, norm.running_var, norm.weight, norm.bias


def two_steps(norm: nn.Module, x: Tensor) -> Tensor:
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    shift = norm.bias - norm.running_mean * scale
    return x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


NORMS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "plain": lambda norm, x: F.batch_norm(x, *statistics_of(norm), eps=norm.eps),
    "hand-made": lambda norm, x: handmade.batch_norm(x, *statistics_of(norm), norm.eps),
    "two steps": two_steps,
    "addcmul": layers.FrozenBatchNorm2d.forward,
}


def use(form: str) -> None:
    """Makes this process's networks consist of a form's pieces."""
    layers.FrozenBatchNorm2d.forward = NORMS.get(form.split(",")[0], NORMS["addcmul"])
    if form == "hand-made":
        transformer.attend = interaction_decoder.attend = handmade.attend
        layers.FeedForwardBlock.feed_forward = handmade_feed_forward


def work_of(piece: str, form: str, size: Size) -> Callable[[], Tensor]:
    """The forward pass of a piece in a form; the function returns what is then differentiated."""
    torch.manual_seed(0)
    use(form)
    config, _ = configs(size)
    detector, batch = config.detector, Batch.make(size)
    cells = (size.image[0] // 32) * -(-size.image[1] // 32)
    tokens, position = torch.randn(2, 2, cells, detector.width)
    if piece == "attention":
        module = nn.MultiheadAttention(detector.width, detector.heads, DROPOUT, batch_first=True)
        tokens.requires_grad_()
        return lambda: transformer.attend(module, tokens + position, tokens + position, tokens)
    if piece in ("dropout", "relu + dropout"):
        hidden = torch.randn(2, cells, detector.feed_forward, requires_grad=True)
        plain = F.dropout if piece == "dropout" else plain_relu_dropout
        by_hand = handmade.dropout if piece == "dropout" else handmade.relu_dropout
        return partial(plain if form == "plain" else by_hand, hidden, DROPOUT)
    if piece == "network":
        model, clip = build("hoiclip", size)
        train_as_released(model.train().encoder)
        model.encoder.transformer.checkpoint_layers = "checkpoint" in form
        features = clip.encode_image_tokens(batch.pixels)

        def network() -> Tensor:
            outputs = model(batch.images, batch.mask, *features)
            return sum(x.square().sum() for x in vars(outputs).values() if x is not None)

        return network
    encoder = DetectorEncoder(detector).train()
    if piece == "backbone":
        train_as_released(encoder)
        return partial(encoder.backbone, batch.images)
    tokens.requires_grad_()
    encoder.transformer.checkpoint_layers = "checkpoint" in form
    return lambda: encoder.transformer(tokens, position, None).tokens


def train_as_released(encoder: DetectorEncoder) -> None:
    """Stem and first stage are not trained."""
    for module in encoder.backbone.frozen_part():
        module.requires_grad_(False)


def step_of(piece: str, form: str, size: str) -> Callable[[], float]:
    """One forward and backward pass of a piece; returns MB kept between them."""
    forward = work_of(piece, form, SIZES[size])

    def step() -> float:
        with kept_tensors() as kept:
            output = forward()
        output.backward(torch.ones_like(output))
        return sum(kept.values()) / 2**20

    return step


@contextmanager
def kept_tensors() -> Iterator[dict[int, int]]:
    """Bytes by address of what autograd keeps, parameters left out."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept


def compare(piece: str, size: str, threads: int, repeat: int) -> dict[str, dict[str, float]]:
    """Figures of every form of a piece."""
    processes = {form: Process(step_of, (piece, form, size), threads) for form in FORMS[piece]}
    for _ in range(repeat):
        for process in processes.values():
            process.measure()
    plain = processes["plain"].cpu_seconds
    rows = {}
    for form, process in processes.items():
        ratios = [a / b for a, b in zip(process.cpu_seconds, plain, strict=True)]
        row = process.finish()
        rows[form] = {
            "seconds": row["seconds"],
            "CPU s": row["CPU s"],
            "kept MB": process.first,
            "peak MB": row["peak MB"] - row["held MB"],
            "x plain": statistics.median(ratios),
        }
    for row in rows.values():
        row["x peak"] = row["peak MB"] / rows["plain"]["peak MB"]
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=number(Threads), default=1, help="(default: 1)")
    parser.add_argument("--repeat", type=number(Count), default=5, help="turns (default: 5)")
    parser.add_argument("--piece", choices=FORMS, nargs="+", default=list(FORMS))
    parser.add_argument("--size", choices=SIZES, default="released")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    args = parser.parse_args(arguments)
    found = {"machine": machine(), "threads": args.threads, "repeat": args.repeat, "pieces": {}}
    columns = (*COLUMNS, "x plain", "x peak")
    print(f"{'piece':15}{'form':21}", *(f"{name:>8}" for name in columns))
    for piece in args.piece:
        rows = compare(piece, args.size, args.threads, args.repeat)
        for form, row in rows.items():
            print(f"{piece:15}{form:21}", *(f"{row[c]:8.3f}" for c in columns), flush=True)
        found["pieces"][piece] = {
            form: {c: round(value, 4) for c, value in row.items()} for form, row in rows.items()
        }
    if args.out:
        write_json(args.out, found)


if __name__ == "__main__":
    main()
