"""Times training steps and inference of every method at its published size.

Run from the repository root: `python -m benchmarks.methods [--out FILE]`.

Sizes are those of the profiles hico, gen-vlkt-s and clip-distill: ResNet-50, CLIP ViT-B/32, 600 HOI
classes, images whose shorter side is 800 pixels; weights are random. On the CPU batches have two
images, in float32. Where PyTorch sees a CUDA device, all is measured there, too, with batches of
16, and also in bf16 and compiled. `plain` is a float32 eager transcription with equal weights
(`benchmarks/plain_network.py`, `plain_gen_vlkt.py`; for the label-free student `plain_student.py`,
image by image, with `plain_detr.py`). `benchmarks/method_work.py` says what the works are.

Every row has a process of its own. After an uncounted turn they take turns, so that other load
falls on all alike; figures are medians:

- `images/s`: of steps over one batch that is there already.
- `x plain`: by the plain form's in the same turn.
- `peak MB`: on the CPU the process's highest resident memory, on CUDA the most that tensors had.
- `waits`: share of a loop that waits for data, in which images are read from JPEG files, flipped,
  jittered and resized as published (without crops) by worker processes beside it.
- `MFU`: operations of a step of the plain form by what the device could have done in a step of the
  row, which is measured by products of matrices of the row's type (`benchmarks/flops.py`).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.flops import matmul_peak
from benchmarks.machine import machine
from benchmarks.method_data import write_images
from benchmarks.method_work import Job, Precision, Work
from benchmarks.network import Process, ask, peak_mb
from benchmarks.published import PROFILES, SCALES
from hoiclip.core.files import write_json
from hoiclip.util.ranges import BatchSize, Count, Threads, Workers, number

WORKS = ("train", "infer")
BATCH = {"cpu": 2, "cuda": 16}
# Form: plain, precision, compiled.
FORMS: dict[str, tuple[bool, Precision, bool]] = {
    "plain": (True, "float32", False),
    "hoiclip": (False, "float32", False),
    "bf16": (False, "bf16", False),
    "bf16, compiled": (False, "bf16", True),
}
OF_DEVICE = {"cpu": ("plain", "hoiclip"), "cuda": tuple(FORMS)}
COLUMNS = ("images/s", "x plain", "peak MB", "waits", "MFU")
_LOOP_TURNS = 3


class Row(Process):
    """A form of a method in a process of its own.

    Attributes:
        per_step: seconds of a step in each turn.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.per_step = job, list[float]()
        super().__init__(Work, (job,), job.threads)

    def measure(self) -> None:
        """Takes a turn."""
        (steps, seconds), *_ = self.run()
        self.per_step.append(seconds / steps)


def figures(
    per_step: list[float], plain: list[float], batch: int, flops: float, peak: float
) -> dict[str, float]:
    """Columns that follow from a row's and the plain row's seconds per step, turn by turn.

    Args:
        per_step: of the row.
        plain: of the plain row, in the same turns.
        batch: images of a step.
        flops: operations of a step.
        peak: operations that the device can do in a second.
    """
    seconds = statistics.median(per_step)
    ratios = [theirs / own for theirs, own in zip(plain, per_step, strict=True)]
    return {
        "images/s": batch / seconds,
        "x plain": statistics.median(ratios),
        "MFU": flops / seconds / peak,
    }


def compare(
    jobs: dict[str, Job], turns: int, peaks: Mapping[Precision, float]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Figures of the forms of one work by name, and of those that failed what was said.

    Args:
        jobs: by form; the plain one is the first.
        turns: of each.
        peaks: operations per second by precision.
    """
    rows: dict[str, Row] = {}
    errors: dict[str, str] = {}
    for form, job in jobs.items():
        try:
            rows[form] = Row(job)
        except Exception as error:  # One form, perhaps too large, is not to end the others.
            errors[form] = said(error)
    for _ in range(turns):
        for form, row in list(rows.items()):
            try:
                row.measure()
            except Exception as error:
                errors[form] = said(error)
                rows.pop(form).pool.shutdown()
    found: dict[str, Any] = {}
    if "plain" not in rows:
        return found, errors
    plain, memory = rows["plain"], {}
    waits = {form: row.call(ask, "waiting", _LOOP_TURNS) for form, row in rows.items()}
    for form, row in rows.items():
        on_cuda = row.job.device == "cuda"
        memory[form] = row.call(ask, "cuda_peak_mb") if on_cuda else row.call(peak_mb)
    flops = plain.call(ask, "flops")
    for form, row in rows.items():
        job = row.job
        parts = figures(row.per_step, plain.per_step, job.batch, flops, peaks[job.precision])
        found[form] = parts | {"peak MB": memory[form], "waits": waits[form]}
        row.pool.shutdown()
    return {"GFLOP": flops / 1e9, "forms": found}, errors


def said(error: Exception) -> str:
    """An error in a line of a table."""
    text = (str(error).splitlines() or [""])[0].replace("|", "/")
    return f"{type(error).__name__}: {text[:200]}"


def table(results: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of a Markdown table of `measure`'s results."""
    yield f"| Method | work | device | form | {' | '.join(COLUMNS)} |"
    yield "|" + "---|" * (4 + len(COLUMNS))
    for result in results:
        place = f"| {result['method']} | {result['work']} | {result['device']}"
        for form in sorted(
            result["forms"], key=list(FORMS).index
        ):  # A JSON file has its own order.
            row = result["forms"][form]
            yield (
                f"{place} | {form} | {row['images/s']:.2f} | {row['x plain']:.2f} "
                f"| {row['peak MB']:.0f} | {row['waits']:.1%} | {row['MFU']:.1%} |"
            )
        for form, error in result["errors"].items():
            yield f"{place} | {form} | {error} |{' |' * (len(COLUMNS) - 1)}"


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Results of each device, method and work in turn."""
    with tempfile.TemporaryDirectory() as folder:
        for device in options.devices:
            batch = options.batch or BATCH[device]
            count = 4 * batch
            write_images(Path(folder), count)
            precisions = {FORMS[form][1] for form in OF_DEVICE[device]}
            peaks = {p: matmul_peak(device, p, options.threads) for p in precisions}
            for method in options.methods:
                for work in options.works:
                    jobs = {
                        form: Job(
                            method, work, *FORMS[form], device, batch, options.threads,
                            options.workers, Path(folder), count, options.scale, options.turn,
                        )
                        for form in OF_DEVICE[device]
                    }  # fmt: skip
                    found, errors = compare(jobs, options.repeat, peaks)
                    yield {
                        "method": method, "work": work, "device": device, "batch": batch,
                        "peak GFLOP/s": {p: peak / 1e9 for p, peak in peaks.items()},
                        **found, "forms": found.get("forms", {}), "errors": errors,
                    }  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    cores = os.cpu_count() or 1
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    made.add_argument("--methods", nargs="+", choices=PROFILES, default=list(PROFILES))
    made.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    made.add_argument("--devices", nargs="+", choices=BATCH, default=devices)
    made.add_argument("--batch", type=number(BatchSize), help="(default: CPU 2, CUDA 16)")
    made.add_argument("--threads", type=number(Threads), default=cores, help="(default: cores)")
    made.add_argument(
        "--workers", type=number(Workers), default=max(1, min(8, cores - 1)), help="of loading"
    )
    made.add_argument("--repeat", type=number(Count), default=5, help="turns (default: 5)")
    made.add_argument("--turn", type=float, default=2.0, help="least seconds of one (default: 2)")
    made.add_argument("--scale", choices=SCALES, default="published")
    made.add_argument("--out", type=Path, help="JSON")
    return made


def main(arguments: list[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    told, results = machine(), list[dict[str, Any]]()
    for result in measure(options):
        lines = list(table([result]))
        print("\n".join(lines[2:] if results else lines), flush=True)
        results.append(result)
    settings = {key: getattr(options, key) for key in ("threads", "workers", "repeat", "scale")}
    if options.out:
        write_json(options.out, {"machine": told, **settings, "results": results})


if __name__ == "__main__":
    main()
