"""What the prepared data set holds, beside what its authors published."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import pyarrow as pa

from hoiclip.core.vocabulary import RARE_BELOW, Vocabulary
from hoiclip.data.annotations import Annotations


def count(vocabulary: Vocabulary, partitions: dict[str, Annotations]) -> dict[str, int]:
    """Images, images without pairs, instances and pairs of each partition; kinds of HOI classes.

    A pair counts once for each of its HOI classes.

    Args:
        vocabulary: the data set's.
        partitions: `train` and `test`.
    """
    counts: dict[str, int] = {}
    for name, tables in partitions.items():
        with_pairs = len(np.unique(tables.interactions["image_id"].to_numpy()))
        counts[f"{name} images"] = tables.images.num_rows
        counts[f"{name} images without pairs"] = tables.images.num_rows - with_pairs
        counts[f"{name} instances"] = tables.instances.num_rows
        counts[f"{name} pairs"] = tables.interactions.num_rows
    trained = partitions["train"].interactions["hoi"].to_numpy()
    rare = int((np.bincount(trained, minlength=vocabulary.num_hois) < RARE_BELOW).sum())
    counts["HOI classes"] = vocabulary.num_hois
    counts["rare HOI classes"], counts["other HOI classes"] = rare, vocabulary.num_hois - rare
    return counts


def compare(source: str, counts: dict[str, int]) -> list[dict[str, Any]]:
    """For each published count of `source`: `what`, `found`, `published`, and whether `equal`."""
    return [
        {"what": what, "found": counts[what], "published": number, "equal": counts[what] == number}
        for what, number in _published_counts().get(source, {}).items()
    ]


def count_findings(findings: pa.Table, partitions: Sequence[str]) -> dict[str, dict[str, int]]:
    """Number of rows of `schema.FINDINGS` by partition and kind."""
    columns = (findings[key].to_pylist() for key in ("partition", "kind"))
    kinds = Counter(zip(*columns, strict=True))
    return {
        name: {kind: number for (of, kind), number in sorted(kinds.items()) if of == name}
        for name in partitions
    }


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """What `prepare` returns as a small table for people."""
    published = {row["what"]: row for row in summary["published"]}
    rows = [(what, f"{n:,}", _told(published.get(what))) for what, n in summary["counts"].items()]
    rows += [
        (f"{partition} {kind}", f"{number:,}", "finding")
        for partition, kinds in summary["findings"].items()
        for kind, number in kinds.items()
    ]
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [f"{a:{first}}  {b:>{second}}  {c}".rstrip() for a, b, c in rows]


def _told(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    if row["equal"]:
        return "equals the published count"
    return f"differs: {row['found']:,}, published {row['published']:,}"


@cache
def _published_counts() -> dict[str, dict[str, int]]:
    """Counts that the authors of the data sets published, by source and name."""
    file = resources.files("hoiclip.catalog") / "published" / "published_counts.json"
    return json.loads(file.read_text(encoding="utf-8"))
