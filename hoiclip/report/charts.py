"""The charts of the report, as SVG that depends on its data alone."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from hoiclip.core.vocabulary import RARE_BELOW

MOST_POINTS = 200  # of a line over training steps
SUBSET_STYLES = {
    "full": ("#4c6fbf", "-", "Full"),
    "rare": ("#d4602a", "--", "Rare"),
    "non_rare": ("#2a9d78", ":", "Non-rare"),
}
_SETTINGS: dict[matplotlib.typing.RcKeyType, Any] = {
    "svg.hashsalt": "hoiclip",
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#777777",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "text.parse_math": False,
}


def chart(draw: Callable[[Axes], None], size: tuple[float, float] = (5.0, 3.4)) -> str:
    """Draws one set of axes and returns it as a `data:` URI of an SVG picture.

    Args:
        draw: fills the axes.
        size: width and height in inches.
    """
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def class_scatter(per_class: pa.Table) -> str:
    """AP (Default) of each class that has test instances against its training instances."""
    table = per_class.filter(pc.is_valid(per_class["ap_default"]))
    instances, rare = table["train_instances"].to_numpy(), table["rare"].to_numpy()
    average_precision = table["ap_default"].to_numpy()

    def draw(axes: Axes) -> None:
        # A logarithm has no place for 0: classes without training instances stand left of 1.
        x = np.maximum(instances, 0.5)
        for mask, key, marker in ((~rare, "non_rare", "o"), (rare, "rare", "^")):
            color, _, name = SUBSET_STYLES[key]
            axes.scatter(
                x[mask], average_precision[mask], s=26, color=color, marker=marker,
                alpha=0.8, linewidths=0, label=f"{name} ({mask.sum()})",
            )  # fmt: skip
            if mask.any():
                axes.hlines(
                    average_precision[mask].mean(), x[mask].min() / 1.3, x[mask].max() * 1.3,
                    color=color, linewidth=1.2, linestyle=(0, (4, 2)),
                )  # fmt: skip
        boundary = np.sqrt(RARE_BELOW * (RARE_BELOW - 1))
        axes.axvline(boundary, color="#777777", linewidth=1)
        axes.annotate(
            f" rare: fewer than {RARE_BELOW}", (boundary, 1.0), xycoords=("data", "axes fraction"),
            va="bottom", ha="center", color="#555555", fontsize=8,
        )  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}" if value >= 1 else "0")
        axes.set(xlabel="training instances of the class", ylabel="AP (%)", ylim=(-3, 103))
        axes.legend(loc="lower right", fontsize=8)

    return chart(draw)


def precision_recall(curves: pa.Table) -> str:
    """Mean interpolated precision over recall, one line per subset."""

    def draw(axes: Axes) -> None:
        for subset, (color, line, name) in SUBSET_STYLES.items():
            precision = curves[subset]
            if precision.null_count < len(precision):
                axes.plot(curves["recall"], precision, line, color=color, label=name, linewidth=1.8)
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(loc="lower left", fontsize=8)

    return chart(draw)


def history_lines(history: pa.Table, prefix: str) -> str | None:
    """The values named `prefix/...` over epochs; None if there are none.

    Where there are none but some that are recorded once per epoch, `epoch/prefix/...`, those.
    A line of more than `MOST_POINTS` values is drawn as means of that many equal stretches.
    """
    every = sorted(pc.unique(history["name"]).to_pylist())
    names = [name for name in every if name.startswith(f"{prefix}/")]
    names = names or [name for name in every if name.startswith(f"epoch/{prefix}/")]
    # The sum is drawn first, so that it heads the legend.
    names.sort(key=lambda name: not name.endswith("/total"))
    if not names:
        return None

    def draw(axes: Axes) -> None:
        lowest = np.inf
        for index, name in enumerate(names):
            rows = history.filter(pc.equal(history["name"], name)).sort_by("step")
            x, y = (_means(rows[key].to_numpy()) for key in ("epoch", "value"))
            lowest = min(lowest, np.nanmin(y))
            label = name.rpartition("/")[2]
            color, line, label = SUBSET_STYLES.get(label, (f"C{index}", "-", label))
            width = 2.0 if index == 0 else 1.2
            marker = "o" if len(x) <= 40 else None
            axes.plot(
                x, y, line, color=color, label=label, linewidth=width, marker=marker, markersize=3
            )
        axes.set(xlabel="epoch")
        if prefix == "loss" and lowest > 0:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set(ylabel="weighted loss")
        elif prefix == "validation":
            axes.set(ylabel="validation mAP (%)")
            axes.set_ylim(bottom=0)
        axes.legend(fontsize=8, ncols=2)

    return chart(draw)


def _means(values: np.ndarray) -> np.ndarray:
    if len(values) <= MOST_POINTS:
        return values
    return np.array([part.mean() for part in np.array_split(values, MOST_POINTS)])


def ablation_chart(groups: Sequence[dict[str, Any]]) -> str:
    """Full mAP of each row of the ablation: every seed a point, the mean a bar.

    Args:
        groups: from `results.ablation_groups`.
    """
    lengths = list(dict.fromkeys(group["length"] for group in groups))
    labels = list(dict.fromkeys(group["label"] for group in groups))

    def draw(axes: Axes) -> None:
        for index, length in enumerate(lengths):
            shift = (index - (len(lengths) - 1) / 2) * 0.28
            color, marker = f"C{index}", "os^D"[index % 4]
            for group in groups:
                if group["length"] == length and (values := group["values"]["full"]):
                    x = labels.index(group["label"]) + shift
                    axes.plot(
                        [x] * len(values), values, marker, color=color, markersize=4, alpha=0.7
                    )
                    axes.hlines(np.mean(values), x - 0.11, x + 0.11, color=color, linewidth=2)
            axes.plot([], [], marker, color=color, markersize=4, label=f"{length} schedule")
        axes.set_xticks(range(len(labels)), labels)
        axes.set(ylabel="mAP, Default, Full (%)")
        axes.grid(axis="x", visible=False)
        axes.legend(loc="lower right", fontsize=8)

    return chart(draw)


def error_bars(gains: Sequence[tuple[str, float]], measure: str) -> str:
    """What fixing each kind of error would add, as bars from the first on top.

    Args:
        gains: name and points of AP each.
        measure: what the points are of.
    """
    names, points = [name for name, _ in gains], [value for _, value in gains]

    def draw(axes: Axes) -> None:
        bars = axes.barh(range(len(names)), points, color=SUBSET_STYLES["full"][0], height=0.66)
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8, color="#555555")
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.12)
        axes.set(xlabel=f"points of {measure}")

    return chart(draw)
