"""One self-contained HTML page about a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from hoiclip import pictures
from hoiclip.files import atomic_file
from hoiclip.report import charts, matching, published, results
from hoiclip.report.gallery import BY_HASH, STRIP, WORST, Gallery, by_hash
from hoiclip.report.inputs import RESULTS, ReportInputs, Run
from hoiclip.schema import read_provenance

SUBSETS = {**results.SUBSETS, "unseen": "Unseen", "seen": "Seen"}
SETTINGS = {"default": "Default", "known_object": "Known object"}
STAGES = (
    "dataset",
    "splits",
    "text_embeddings",
    "verb_vectors",
    "train",
    "predict",
    "evaluate",
)


def build_report(paths: ReportInputs, out: Path, source: Mapping[str, Any]) -> None:
    """Writes the report of a run: one HTML file that needs nothing beside it.

    The same files and the same `source` give the same bytes.

    Args:
        paths: the run's files.
        out: the page.
        source: `commit`, `dirty` (whether the tree held changes that are in no commit),
            `data_hash` and `dataset` (else what the vocabulary's provenance calls `source`;
            published numbers stand beside `hico_det` alone). A fact that is absent or None is said
            to be unknown.

    Raises:
        InputError: a required file is absent, or any file is malformed or contradicts another.
    """
    run = Run.read(paths)
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "duration": duration, "thousands": thousands}
    page = environment.get_template("template.html").render(_context(run, source))
    with atomic_file(out) as aside:
        aside.write_text(page, encoding="utf-8")


def number(value: float | None, digits: int = 2) -> str:
    """A number with so many decimals; a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def thousands(value: int | None) -> str:
    """12345 → 12,345; a dash for None."""
    return "–" if value is None else f"{value:,}"


def duration(seconds: float | None) -> str:
    """Seconds in the unit a person would use; a dash for None."""
    if seconds is None:
        return "–"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    if round(seconds) < 3600:
        return f"{round(seconds) // 60} min {round(seconds) % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def _context(run: Run, source: Mapping[str, Any]) -> dict[str, Any]:
    facts = {key: source.get(key) for key in ("dataset", "commit", "dirty", "data_hash")}
    facts["dataset"] = facts["dataset"] or read_provenance(run.inputs.vocabulary).get("source")
    is_hico = facts["dataset"] == published.DATASET
    cut = matching.cut(matching.match(run.predictions, run.annotations, run.vocabulary))
    gallery = Gallery(run, cut)
    image_ids = run.annotations.images["image_id"].to_numpy()
    committed = {
        name: results.READERS[name](run.results[name], run.inputs.results / f"{name}.json")
        for name in RESULTS
        if name in run.results
    }
    return {
        "source": facts,
        "metrics": run.metrics,
        "subsets": {k: v for k, v in SUBSETS.items() if k in run.metrics["default"]},
        "settings": SETTINGS,
        "published": published.HOICLIP if is_hico else None,
        "images": len(image_ids),
        "rows": len(run.annotations.interactions),
        "predictions": len(run.predictions),
        "classes": _classes(run),
        "charts": _charts(run, committed),
        "cut": cut,
        "misses": _reasons(cut.miss_reason, matching.MISSES),
        "false_alarms": _reasons(cut.matches.reason[cut.shown], matching.FALSE_ALARMS),
        "styles": {
            "found": pictures.FOUND,
            "missed": pictures.MISSED,
            "false alarm": pictures.FALSE_ALARM,
        },
        "strip": [gallery.named(i) for i in by_hash(image_ids, STRIP)],
        "by_hash": [gallery.card(i) for i in by_hash(image_ids, BY_HASH)],
        "worst": [gallery.card(i) for i in cut.worst_first(image_ids)[:WORST]],
        "committed": {name: committed.get(name) for name in RESULTS},
        "provenance": {
            name: {key: run.results.get(name, {}).get(key) for key in ("commit", "machine")}
            for name in RESULTS
        },
        "show_published_ablation": is_hico,
        "stages": _stages(run),
        "params": run.params,
        "hashes": run.hashes,
    }


def _charts(run: Run, committed: dict[str, Any]) -> dict[str, str | None]:
    history = run.history
    return {
        "scatter": charts.class_scatter(run.per_class),
        "curves": charts.precision_recall(run.curves),
        "loss": None if history is None else charts.history_lines(history, "loss"),
        "validation": None if history is None else charts.history_lines(history, "validation"),
        "ablation": (
            charts.ablation_chart(committed["ablation"]) if committed.get("ablation") else None
        ),
    }


def _classes(run: Run) -> list[dict[str, Any]]:
    """Rows per class, lowest AP first, classes without test instances last."""
    return sorted(
        run.per_class.to_pylist(),
        key=lambda row: (row["ap_default"] is None, row["ap_default"] or 0.0, row["hoi"]),
    )


def _reasons(reasons: Any, known: Mapping[str, str]) -> list[tuple[str, str, int]]:
    counts = Counter(reasons.tolist())
    return [(reason, what, counts[reason]) for reason, what in known.items()]


def _stages(run: Run) -> list[tuple[str, dict[str, Any] | None]]:
    """Every stage in order with its summary; None where it left none."""
    others = sorted(set(run.summaries) - {*STAGES, "report"})
    return [(stage, run.summaries.get(stage)) for stage in (*STAGES, *others)]
