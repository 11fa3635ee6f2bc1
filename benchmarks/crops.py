"""Times the pass over crops behind the verb vectors, CLIP ViT-B/32 with random weights.

Run from the repository root: `python -m benchmarks.crops [--out FILE]`.

Every image (640 x 480 or 640 x 427 pixels, JPEG) has four annotated pairs, of which the pass takes
the enclosing rectangle and the object: eight crops. All is counted from the file to the sums. Forms
have processes of their own and take turns; figures are medians of crops per second:

- `plain`: one crop after another, cut, preprocessed and encoded alone.
- `hoiclip`: `hoiclip.verb_vectors.feature_sums.CropPass` with worker processes, 256 crops at once.

On the CPU always, and on CUDA where PyTorch sees a device.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import machine
from benchmarks.method_data import annotated, write_images
from benchmarks.network import Process
from benchmarks.published import SCALES, Published
from hoiclip.catalog.vocabularies import hico_det
from hoiclip.clip.encoder import ClipVisual
from hoiclip.core.files import write_json
from hoiclip.crops import crop
from hoiclip.images.store import ImageStore
from hoiclip.parallel.device import prepare
from hoiclip.util.ranges import Count, Threads, Workers, number
from hoiclip.verb_vectors.crops import rows_by_image, shares_of
from hoiclip.verb_vectors.feature_sums import CropPass

FORMS = ("plain", "hoiclip")
IMAGES = {"cpu": 32, "cuda": 512}


def work_of(
    form: str, device: str, folder: Path, images: int, scale: str, threads: int, workers: int
) -> Callable[[], tuple[np.ndarray, int]]:
    """A pass over all crops, as a function; returns the sums, (HOI classes + objects, E), and how
    many crops there are."""
    place = prepare(device, threads, 0)
    visual, vocabulary = ClipVisual(Published.of("hoiclip", scale).clip).to(place), hico_det()
    seen = np.ones(vocabulary.num_hois, bool)
    rows = rows_by_image(annotated(images), seen)
    crops = CropPass(
        rows, ImageStore(folder).read, visual, vocabulary, batch_size=256, workers=workers
    )
    count = sum(len(list(shares_of(of_image, vocabulary, "correct"))) for _, of_image in rows)

    def together() -> tuple[np.ndarray, int]:
        return next(crops.shards([range(images)]))["sums"].numpy(), count

    def one_by_one() -> tuple[np.ndarray, int]:
        sums = torch.zeros(vocabulary.num_hois + vocabulary.num_objects, visual.embed_dim).double()
        for name, of_image in rows:
            image = crops.read_image(name)
            for box, row, weight in shares_of(of_image, vocabulary, "correct"):
                pixels = visual.preprocess(crop(image, box))[None].to(place)
                sums[row] += weight * visual.encode_image(pixels)[0].double().cpu()
        return sums.numpy(), count

    return one_by_one if form == "plain" else together


def turn(work: Callable[[], tuple[np.ndarray, int]]) -> float:
    """Crops per second of one pass."""
    start = time.perf_counter()
    _, count = work()
    return count / (time.perf_counter() - start)


def turns_of(*arguments: Any) -> Callable[[], float]:
    """`turn` of a work, as a work; see `work_of`."""
    work = work_of(*arguments)
    return lambda: turn(work)


def measure(device: str, options: argparse.Namespace) -> dict[str, float]:
    """Crops per second of each form on a device."""
    images = options.images or IMAGES[device]
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), images)
        given = (device, Path(folder), images, options.scale, options.threads, options.workers)
        processes = {form: Process(turns_of, (form, *given), options.threads) for form in FORMS}
        speeds: dict[str, list[float]] = {form: [] for form in FORMS}
        for _ in range(options.repeat):
            for form, process in processes.items():
                speeds[form].append(process.run()[0])
        for process in processes.values():
            process.pool.shutdown()
    return {form: statistics.median(found) for form, found in speeds.items()}


def table(results: dict[str, dict[str, float]]) -> Iterator[str]:
    """Lines of a Markdown table of `measure`'s results by device."""
    yield "| Device | form | crops/s | x plain |"
    yield "|---|---|---|---|"
    for device, found in results.items():
        for form in FORMS:
            speed = found[form]
            yield f"| {device} | {form} | {speed:.1f} | {speed / found['plain']:.2f} |"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    cores = os.cpu_count() or 1
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    made.add_argument("--devices", nargs="+", choices=IMAGES, default=devices)
    made.add_argument("--images", type=number(Count), help="(default: CPU 32, CUDA 512)")
    made.add_argument("--threads", type=number(Threads), default=cores, help="(default: cores)")
    made.add_argument(
        "--workers", type=number(Workers), default=max(1, min(8, cores - 1)), help="of cutting"
    )
    made.add_argument("--repeat", type=number(Count), default=5, help="turns (default: 5)")
    made.add_argument("--scale", choices=SCALES, default="published")
    made.add_argument("--out", type=Path, help="JSON")
    return made


def main(arguments: list[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    told = machine()
    results = {device: measure(device, options) for device in options.devices}
    print("\n".join(table(results)))
    settings = {key: getattr(options, key) for key in ("threads", "workers", "repeat", "scale")}
    if options.out:
        write_json(options.out, {"machine": told, **settings, "crops per second": results})


if __name__ == "__main__":
    main()
