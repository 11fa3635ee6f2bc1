from pathlib import Path

import pytest

from hoiclip.experiments import plan
from hoiclip.experiments.plan import (
    SEEDS,
    TRAINED_ROWS,
    ablation_plan,
    honesty_plan,
    seeds_plan,
)
from hoiclip.experiments.run import with_overrides
from hoiclip.util.config import read_params

EPOCHS, DROP = 16, 12
PLANS = [seeds_plan, ablation_plan, honesty_plan]
PARAMS = Path(__file__).parents[2] / "params.yaml"


def length(experiment):
    return experiment.overrides["train.epochs"], experiment.overrides["train.lr_drop_epoch"]


@pytest.mark.parametrize("make", PLANS)
def test_names_are_unique_and_overrides_are_of_params(make):
    experiments = make(EPOCHS, DROP)
    assert len({e.name for e in experiments}) == len(experiments)
    params = read_params(PARAMS)
    for experiment in experiments:
        changed = with_overrides(params, experiment.overrides)
        assert changed["train"]["seed"] == experiment.seed
        assert changed["train"]["threads"] == changed["predict"]["threads"] == 1


def test_seeds_train_the_default_at_full_length():
    experiments = seeds_plan(EPOCHS, DROP)
    assert [e.seed for e in experiments] == list(SEEDS)
    assert {length(e) for e in experiments} == {(EPOCHS, DROP)}
    default = read_params(PARAMS)
    for key, value in TRAINED_ROWS["verb"].items():
        first, second, last = key.split(".")
        assert default[first][second][last] == value, "the row `verb` is the default"


def test_the_ablation_has_every_row_at_a_quarter_and_two_at_full_length():
    experiments = ablation_plan(EPOCHS, DROP)
    assert {(e.row, e.seed) for e in experiments if e.length == "quarter"} == {
        (row, seed) for row in TRAINED_ROWS for seed in SEEDS
    }
    assert {length(e) for e in experiments if e.length == "quarter"} == {(4, 3)}
    assert {e.row for e in experiments if e.length == "full"} == {"base", "verb"}
    assert {length(e) for e in experiments if e.length == "full"} == {(EPOCHS, DROP)}


def test_a_short_training_still_drops_its_rate_after_an_epoch():
    quarter = [e for e in ablation_plan(4, 3) if e.length == "quarter"]
    assert {length(e) for e in quarter} == {(1, 1)}


def test_rows_differ_in_what_they_switch():
    assert len({tuple(sorted(switches.items())) for switches in TRAINED_ROWS.values()}) == len(
        TRAINED_ROWS
    )


def test_honesty_gives_other_weights_or_more_time(monkeypatch):
    monkeypatch.setattr(plan, "CLIP_PRETRAINING_EPOCHS", 5)
    random, triple, clip_time = honesty_plan(EPOCHS, DROP)
    assert random.overrides["train.warm_start"] is False
    assert length(random) == (EPOCHS, DROP)
    assert length(triple) == (3 * EPOCHS, 3 * DROP)
    # As many epochs at the low rate as the default has.
    assert length(clip_time) == (EPOCHS + 5, EPOCHS + 5 - (EPOCHS - DROP))
