"""Times the network, and what memory it takes, against a plain transcription of it.

Run from the repository root: `python -m benchmarks.network [--threads 2] [--repeat 5]`.

Both networks (`HOICLIP` with CLIP's image tower, and `plain_network.py`) have
the released sizes and equal weights: ResNet-50, width 256, 6 + 3 + 3 layers, 64 pairs of queries,
ViT-B/32, 600 HOI classes, two images of 800 x 1066, float32, CPU. Two works are measured:

- `forward`: CLIP's tower and the network in inference; the outputs must agree to 1e-4.
- `train`: CLIP's tower, the network with dropout, matching and losses, backward, gradient clipping,
  AdamW. The order is that of `hoiclip.training.trainer`, for the plain network DETR's, which keeps
  the gradients until the next backward pass. Matching and losses are the project's for both.

Every pair (work, network) has a process of its own. `peak MB` is its highest resident memory, all
included; `held MB` the same before the first run: libraries and weights, which are equal for both.
After a first, uncounted run the two processes take turns, so that other load on the machine falls
on both alike. Times are medians; where the machine is busy, CPU seconds of one thread are the more
robust figure.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from benchmarks.network_inputs import SIZES, Batch, Size, configs, fill, filled_tensors, tables_of
from benchmarks.plain_network import PlainNetwork
from hoiclip.clip.encoder import ClipVisual
from hoiclip.methods.hoiclip.model.network import HOICLIP
from hoiclip.set_prediction.config import TrainConfig
from hoiclip.set_prediction.criterion import Criterion
from hoiclip.set_prediction.matcher import HungarianMatcher
from hoiclip.set_prediction.model.outputs import Outputs
from hoiclip.set_prediction.model.parameter_groups import parameter_groups
from hoiclip.training.optimizer import build_optimizer
from hoiclip.util.ranges import Count, Threads, number

NETWORKS = ("plain", "hoiclip")
WORKS = ("forward", "train")
T = TypeVar("T")


def build(network: str, size: Size) -> tuple[nn.Module, ClipVisual]:
    """A network and CLIP's image tower; both networks get equal weights."""
    torch.manual_seed(0)
    vision = {"embed_dim": size.embed_dim, "quick_gelu": True, "vision_cfg": size.clip}
    clip = ClipVisual({"model_cfg": vision})
    tables, (config, _) = tables_of(size), configs(size)
    if network == "plain":
        model: nn.Module = PlainNetwork(config, tables, clip)
    else:
        model = HOICLIP(config, tables, clip.visual_projection)
    fill(filled_tensors(model))
    return model, clip


def forward_of(network: str, model: nn.Module, clip: ClipVisual) -> Callable[[Batch], Outputs]:
    """The network over a batch, CLIP's tower first."""
    if network == "plain":
        return lambda batch: model(batch.images, batch.mask, batch.pixels)

    def forward(batch: Batch) -> Outputs:
        features = clip.encode_image_tokens(batch.pixels)
        return model(batch.images, batch.mask, features.tokens, features.global_feature)

    return forward


def work_of(network: str, work: str, size: Size) -> Callable[[], dict[str, np.ndarray]]:
    """One forward or one training step, as a function; returns its outputs or its losses."""
    model, clip = build(network, size)
    forward, batch = forward_of(network, model, clip), Batch.make(size)
    if work == "forward":
        model.eval()

        @torch.inference_mode()
        def infer() -> dict[str, np.ndarray]:
            given = vars(forward(batch)).items()
            return {name: value.numpy() for name, value in given if value is not None}

        return infer

    _, config = configs(size)
    _, objects, hois = size.classes
    matcher = HungarianMatcher(config.matching)
    criterion = Criterion(config.loss, matcher, objects + 1, torch.ones(hois, dtype=torch.bool))
    optimizer = optimizer_of(model, config)
    model.train()

    def step() -> dict[str, np.ndarray]:
        losses = criterion(forward(batch), batch.targets)
        if network == "plain":
            optimizer.zero_grad(set_to_none=True)
        losses["total"] = reduce(torch.add, losses.values())
        losses["total"].backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        if network == "hoiclip":
            optimizer.zero_grad(set_to_none=True)
        return {name: value.detach().numpy() for name, value in losses.items()}

    return step


def optimizer_of(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW; the backbone at a rate of its own, its stem and first stage not at all."""
    if isinstance(model, HOICLIP):
        groups = parameter_groups(model, model.encoder.backbone, config)
        return build_optimizer(groups, config)[0]
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    backbone = [p for name, p in trained.items() if name.startswith("backbone.")]
    others = [p for name, p in trained.items() if not name.startswith("backbone.")]
    groups = [{"params": others, "lr": config.lr}, {"params": backbone, "lr": config.lr_backbone}]
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay)


class Process:
    """A process of its own that does one work, again and again.

    Args:
        make: gives the work; called, as `make(*arguments)`, in that process.
        arguments: picklable.
        threads: of PyTorch.
    """

    def __init__(
        self, make: Callable[..., Callable[[], Any]], arguments: tuple[Any, ...], threads: int
    ) -> None:
        # Whose process, unlike one of multiprocessing's pools, may have children, such as loaders.
        self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        method = multiprocessing.get_start_method()
        self.held = self.call(_prepare, make, arguments, threads, method)
        self.first, *_ = self.run()
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []

    def run(self) -> tuple[Any, float, float]:
        """What the work returns, and what it took in seconds and in CPU seconds."""
        return self.call(_run)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """What a function returns in that process."""
        return self.pool.submit(function, *arguments).result()

    def measure(self) -> None:
        """Keeps what one run takes."""
        _, seconds, cpu_seconds = self.run()
        self.seconds.append(seconds)
        self.cpu_seconds.append(cpu_seconds)

    def finish(self) -> dict[str, float]:
        """Ends the process; medians, and its highest resident memory in MB."""
        peak = self.call(peak_mb)
        self.pool.shutdown()
        return {
            "seconds": statistics.median(self.seconds),
            "CPU s": statistics.median(self.cpu_seconds),
            "held MB": self.held,
            "peak MB": peak,
        }


_work: Callable[[], Any]


def ask(name: str, *arguments: Any) -> Any:
    """What a method of this process's work returns; for `Process.call`."""
    return getattr(_work, name)(*arguments)


def _prepare(
    make: Callable[..., Callable[[], Any]], arguments: tuple[Any, ...], threads: int, method: str
) -> float:
    global _work
    # A spawned process would spawn its loaders, too, which takes seconds; a user's are forked.
    multiprocessing.set_start_method(method, force=True)
    torch.set_num_threads(threads)
    _work = make(*arguments)
    return peak_mb()


def _run() -> tuple[Any, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = _work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def peak_mb() -> float:
    """Highest resident memory of this process so far, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # What getrusage says of a process is at least what its parent had.
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8"))
        if found:
            return int(found[1]) / 1024
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / 1024 / (1024 if sys.platform == "darwin" else 1)


def compare(work: str, size: str, threads: int, repeat: int) -> dict[str, dict[str, float]]:
    """Figures of both networks at one work, and `ratio`, HOICLIP's by the plain one's.

    Raises:
        AssertionError: the outputs of the forward pass differ.
    """
    workers = {name: Process(work_of, (name, work, SIZES[size]), threads) for name in NETWORKS}
    if work == "forward":
        for name, expected in workers["plain"].first.items():
            found = workers["hoiclip"].first[name]
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4, err_msg=name)
    for _ in range(repeat):
        for worker in workers.values():
            worker.measure()
    rows = {name: worker.finish() for name, worker in workers.items()}
    ratio = {key: rows["hoiclip"][key] / value for key, value in rows["plain"].items()}
    return {**rows, "ratio": ratio}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--threads", type=number(Threads), default=1, help="of PyTorch (default: 1)"
    )
    parser.add_argument(
        "--repeat", type=number(Count), default=3, help="counted runs of each (default: 3)"
    )
    parser.add_argument("--work", choices=WORKS, nargs="+", default=WORKS)
    parser.add_argument("--size", choices=SIZES, default="released")
    args = parser.parse_args(arguments)
    columns = ("seconds", "CPU s", "held MB", "peak MB")
    print(f"{'work':10}{'network':10}", *(f"{name:>9}" for name in columns))
    for work in args.work:
        rows = compare(work, args.size, args.threads, args.repeat)
        for name, row in rows.items():
            print(f"{work:10}{name:10}", *(f"{value:9.2f}" for value in row.values()), flush=True)


if __name__ == "__main__":
    main()
