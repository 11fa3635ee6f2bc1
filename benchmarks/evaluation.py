"""Times post-processing and HICO-DET evaluation against the plain-loop reference of the tests.

Run from the repository root: `python -m benchmarks.evaluation [--images 500 1000 2000] [--full]`.
`--full` is HICO-DET's size: 9,658 images, 64 queries, 600 classes, scores held in memory;
`--annotations instances_test2015.json` takes HICO-DET's own test annotations at that size. Each
size runs in a process of its own; times are the median of `--repeats` runs, memory is the peak
above what was held before. The load of the machine is printed, since times depend on it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.evaluation_inputs import HOIS, made_up, world
from hoiclip.core import schema
from hoiclip.evaluation.ap.protocols import PROTOCOLS
from hoiclip.evaluation.diagnosis import diagnose
from hoiclip.evaluation.hico import evaluate_hico
from hoiclip.evaluation.outputs import metrics
from hoiclip.formats.annotations import hico_instances
from hoiclip.pairs.pair_nms import PAPER_NMS
from hoiclip.set_prediction.model.postprocess import enhancement, postprocess
from hoiclip.util.ranges import Images, number
from tests.evaluation import hico_reference as reference

HICO_DET_IMAGES = 9658


def predictions_of(world: dict[str, Any], k: int = 10) -> pa.Table:
    added = enhancement(world["similarity"], k, 1.0)
    hoi_prob, object_prob, humans, objects, object_of_hoi = world["network"]
    (found,) = postprocess(
        hoi_prob, object_prob, humans, objects, object_of_hoi, [added], nms=PAPER_NMS
    )
    columns = {
        "image_id": world["annotations"].images["image_id"].to_numpy()[found.image],
        "query": found.query,
        "hoi": found.hoi,
        "human_box_xyxy": schema.numpy_to_fixed_lists(found.human_boxes_xyxy),
        "object_box_xyxy": schema.numpy_to_fixed_lists(found.object_boxes_xyxy),
        "score": found.score,
        "hoi_score": found.hoi_score,
        "object_score": found.object_score,
        "clip_score": found.clip_score,
    }
    return pa.table(columns, schema=schema.PREDICTIONS)


def evaluate(world: dict[str, Any], predictions: pa.Table, protocol: str) -> dict[str, Any]:
    parts = world["annotations"], world["vocabulary"], world["classes"]
    return metrics(evaluate_hico(predictions, *parts, PROTOCOLS[protocol]))


def as_lists(world: dict[str, Any], predictions: pa.Table) -> tuple[list[dict], list[dict]]:
    boxes = {}
    for row in world["annotations"].instances.to_pylist():
        boxes[row["image_id"], row["instance"]] = row["box_xyxy"]
    truths = [
        {
            "image": row["image_id"],
            "hoi": row["hoi"],
            "human": boxes[row["image_id"], row["human"]],
            "object": boxes[row["image_id"], row["object_instance"]],
        }
        for row in world["annotations"].interactions.to_pylist()
    ]
    detections = [
        {
            "image": row["image_id"],
            "query": row["query"],
            "hoi": row["hoi"],
            "human": row["human_box_xyxy"],
            "object": row["object_box_xyxy"],
            "score": row["score"],
        }
        for row in predictions.to_pylist()
    ]
    return detections, truths


def timed(row: dict[str, float], name: str, work: Callable[[], Any], repeats: int) -> Any:
    """Medians of some runs, in seconds on the clock and of the processors; the last result."""
    wall, cpu, result = [], [], None
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        result = work()
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    row[f"{name} s"], row[f"{name} CPU s"] = statistics.median(wall), statistics.median(cpu)
    return result


class Memory:
    """Peak memory above what is held when this is made (Linux)."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")
        self.before = self._read("VmRSS")

    def peak_mb(self) -> float:
        """Highest resident memory since, in MiB."""
        return self._read("VmHWM") - self.before

    @staticmethod
    def _read(key: str) -> float:
        status = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(key))


def sort_everything(world: dict[str, Any]) -> np.ndarray:
    """The best 100 of each image by fusing and sorting all scores, (B, 100) positions."""
    hoi_prob, object_prob, _, _, object_of_hoi = world["network"]
    scores = np.take(np.square(object_prob), object_of_hoi, axis=-1)
    scores += hoi_prob
    scores += enhancement(world["similarity"], 10, 1.0)[:, None]
    return np.argsort(-scores.reshape(len(scores), -1), axis=1, kind="stable")[:, :100]


def measure(num_images: int, annotations: Path | None, slow: bool, repeats: int) -> dict:
    """Seconds and megabytes of one size; runs in a fresh process."""
    rng = np.random.default_rng(0)
    truth = made_up(num_images, rng) if annotations is None else hico_instances.read(annotations)
    inputs = world(*truth[:2], rng)
    memory = Memory()
    row: dict[str, float] = {"images": len(inputs["annotations"].images)}
    predictions = timed(row, "select", lambda: predictions_of(inputs), repeats)
    row["select MB"] = memory.peak_mb()
    row["rows"] = len(predictions)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.parquet"
        schema.write_table(path, predictions, schema.PREDICTIONS, {})
        del predictions
        memory = Memory()

        def from_file(protocol: str) -> dict[str, Any]:
            return evaluate(inputs, schema.read_table(path, schema.PREDICTIONS), protocol)

        for protocol in PROTOCOLS:
            values = timed(row, protocol, partial(from_file, protocol), repeats)
        row["evaluate MB"] = memory.peak_mb()
        memory = Memory()
        parts = inputs["annotations"], inputs["vocabulary"]
        read = partial(schema.read_table, path, schema.PREDICTIONS)
        timed(row, "diagnosis", lambda: diagnose(read(), *parts), repeats)
        row["diagnosis MB"] = memory.peak_mb()

    memory = Memory()
    timed(row, "all, no file", lambda: evaluate(inputs, predictions_of(inputs), "hico"), repeats)
    row["all, no file MB"] = memory.peak_mb()
    row["load"] = os.getloadavg()[0]
    if slow:
        measure_references(inputs, row, values["default"]["full"])
    return row


def measure_references(inputs: dict[str, Any], row: dict[str, float], expected: float) -> None:
    """Adds to `row` what sorting everything and plain loops take; checks that they agree."""
    memory = Memory()
    top = timed(row, "full sort", lambda: sort_everything(inputs), 1)
    row["full sort MB"] = memory.peak_mb()
    added = enhancement(inputs["similarity"], 10, 1.0)
    hoi_prob, object_prob, human, object_, object_of_hoi = inputs["network"]
    (found,) = postprocess(hoi_prob, object_prob, human, object_, object_of_hoi, [added])
    assert (found.query * HOIS + found.hoi == top.ravel()).all()

    predictions = predictions_of(inputs)
    objects = inputs["vocabulary"].object_of_hoi.tolist()
    memory = Memory()
    loops = partial(reference.evaluate, object_of_hoi=objects, protocol="pocket")
    results, _ = timed(row, "loops", lambda: loops(*as_lists(inputs, predictions)), 1)
    row["loops MB"] = memory.peak_mb()
    mean = reference.subset_mean(results["default"], [True] * len(objects))
    assert abs(mean - expected) < 1e-9, (mean, expected)
    row["full sort / select, CPU s"] = row["full sort CPU s"] / row["select CPU s"]
    row["full sort / select, MB"] = row["full sort MB"] / row["select MB"]
    row["loops / evaluate, CPU s"] = row["loops CPU s"] / row["pocket CPU s"]
    row["loops / evaluate, MB"] = row["loops MB"] / row["evaluate MB"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=number(Images), nargs="+", default=[500, 1000, 2000])
    parser.add_argument("--full", action="store_true", help="HICO-DET's size, without references")
    parser.add_argument("--annotations", type=Path, help="HICO-DET's, without references")
    parser.add_argument("--repeats", type=number(Images), default=3)
    args = parser.parse_args()
    jobs = [(n, None, True, args.repeats) for n in args.images]
    if args.full or args.annotations:
        jobs = [(HICO_DET_IMAGES, args.annotations, False, args.repeats)]
    context = multiprocessing.get_context("spawn")
    rows = []
    for job in jobs:
        with context.Pool(1) as pool:
            rows.append(pool.apply(measure, job))
    for key in rows[0]:
        print(f"{key:>28}", *(f"{row[key]:12.3f}" for row in rows))


if __name__ == "__main__":
    main()
