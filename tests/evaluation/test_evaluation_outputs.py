from __future__ import annotations

import hico_worlds as worlds
import numpy as np
import pyarrow.csv as csv
import pytest

from hoiclip.core import schema
from hoiclip.evaluation.ap.protocols import protocol_named
from hoiclip.evaluation.hico import evaluate_hico
from hoiclip.evaluation.outputs import curves_table, metrics, write_outputs


def result_of(seed: int, protocol: str = "hico"):
    world = worlds.random_world(seed)
    return evaluate_hico(world.predictions, *world.parts, protocol_named(protocol))


def test_files_say_what_the_result_says(tmp_path):
    result = result_of(3)
    write_outputs(tmp_path, result, {"stage": "evaluate"})
    table = schema.read_table(tmp_path / "per_class.parquet", schema.PER_CLASS)
    assert schema.read_provenance(tmp_path / "per_class.parquet") == {"stage": "evaluate"}
    values = np.array(table["ap_default"].to_pylist(), float)
    np.testing.assert_array_equal(values, result.scores.average_precision["default"] * 100)
    assert table["name"].to_pylist() == list(result.names)
    assert table["test_instances"].to_pylist() == result.scores.ground_truths.tolist()
    assert table["ap_default"].null_count == (result.scores.ground_truths == 0).sum() > 0
    assert np.nanmean(values) == pytest.approx(metrics(result)["default"]["full"])
    text = csv.read_csv(tmp_path / "per_class.csv")
    assert text.column_names == schema.PER_CLASS.names
    assert text["ap_known_object"].to_pylist() == table["ap_known_object"].to_pylist()
    curves = csv.read_csv(tmp_path / "pr_curves.csv")
    assert curves.column_names == schema.CURVES.names
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "per_class.csv",
        "per_class.parquet",
        "pr_curves.csv",
    ]


@pytest.mark.parametrize("seed", range(10))
def test_every_tenth_point_of_a_curve_averages_to_the_mean_average_precision(seed):
    result = result_of(seed)
    curves = curves_table(result).to_pydict()
    assert curves["recall"] == [i / 100 for i in range(101)]
    for subset in ("full", "rare", "non_rare"):
        precision = curves[subset]
        mean = metrics(result)["default"][subset]
        if mean is None:
            assert precision == [None] * 101
        else:
            assert precision == sorted(precision, reverse=True)
            assert 100 * np.mean(precision[::10]) == pytest.approx(mean)
