"""Metrics and findings as tables of plain text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hoiclip.formats.annotations.source import Source

_VCOCO_NAMES = {
    "ap_role_scenario_1": "AP role, scenario 1, as published",
    "ap_role_scenario_2": "AP role, scenario 2, as published",
    "ap_role_scenario_1_25": "AP role, scenario 1, with point",
    "ap_role_scenario_2_25": "AP role, scenario 2, with point",
    "ap_agent": "AP agent",
}


def metrics_text(found: dict[str, Any], diagnosis: dict[str, Any] | None) -> str:
    """The metrics of an evaluation, and its diagnosis where there is one, for people."""
    steps = f", recall steps {found['recall_steps']}" if "recall_steps" in found else ""
    blocks = [f"protocol {found['protocol']}{steps}, percent"]
    if "vcoco" in found:
        names = [(_VCOCO_NAMES[key], _percent(value)) for key, value in found["vcoco"].items()]
        blocks.append(columns([("V-COCO", "mAP"), *names]))
    if found["default"] is not None:
        head = "by HOI class, rules of hico" if "vcoco" in found else "setting"
        subsets = list(found["default"])
        rows = [(head, *subsets)]
        rows += [
            (setting, *(_percent(found[setting][subset]) for subset in subsets))
            for setting in ("default", "known_object")
        ]
        blocks.append(columns(rows))
        blocks.append(f"pairs found, whatever the class: {_percent(found['recall'])}")
    if diagnosis is not None:
        counts, lost = diagnosis["count"], diagnosis["delta_ap"]
        rows = [("error", "count", "AP lost")]
        rows += [(kind, str(counts[kind]), _percent(lost[kind])) for kind in lost]
        blocks.append(columns(rows))
    read = ", ".join(f"{key} {value}" for key, value in found["input"].items())
    return "\n\n".join([*blocks, read.replace("_", " ")])


def partition_text(source: Source) -> str:
    """What was imported, for people."""
    annotations = source.annotations
    interactions = annotations.interactions
    images = len(annotations.images)
    rows = [
        ("images", images),
        ("images without interactions", images - len(interactions["image_id"].unique())),
        ("instances", len(annotations.instances)),
        ("pairs", len(annotations.pairs().image_ids)),
        ("interactions", len(interactions)),
        ("HOI classes", source.vocabulary.num_hois),
        ("HOI classes with interactions", len(interactions["hoi"].unique())),
    ]
    if annotations.unlabelled_people is not None:
        rows.append(("people that V-COCO does not label", len(annotations.unlabelled_people)))
    blocks = [columns([(f"read as {source.kind}", ""), *((k, str(v)) for k, v in rows)])]
    kinds, kept = (source.findings[key].to_pylist() for key in ("kind", "kept"))
    findings = sorted(Counter(zip(kinds, kept, strict=True)).items())
    if findings:
        head = ("finding", "count", "")
        told = [(kind, str(n), "kept" if stays else "left out") for (kind, stays), n in findings]
        blocks.append(columns([head, *told]))
    return "\n\n".join(blocks)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equal length, the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            value.ljust(width) if place == 0 else value.rjust(width)
            for place, (value, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
