from pathlib import Path

import pytest

from hoiclip.errors import InputError
from hoiclip.report.results import ablation_groups, named_rows, seeds_group, spread

PATH = Path("results/x.json")


def row(name: str, full: float, seed: int, length: str = "full") -> dict:
    metrics = {"default": {"full": full, "rare": None, "non_rare": full + 1}}
    return {"row": name, "length": length, "seed": seed, "metrics": metrics, "seconds": 10}


def test_spread():
    assert spread([]) is None
    assert spread([4.0]) == {"mean": 4, "low": 4, "high": 4}
    assert spread([1.0, 5.0, 3.0]) == {"mean": 3, "low": 1, "high": 5}


def test_ablation_is_grouped_by_length_and_row_in_the_order_of_the_paper():
    rows = [row("verb", 5, 0), row("base", 1, 0, "quarter"), row("base", 2, 0), row("base", 3, 1)]
    groups = ablation_groups({"rows": rows}, PATH)
    assert [(group["length"], group["label"]) for group in groups] == [
        ("full", "Base"),
        ("full", "+ verb"),
        ("quarter", "Base"),
    ]
    assert groups[0]["spread"]["full"] == {"mean": 2.5, "low": 2, "high": 3}
    assert groups[0]["spread"]["rare"] is None
    assert groups[0]["seconds"] == 20


@pytest.mark.parametrize(
    ("clip", "beats"), [([4.0, 5.0], True), ([3.0, 9.0], False), ([9.0], None)]
)
def test_a_row_beats_another_if_its_lowest_seed_is_above_the_highest(clip, beats):
    rows = [row("base", full, seed) for seed, full in enumerate((2.0, 3.0))]
    rows += [row("clip", full, seed) for seed, full in enumerate(clip)]
    base, added = ablation_groups({"rows": rows}, PATH)
    assert base["beats"] is None
    assert added["beats"] is beats


def test_a_row_is_not_compared_over_a_gap():
    rows = [row(name, full, s) for name, full in (("base", 1.0), ("verb", 5.0)) for s in (0, 1)]
    assert ablation_groups({"rows": rows}, PATH)[1]["beats"] is None


def test_seeds_keep_their_runs():
    runs = [{"seed": s, "metrics": {"full": s, "rare": 0, "non_rare": 1}} for s in (2, 0, 1)]
    group = seeds_group({"runs": runs}, PATH)
    assert [run["seed"] for run in group["runs"]] == [0, 1, 2]
    assert group["spread"]["full"] == {"mean": 1, "low": 0, "high": 2}


@pytest.mark.parametrize(
    ("read", "value", "text"),
    [
        (ablation_groups, {}, "results/x.json, rows: missing"),
        (ablation_groups, {"rows": [{"row": "none"}]}, "row 0, row: 'none', expected one of base"),
        (seeds_group, {"runs": [{"seed": 0}]}, "row 0, metrics: holds no mAP"),
        (seeds_group, {"runs": [3]}, "runs: missing, or not a list of objects"),
        (named_rows, {"rows": [{"metrics": {"full": 1}}]}, "row 0, name: None"),
    ],
)
def test_malformed_results_are_refused(read, value, text):
    with pytest.raises(InputError) as error:
        read(value, PATH)
    assert text in str(error.value)
