"""A method's training step or inference as a work that is done again and again in a process.

- `train`: what `hoiclip.training.engine.Engine` does with a batch: CLIP's frozen tower, the network
  with dropout, losses (and matching), backward pass, clipping of gradients, AdamW. The plain form
  keeps the gradients until the next backward pass and takes PyTorch's default AdamW, as DETR does.
- `infer`: `Method.score_pairs`: frozen networks, the network, the best 100 pairs of each image
  after suppression. Prediction itself has neither bf16 nor compile: here both are set around it.

Batches are on the CPU at first, as loaders give them.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from benchmarks.flops import count_flops, synchronize
from benchmarks.method_data import InOrder, annotated, distill_data, image_table
from benchmarks.method_forms import build_method
from benchmarks.published import Published
from hoiclip.batches.batch import InferenceDataset
from hoiclip.batches.loading import inference_batches
from hoiclip.catalog.vocabularies import hico_det
from hoiclip.contract.method import RankSettings
from hoiclip.images.store import ImageStore
from hoiclip.pairs.pair_nms import PAPER_NMS
from hoiclip.parallel.device import prepare
from hoiclip.parallel.world import World
from hoiclip.set_prediction.dataset import TrainingDataset
from hoiclip.set_prediction.training import COMPILED_MULTIPLE
from hoiclip.training.config import OptimizationConfig
from hoiclip.training.engine import Engine
from hoiclip.training.features import ComputedFeatures
from hoiclip.training.loading import Batches
from hoiclip.training.optimizer import build_optimizer

TOP_K = 100
Precision = Literal["float32", "bf16"]
_EPOCHS = 10**6


@dataclass(frozen=True)
class Job:
    """What is measured.

    Attributes:
        method: its name.
        work: `train` or `infer`.
        plain: whether it is the plain transcription.
        precision: `float32` or `bf16`.
        compile: whether the network is compiled.
        device: `cpu` or `cuda`.
        batch: images of a step.
        threads: of PyTorch on the CPU.
        workers: processes that load images.
        images: folder of `benchmarks.method_data.write_images`.
        count: of images there.
        scale: of `benchmarks.published.SCALES`.
        turn: seconds of a turn, at least; one step if that takes longer.
    """

    method: str
    work: str
    plain: bool
    precision: Precision
    compile: bool
    device: str
    batch: int
    threads: int
    workers: int
    images: Path
    count: int
    scale: str
    turn: float


class InBf16(nn.Module):
    """A network under autocast, with outputs in float32; frozen towers beside it stay in float32,
    as in training.

    Args:
        network: whose outputs are a dataclass of tensors.
        device: `cpu` or `cuda`.
    """

    def __init__(self, network: nn.Module, device: str) -> None:
        super().__init__()
        self.network, self.device = network, device

    def forward(self, *inputs: Any) -> Any:
        """As the network."""
        with torch.autocast(self.device, torch.bfloat16):
            outputs = self.network(*inputs)
        tensors = {
            name: value.float()
            for name, value in vars(outputs).items()
            if torch.is_tensor(value) and value.is_floating_point()
        }
        return dataclasses.replace(outputs, **tensors)


class Work:
    """A job in this process."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.device = prepare(job.device, job.threads, 0)
        self.published = Published.of(job.method, job.scale)
        self.method = build_method(job.method, self.published, plain=job.plain).to(self.device)
        criterion = getattr(self.method, "criterion", None)  # which is no part of the method's own
        if criterion is not None:
            criterion.to(self.device)
        self.step = self._train() if job.work == "train" else self._infer()
        self.batch = next(self.batches(0, 1))
        self.steps = 0  # of a turn; not known yet

    def begin(self) -> None:
        """Steps that are not counted, and how many make a turn."""
        for _ in range(1 if self.job.device == "cpu" else 5):
            start = time.perf_counter()
            self.step(self.batch)
            synchronize(self.job.device)
        self.steps = max(1, math.ceil(self.job.turn / (time.perf_counter() - start)))

    def __call__(self) -> tuple[int, float]:
        """Takes a turn, the first time an uncounted one; returns its steps and their seconds."""
        if not self.steps:
            self.begin()
            return 0, 0.0
        if self.job.device == "cuda":
            self.step(self.batch)  # gets the memory that the last turn gave back
            synchronize("cuda")
        start = time.perf_counter()
        for _ in range(self.steps):
            self.step(self.batch)
        synchronize(self.job.device)
        seconds = time.perf_counter() - start
        if self.job.device == "cuda":
            torch.cuda.empty_cache()  # for the others, which are in the same memory
        return self.steps, seconds

    def waiting(self, turns: int) -> float:
        """Share of a loop over fresh batches that waits for them; what loaders have made ahead
        before the loop begins is worked off first.

        Args:
            turns: whose steps are counted.
        """
        ahead = 1 + 2 * self.job.workers
        batches = self.batches(self.job.workers, ahead + turns * self.steps)
        for _ in range(ahead):
            self.step(next(batches))
        synchronize(self.job.device)
        start, waited = time.perf_counter(), 0.0
        for _ in range(turns * self.steps):
            began = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - began
            self.step(batch)
        synchronize(self.job.device)
        return waited / (time.perf_counter() - start)

    def cuda_peak_mb(self) -> float:
        """Most memory that tensors had on the device, in MiB."""
        return torch.cuda.max_memory_allocated() / 2**20

    def flops(self) -> int:
        """Operations of one step."""
        return count_flops(lambda: self.step(self.batch))

    def _train(self) -> Any:
        job, distills = self.job, self.job.method == "clip_distill"
        section = self.published.distill.train if distills else self.published.train
        config: OptimizationConfig = dataclasses.replace(
            section, precision=job.precision, compile=job.compile, batch_size=job.batch,
            epochs=_EPOCHS, seed=0, device=job.device, threads=job.threads, workers=job.workers,
        )  # fmt: skip
        self.config, self.data = config, self._training_data()
        method = self.method
        method.network.train()
        features = ComputedFeatures(method.frozen_features, self.device)
        groups = method.parameter_groups(config)
        if not job.plain:
            optimizer, _ = build_optimizer(groups, config)
            engine: Engine[Any] = Engine(method, features, optimizer, config, World())
            return lambda batch: engine.step([batch], 0)
        plain_optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)

        def step(batch: Any) -> dict[str, torch.Tensor]:
            torch.manual_seed(0)
            losses = method.training_step(batch, features(batch))
            plain_optimizer.zero_grad(set_to_none=True)
            reduce(torch.add, losses.values()).backward()
            nn.utils.clip_grad_norm_(method.network.parameters(), config.clip_norm)
            plain_optimizer.step()
            return losses

        return step

    def _training_data(self) -> Any:
        job, published = self.job, self.published
        view = self.method.training_view
        if job.method == "clip_distill":
            assert view is not None
            return distill_data(
                job.count, job.images, published.distill, published.detector.width,
                published.scale.clip["image_size"], view,
            )  # fmt: skip
        return TrainingDataset(
            annotated(job.count), ImageStore(job.images), hico_det(), published.train.transforms,
            max_boxes=64, seed=0, clip_view=view,
            multiple=COMPILED_MULTIPLE if job.compile else 1,
        )  # fmt: skip

    def _infer(self) -> Any:
        job, method = self.job, self.method.eval()
        settings = RankSettings(TOP_K, PAPER_NMS, job.threads)
        if job.compile:
            method.network.compile(fullgraph=True)
        if job.precision == "bf16":
            method.network = InBf16(method.network, job.device)
        return lambda batch: method.score_pairs(batch, settings, [method.scoring])

    def batches(self, workers: int, count: int) -> Iterator[Any]:
        """`count` batches, made by so many processes; each of the same sizes."""
        job = self.job
        if job.work == "train":
            order, config = InOrder(job.count, job.batch, 0), self.config
            config = dataclasses.replace(config, workers=workers)
            loaded = Batches(self.data, order, config, self.device, 0, 0)
            for _ in range(count):
                yield next(loaded)[0]
            return
        # Prediction makes batches of like sizes: here all images have one size.
        table = image_table([2 * (n % (job.count // 2)) for n in range(count * job.batch)])
        transforms = self.published.train.transforms
        dataset = InferenceDataset(
            table, ImageStore(job.images), transforms, self.method.clip_view,
            self.method.clip_source,
        )  # fmt: skip
        yield from inference_batches(dataset, job.batch, workers, self.device)
