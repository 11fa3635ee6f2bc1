"""Pretrains the toy world's detector: a DETR on boxes and object classes, without any HOI label.

    python -m hoiclip.pretraining.detector --out weights/toy/detector.safetensors

Two helpers stand in for the 500 epochs that DETR takes on COCO: groups of queries and an auxiliary
classification of memory cells. Neither is in the file that HOICLIP loads.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from hoiclip.batches.boxes import cxcywh_to_xyxy, generalized_iou_xyxy, xyxy_to_cxcywh
from hoiclip.batches.transforms import MEAN, STD
from hoiclip.core.config import load
from hoiclip.core.files import atomic_file, write_json
from hoiclip.detr.network import DETR_PREFIXES
from hoiclip.model.config import SetPredictionConfig
from hoiclip.pretraining.corpus import RenderedScene, render_corpus
from hoiclip.pretraining.detection_metrics import average_precision_50
from hoiclip.pretraining.group_detr import GroupDetr, GroupOutputs
from hoiclip.set_prediction.matcher import hungarian
from hoiclip.stage_main import guarded
from hoiclip.toy.world import OBJECTS, SIZE
from hoiclip.util.ranges import BatchSize, Count, Images, Seed, Threads, number

NO_OBJECT_WEIGHT = 0.1


class DetectionBatch:
    """Scenes as tensors: normalised images (B, 3, S, S) and boxes as a flat list with counts."""

    def __init__(self, scenes: list[RenderedScene], flips: np.ndarray) -> None:
        pixels = np.stack(
            [s.image[:, ::-1] if f else s.image for s, f in zip(scenes, flips, strict=True)]
        )
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        self.images = (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[
            :, None, None
        ]
        boxes = []
        for scene, flip in zip(scenes, flips, strict=True):
            box = xyxy_to_cxcywh(torch.from_numpy(scene.boxes_xyxy)) / SIZE
            if flip:
                box[:, 0] = 1 - box[:, 0]
            boxes.append(box)
        self.boxes_cxcywh = torch.cat(boxes)
        self.objects = torch.from_numpy(np.concatenate([s.objects for s in scenes]))
        self.counts = [len(s.objects) for s in scenes]


def _box_losses(predicted: Tensor, target: Tensor) -> Tensor:
    l1 = (predicted - target).abs().sum(-1)
    giou = 1 - generalized_iou_xyxy(cxcywh_to_xyxy(predicted), cxcywh_to_xyxy(target))
    return (5 * l1 + 2 * giou).mean()


def _set_loss(logits: Tensor, boxes: Tensor, batch: DetectionBatch, groups: int) -> Tensor:
    """DETR's loss of one decoder layer; `logits` (G·B, Q, K + 1)."""
    targets, objects = batch.boxes_cxcywh, batch.objects
    cost = (
        -logits.softmax(-1)[..., objects]
        + 5 * torch.cdist(boxes, targets.expand(len(boxes), -1, -1), p=1)
        - 2 * generalized_iou_xyxy(cxcywh_to_xyxy(boxes)[:, :, None], cxcywh_to_xyxy(targets))
    )
    per_group = cost.chunk(groups)
    matches = [hungarian(group, batch.counts) for group in per_group]
    images = torch.cat([m[0] + i * len(batch.counts) for i, m in enumerate(matches)])
    queries, columns = (torch.cat([m[k] for m in matches]) for k in (1, 2))
    classes = torch.full(logits.shape[:2], logits.shape[-1] - 1)
    classes[images, queries] = objects[columns]
    weight = torch.ones(logits.shape[-1])
    weight[-1] = NO_OBJECT_WEIGHT
    classification = F.cross_entropy(logits.flatten(0, 1), classes.flatten(), weight)
    return classification + _box_losses(boxes[images, queries], targets[columns])


def _cell_loss(outputs: GroupOutputs, batch: DetectionBatch) -> Tensor:
    """Each object is told by the memory cell that holds its centre."""
    logits, boxes = outputs.cell_logits, outputs.cell_boxes_cxcywh
    side = round(logits.shape[1] ** 0.5)
    images = torch.repeat_interleave(torch.arange(len(batch.counts)), torch.tensor(batch.counts))
    column, row = (batch.boxes_cxcywh[:, :2] * side).long().clamp(0, side - 1).unbind(-1)
    cells = row * side + column
    classes = torch.full(logits.shape[:2], logits.shape[-1] - 1)
    classes[images, cells] = batch.objects
    weight = torch.ones(logits.shape[-1])
    weight[-1] = NO_OBJECT_WEIGHT
    classification = F.cross_entropy(logits.flatten(0, 1), classes.flatten(), weight)
    return classification + _box_losses(boxes[images, cells], batch.boxes_cxcywh)


def detection_loss(outputs: GroupOutputs, batch: DetectionBatch, groups: int) -> Tensor:
    """Sum over decoder layers of the set loss, and the cells' auxiliary loss."""
    layers = zip(outputs.logits, outputs.boxes_cxcywh, strict=True)
    return sum(_set_loss(*layer, batch, groups) for layer in layers) + _cell_loss(outputs, batch)


@torch.no_grad()
def evaluate(model: GroupDetr, scenes: list[RenderedScene]) -> dict[str, float]:
    """Box AP at IoU 0.5 in percent: per class, their mean, and cell accuracy."""
    model.eval()
    detections = []
    for start in range(0, len(scenes), 50):
        batch = DetectionBatch(
            scenes[start : start + 50], np.zeros(50, bool)[: len(scenes) - start]
        )
        outputs = model(batch.images)
        probability = outputs.logits[-1].softmax(-1)[..., :-1]
        boxes_xyxy = cxcywh_to_xyxy(outputs.boxes_cxcywh[-1]) * SIZE
        detections += list(zip(probability.numpy(), boxes_xyxy.numpy(), strict=True))
    per_class = average_precision_50(
        detections, [(s.objects, s.boxes_xyxy) for s in scenes], len(OBJECTS)
    )
    figures = {f"ap50_{name}": float(ap) for name, ap in zip(OBJECTS, per_class, strict=True)}
    return {"ap50": float(np.mean(per_class)), **figures}


def _save(model: GroupDetr, out: Path, header: dict) -> None:
    """Writes the weights under DETR's names; matrices in half precision, for a small file."""
    state = {}
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        for detr_prefix, ours in DETR_PREFIXES.items():
            if name.startswith(ours):
                half = tensor.half() if tensor.dim() > 1 else tensor
                state[detr_prefix + name.removeprefix(ours)] = half.contiguous()
    with atomic_file(out) as aside:
        save_file(state, aside, metadata={"hoiclip": json.dumps(header, sort_keys=True)})


def pretrain(
    out: Path, *, seed: int, scenes: int, steps: int, batch_size: int, threads: int
) -> dict:
    """Trains the detector and writes its weights and figures beside them.

    Args:
        out: the safetensors file to write; figures go to the same name with `.json`.
        seed: of initialisation, order and the corpus.
        scenes: size of the rendered corpus.
        steps: optimiser steps.
        batch_size: scenes per step.
        threads: CPU threads.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    config = load(SetPredictionConfig, "model")
    model = GroupDetr(
        config.detector, config.decoder_layers, len(OBJECTS), num_queries=16, groups=3
    )
    corpus = render_corpus(scenes, seed=seed, workers=threads)
    held_out = render_corpus(500, seed=seed + 1, workers=threads)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=8e-4, total_steps=steps, pct_start=0.05
    )
    started = time.monotonic()
    model.train()
    for step in range(1, steps + 1):
        chosen = rng.integers(scenes, size=batch_size)
        batch = DetectionBatch([corpus[i] for i in chosen], rng.random(batch_size) < 0.5)
        loss = detection_loss(model(batch.images), batch, model.groups)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            pace = (time.monotonic() - started) / step
            print(f"step {step}/{steps}  loss {loss.item():.3f}  {pace:.3f} s/step", flush=True)
        if step % 500 == 0 or step == steps:
            figures = evaluate(model, held_out)
            header = {
                "kind": "detr",
                "objects": list(OBJECTS),
                "seed": seed,
                "scenes": scenes,
                "steps": step,
                "batch_size": batch_size,
                "threads": threads,
                "machine": f"{platform.machine()}, torch {torch.__version__}",
                "figures": figures,
            }
            _save(model, out, header)
            seconds = round(time.monotonic() - started)
            write_json(out.with_suffix(".json"), {**header, "seconds": seconds})
            print(f"step {step}: AP50 {figures['ap50']:.1f}", flush=True)
            model.train()
    return figures


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=number(Seed), default=7)
    parser.add_argument("--scenes", type=number(Images), default=24000)
    parser.add_argument("--steps", type=number(Count), default=6000)
    parser.add_argument("--batch-size", type=number(BatchSize), default=16)
    parser.add_argument("--threads", type=number(Threads), default=1)
    arguments = vars(parser.parse_args())
    sys.exit(guarded(lambda: pretrain(arguments.pop("out"), **arguments)))


if __name__ == "__main__":
    main()
