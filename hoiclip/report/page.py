"""One self-contained HTML page about a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa

from hoiclip.core import schema
from hoiclip.core.files import atomic_file
from hoiclip.core.schema import read_provenance
from hoiclip.evaluation.ap.protocols import HICO, PROTOCOL_TITLES, PROTOCOLS, V_COCO
from hoiclip.evaluation.errors.matched_pairs import match_pairs
from hoiclip.fetch.addresses import told_text
from hoiclip.report import charts, diagnosis, numbers, results
from hoiclip.report.gallery import BY_HASH, STRIP, WORST, Gallery, by_hash
from hoiclip.report.inputs import AFTER, BEFORE, RESULTS, ReportInputs, Run
from hoiclip.report.operating_point import MISSES, operating_point, without_surplus_objects
from hoiclip.report.published import HICO_DET, ROWS
from hoiclip.visualization import draw_pairs


def build_report(
    paths: ReportInputs, out: Path, source: Mapping[str, Any], published: str | None = None
) -> None:
    """Writes the report of a run: one HTML file that needs nothing beside it.

    The same files and arguments give the same bytes.

    Args:
        paths: the run's files.
        out: the page.
        source: `commit`, `dirty` (whether the tree held changes that are in no commit) and
            `data_hash`. A fact that is absent or None is said to be unknown.
        published: row of `published.ROWS` whose figures stand beside the run's, if the run is on
            the row's data: what the vocabulary's provenance calls `source`.

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
    page = environment.get_template("template.html").render(_context(run, source, published))
    with atomic_file(out) as aside:
        aside.write_text(page, encoding="utf-8")


def number(value: float | None, digits: int = 2) -> str:
    """A number with so many decimals; a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def rules_of(protocol: str) -> str:
    """Whose rules a protocol has."""
    title = PROTOCOL_TITLES.get(protocol)
    return "no known rules" if title is None else f"the rules of {title}"


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


def _context(run: Run, source: Mapping[str, Any], published: str | None) -> dict[str, Any]:
    facts = {key: source.get(key) for key in ("commit", "dirty", "data_hash")}
    facts["dataset"] = read_provenance(run.inputs.vocabulary).get("source")
    named = None if published is None else ROWS[published]
    row = named if named is not None and named.dataset == facts["dataset"] else None
    protocol, steps = run.metrics["protocol"], run.metrics.get("recall_steps")
    counted = protocol if steps is None else f"{protocol} with recall steps {steps}"
    rules = PROTOCOLS.get(protocol, HICO)
    predictions = run.predictions
    if protocol == V_COCO:
        predictions = without_surplus_objects(predictions, run.vocabulary)
    matched = match_pairs(predictions, run.annotations, run.vocabulary, rules)
    point = operating_point(matched, run.vocabulary, rules)
    gallery = Gallery(run, point, rules.offset_xyxy)
    image_ids = run.annotations.images["image_id"].to_numpy()
    committed = {
        name: results.READERS[name](run.results[name], run.inputs.results / f"{name}.json")
        for name in RESULTS
        if name in run.results
    }
    return {
        "source": facts,
        "metrics": run.metrics,
        "is_vcoco": protocol == V_COCO,
        "protocol": f"{counted}: {rules_of(protocol)}",
        "tiles": numbers.tiles(run),
        "hoi_table": numbers.hoi_table(run, row),
        "role_table": numbers.role_table(run, row),
        "role_notes": numbers.role_notes(run.metrics) if protocol == V_COCO else [],
        "comparison_notes": numbers.comparison_notes(counted, row),
        "published_elsewhere": named if row is None else None,
        "published_name": published,
        "verbs": _verbs(run),
        "diagnosis": run.diagnosis,
        "kinds": diagnosis.kinds(run),
        "measure": diagnosis.measure(run),
        "counts": _counts(run),
        "findings": _findings(run),
        "images": len(image_ids),
        "rows": len(run.annotations.interactions),
        "predictions": len(run.predictions),
        "classes": _classes(run),
        "charts": _charts(run, committed),
        "point": point,
        "pair_rules": rules.name,
        "misses": _reasons(point.miss_reason, MISSES),
        "false_alarms": diagnosis.false_alarms(point.errors),
        "styles": {
            "found": draw_pairs.FOUND,
            "missed": draw_pairs.MISSED,
            "false alarm": draw_pairs.FALSE_ALARM,
        },
        "strip": [gallery.named(i) for i in by_hash(image_ids, STRIP)],
        "by_hash": [gallery.card(i) for i in by_hash(image_ids, BY_HASH)],
        "worst": [gallery.card(i) for i in point.worst_first(image_ids)[:WORST]],
        "committed": {name: committed.get(name) for name in RESULTS},
        "provenance": {
            name: {key: run.results.get(name, {}).get(key) for key in ("commit", "machine")}
            for name in RESULTS
        },
        "show_published_ablation": run.results.get("ablation", {}).get("dataset") == HICO_DET,
        "method": run.method.title,
        "stages": _stages(run),
        "params": told_text(run.params),
        "hashes": run.hashes,
    }


def _charts(run: Run, committed: dict[str, Any]) -> dict[str, str | None]:
    history = run.history
    gains = [(kind.name, kind.gain) for kind in diagnosis.kinds(run) if kind.gain is not None]
    return {
        "scatter": charts.class_scatter(run.per_class),
        "curves": charts.precision_recall(run.curves),
        "errors": charts.error_bars(gains, diagnosis.measure(run)) if gains else None,
        "loss": None if history is None else charts.history_lines(history, "loss"),
        "validation": charts.history_lines(_validation(run), "validation"),
        "ablation": (
            charts.ablation_chart(committed["ablation"]) if committed.get("ablation") else None
        ),
    }


def _validation(run: Run) -> pa.Table:
    """What the selection of the weights measured, as a history (`schema.HISTORY`)."""
    epochs = run.method.stages.get("select", {}).get("epochs", {})
    rows = [
        {"step": int(epoch), "epoch": float(epoch), "name": f"epoch/validation/{name}", "value": v}
        for epoch, figures in epochs.items()
        for name, v in figures.items()
        if v is not None
    ]
    return pa.Table.from_pylist(rows, schema=schema.HISTORY)


def _classes(run: Run) -> list[dict[str, Any]]:
    """Rows per class, lowest AP first, classes without test instances last."""
    return sorted(
        run.per_class.to_pylist(),
        key=lambda row: (row["ap_default"] is None, row["ap_default"] or 0.0, row["hoi"]),
    )


def _verbs(run: Run) -> list[dict[str, Any]]:
    """Rows per verb, lowest AP first (V-COCO: of scenario 1), verbs without one last."""
    key = "ap_scenario_1" if run.metrics["protocol"] == V_COCO else "ap"
    return sorted(
        run.per_verb.to_pylist(),
        key=lambda row: (row[key] is None, row[key] or 0.0, row["verb"]),
    )


def _counts(run: Run) -> list[tuple[str, int, int | None]]:
    """What the data set holds, how much of it, and how much of it is published to be there."""
    summary = run.summaries.get("dataset", {})
    published = {row["what"]: row["published"] for row in summary.get("published", [])}
    return [(what, n, published.get(what)) for what, n in summary.get("counts", {}).items()]


def _findings(run: Run) -> list[tuple[str, str, bool, int]] | None:
    """Kind, partition, whether the rows are kept all the same, and count, by name."""
    if run.findings is None:
        return None
    keys = zip(
        *(run.findings[key].to_pylist() for key in ("kind", "partition", "kept")), strict=True
    )
    return [(*key, count) for key, count in sorted(Counter(keys).items())]


def _reasons(reasons: Any, known: Mapping[str, str]) -> list[tuple[str, str, int]]:
    counts = Counter(reasons.tolist())
    return [(reason, what, counts[reason]) for reason, what in known.items()]


def _flat(summary: dict[str, Any]) -> dict[str, Any]:
    """Without what the page draws."""
    return {key: value for key, value in summary.items() if key != "epochs"}


def _stages(run: Run) -> list[tuple[str, dict[str, Any] | None]]:
    """Every stage in order with its summary; None where it left none."""
    return [
        *((stage, run.summaries.get(stage)) for stage in BEFORE),
        *((stage, _flat(said)) for stage, said in run.method.stages.items()),
        *((stage, run.summaries.get(stage)) for stage in AFTER),
    ]
