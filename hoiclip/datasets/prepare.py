"""Any source, from its files to the outputs of the `dataset` stage."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip.core import schema
from hoiclip.data.annotations import Annotations
from hoiclip.datasets import hico_det, own, vcoco
from hoiclip.datasets.config import DatasetConfig
from hoiclip.datasets.partition import SourcePartition
from hoiclip.datasets.summary import compare, count, count_findings
from hoiclip.datasets.toy import toy_vocabulary, write_toy_partition
from hoiclip.datasets.write import write_partition
from hoiclip.errors import InputError
from hoiclip.fetch import download
from hoiclip.fetch.download import State, Step
from hoiclip.formats.annotations.findings import WHOLE_FILE, ReadReport
from hoiclip.images.store import ImageStore
from hoiclip.printable import printable

PARTITIONS = ("train", "test")

_SOURCES: dict[str, ModuleType] = {"hico_det": hico_det, "vcoco": vcoco, "own": own}


def plan(config: DatasetConfig) -> list[str]:
    """One line for each file: whether it is there, or how it comes; no network, nothing written."""
    if config.source == "toy":
        return ["toy: is rendered, no file is needed"]
    raw, section = Path(config.raw), getattr(config, config.source)
    steps = download.plan(_downloads(config), raw)
    lines = [f"{raw}/{step}" for step in steps]
    module = _SOURCES[config.source]
    for path in module.needed(section):
        if not any(_will_bring(step, path) for step in steps):
            state = State.PRESENT if (raw / path).exists() else State.PLACE
            lines.append(f"{raw / path}: {state.value}")
    for path in module.optional(section):
        if (raw / path).exists() or not any(_will_bring(step, path) for step in steps):
            told = "is there" if (raw / path).exists() else "is not there, and need not be"
            lines.append(f"{raw / path}: {told}")
    return list(dict.fromkeys(lines))


def prepare(config: DatasetConfig, data: Path) -> dict[str, Any]:
    """Fetches what is absent, then writes the data set.

    Args:
        config: which data set.
        data: folder that gets `annotations/`, `images/`, `vocabulary.parquet` and
            `findings.parquet`.

    Returns:
        `counts`: as `count`; `published`: as `compare`; `findings`: as `count_findings`.

    Raises:
        InputError: a file is absent or wrong, or images are bad (see `write_partition`).
    """
    if config.source == "toy":
        return _prepare_toy(config, data)
    raw, section = Path(config.raw), getattr(config, config.source)
    module = _SOURCES[config.source]
    download.fetch(_downloads(config), raw)
    absent = [str(path) for path in module.needed(section) if not (raw / path).exists()]
    if absent:
        problem = f"missing: {', '.join(absent)}"
        raise InputError(raw, problem, fix="docs/data.md says where each file comes from")
    sources = {
        name: module.read(raw, section, name, drop_unknown=config.drop_unknown)
        for name in PARTITIONS
    }
    _check_disjoint(sources["train"], sources["test"])
    tables: dict[str, Annotations] = {}
    # The folders of published data sets hold more than a data set names.
    findings = [_not_listed(sources)] if config.source == "own" else []
    for name, source in sources.items():
        tables[name], found = write_partition(
            source,
            annotations=data / "annotations" / name,
            images=data / "images" / name,
            workers=config.workers,
            bad_images=config.bad_images,
        )
        findings.append(_of_partition(name, found))
    vocabulary = sources["train"].vocabulary
    vocabulary.write(data / "vocabulary.parquet", {"source": config.source})
    counts = count(vocabulary, tables)
    published = compare(config.source, counts)
    for row in published:
        if not row["equal"]:
            name = "test" if row["what"].startswith("test") else "train"
            report = ReadReport(sources[name].report.file)
            report.add("published_count_differs", np.array([WHOLE_FILE]), [row], kept=True)
            findings.append(_of_partition(name, report.table()))
    return _finish(config, data, counts, published, pa.concat_tables(findings))


def _check_disjoint(train: SourcePartition, test: SourcePartition) -> None:
    """Raises `InputError` where an image is in both partitions, which would be learned by heart."""
    if train.images != test.images:
        return
    known = set(train.annotations.images["file_name"].to_pylist())
    for row, name in enumerate(test.annotations.images["file_name"].to_pylist()):
        if name in known:
            problem = f"{name!r} is also an image of {train.report.file}"
            raise InputError(
                test.report.file,
                problem,
                row=test.row_of(row),
                key="file_name",
                fix="Leave it in one of the two",
            )


def _not_listed(sources: dict[str, SourcePartition]) -> pa.Table:
    """A finding for each file in the folder of images that no partition names."""
    folder = sources["train"].images
    named = {
        str(PurePosixPath(name))
        for source in sources.values()
        for name in source.annotations.images["file_name"].to_pylist()
    }
    others = [{"file_name": printable(n)} for n in ImageStore(folder).names() if n not in named]
    report = ReadReport(folder)
    report.add("image_not_listed", np.full(len(others), WHOLE_FILE), others)
    return _of_partition("train", report.table())


def _prepare_toy(config: DatasetConfig, data: Path) -> dict[str, Any]:
    sizes = {"train": config.toy.train_images, "test": config.toy.test_images}
    vocabulary = toy_vocabulary()
    vocabulary.write(data / "vocabulary.parquet", {"source": "toy"})
    tables = {
        name: write_toy_partition(
            name,
            seed=config.toy.seed,
            num_images=sizes[name],
            annotations=data / "annotations" / name,
            images=data / "images" / name,
            workers=config.workers,
        )
        for name in PARTITIONS
    }
    counts = count(vocabulary, tables)
    return _finish(config, data, counts, [], schema.FINDINGS.empty_table())


def _finish(
    config: DatasetConfig,
    data: Path,
    counts: dict[str, int],
    published: list[dict[str, Any]],
    findings: pa.Table,
) -> dict[str, Any]:
    path = data / "findings.parquet"
    schema.write_table(path, findings, schema.FINDINGS, {"source": config.source})
    kinds = count_findings(findings, PARTITIONS)
    return {"counts": counts, "published": published, "findings": kinds}


def _of_partition(name: str, report: pa.Table) -> pa.Table:
    """Rows of `findings.REPORT` as rows of `schema.FINDINGS`."""
    names = pa.array([name] * report.num_rows, pa.string())
    return report.add_column(0, "partition", names).cast(schema.FINDINGS)


def _downloads(config: DatasetConfig) -> list[download.Source]:
    """The files that the chosen form of annotations needs."""
    form = _SOURCES[config.source].form(getattr(config, config.source))
    return [entry for entry in config.downloads if entry.form in (None, form)]


def _will_bring(step: Step, path: Path) -> bool:
    """Whether carrying out `step` brings `path`."""
    brought = Path(step.source.unpack or step.source.path)
    return step.state is not State.PRESENT and path.is_relative_to(brought)
