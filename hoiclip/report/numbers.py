"""The tables of mean average precision, with published figures beside the run's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hoiclip.core.vocabulary import RARE_BELOW
from hoiclip.evaluation.ap.protocols import HICO, V_COCO
from hoiclip.report import results
from hoiclip.report.inputs import Run
from hoiclip.report.published import HICO_DET, OF_FRACTION, Published

SUBSETS = {**results.SUBSETS, "unseen": "Unseen", "seen": "Seen"}
FRACTION_SUBSETS = {
    f"rare{OF_FRACTION}": "Rare in the fraction",
    f"non_rare{OF_FRACTION}": "Non-rare in the fraction",
}
SETTINGS = {"default": "Default", "known_object": "Known object"}
ROLE_MEANS = ["24 roles", "25 roles"]


@dataclass(frozen=True)
class TableRow:
    """A line of a table: percent or None for each column.

    Attributes:
        title: what it is.
        cells: one for each column.
        published: whether it is quoted.
    """

    title: str
    cells: list[float | None]
    published: bool = False


@dataclass(frozen=True)
class Table:
    """Columns by name, and rows."""

    columns: list[str]
    rows: list[TableRow]


def hoi_table(run: Run, published: Published | None) -> Table:
    """mAP over HOI classes: a row for each setting, and what is published for it below."""
    subsets = {key: name for key, name in SUBSETS.items() if key in run.metrics["default"]}
    metrics = {setting: dict(run.metrics[setting]) for setting in SETTINGS}
    if published is not None and _is_of_fraction(published):
        subsets |= FRACTION_SUBSETS
        for setting in SETTINGS:
            metrics[setting] |= fraction_subsets(run, setting)
    rows = []
    for setting, title in SETTINGS.items():
        rows.append(TableRow(title, [metrics[setting].get(key) for key in subsets]))
        for name, figures in _quoted(published, setting):
            cells = [figures.get(key) for key in subsets]
            rows.append(TableRow(f"{title}, published {name}", cells, published=True))
    return Table(list(subsets.values()), rows)


def role_table(run: Run, published: Published | None) -> Table | None:
    """AP of V-COCO's roles under its two scenarios; None by another protocol."""
    if run.metrics["protocol"] != V_COCO:
        return None
    rows = []
    for scenario in (1, 2):
        key, title = f"ap_role_scenario_{scenario}", f"Scenario {scenario}"
        rows.append(TableRow(title, [run.metrics["vcoco"][name] for name in (key, f"{key}_25")]))
        for name, figures in _quoted(published, "vcoco"):
            rows.append(
                TableRow(f"{title}, published {name}", [figures[key], None], published=True)
            )
    return Table(ROLE_MEANS, rows)


def fraction_subsets(run: Run, setting: str) -> dict[str, float | None]:
    """mAP over the classes that are rare, and not, among the pairs trained on.

    Percent; None without such a class that has test instances, or without the training pairs.
    """
    if run.train_hois is None:
        return dict.fromkeys(FRACTION_SUBSETS)
    counts = np.bincount(run.train_hois, minlength=run.vocabulary.num_hois)
    rare = counts[run.per_class["hoi"].to_numpy()] < RARE_BELOW
    values = run.per_class[f"ap_{setting}"].to_numpy(zero_copy_only=False).astype(float)
    found = {}
    for key, mask in zip(FRACTION_SUBSETS, (rare, ~rare), strict=True):
        known = values[mask & ~np.isnan(values)]
        found[key] = float(known.mean()) if len(known) else None
    return found


def comparison_notes(protocol: str, published: Published | None) -> list[str]:
    """What is to be known to read the run's figures, by `protocol`, beside the published ones."""
    if published is None:
        return []
    source = published.source
    notes = [f"Published: {published.title}, {source.where}."]
    if published.dataset == HICO_DET and source.matlab:
        counted = "" if protocol == HICO.name else f"; this run is counted by {protocol}"
        notes.append(
            "By the authors' account their HICO-DET figures come from the Matlab evaluator, whose "
            f"rules are protocol hico{counted}."
        )
    if source.chosen is not None:
        notes.append(f"The authors chose {source.chosen} on the test images.")
    return [*notes, *published.notes]


def role_notes(metrics: Mapping[str, Any]) -> list[str]:
    """What V-COCO's annotations of this run could not say."""
    notes = []
    if not metrics["missing_roles"]:
        notes.append(
            "These annotations cannot say that the object of a role is not visible, nor hold "
            "actions without an object, so neither scenario is V-COCO's own: take its original "
            "annotations (dataset.vcoco.annotations: original) to compare with published figures."
        )
    if not metrics["unlabelled_people"]:
        notes.append(
            "Which of COCO's people V-COCO does not label is not known here: predictions on them "
            "count as false alarms, whereas V-COCO's evaluator leaves them out."
        )
    return notes


def tiles(run: Run) -> list[tuple[str, float | None, int, str]]:
    """The figures on top of the page: name, value, decimals, unit."""
    default, vcoco = run.metrics["default"], run.metrics.get("vcoco")
    if vcoco is not None:
        named = [(f"AP role, scenario {s}", vcoco[f"ap_role_scenario_{s}"]) for s in (1, 2)]
        named += [("AP agent", vcoco["ap_agent"]), ("HOI classes, mAP", default["full"])]
    else:
        named = [(name, default[key]) for key, name in SUBSETS.items() if key in default]
        named[0] = (f"{named[0][0]} mAP", named[0][1])
        named.append(("Known object, Full", run.metrics["known_object"]["full"]))
    found = [(name, value, 2, "") for name, value in named]
    if "recall" in run.metrics:
        found.append(("Pairs localised", run.metrics["recall"], 1, "%"))
    return found


def _is_of_fraction(published: Published) -> bool:
    return any(
        key.endswith(OF_FRACTION)
        for figures in published.figures.values()
        for key in figures.get("default", ())
    )


def _quoted(published: Published | None, part: str) -> list[tuple[str, Mapping[str, float]]]:
    """Method and figures of what is published for a part of metrics.json."""
    if published is None:
        return []
    return [(name, figures[part]) for name, figures in published.figures.items() if part in figures]
