"""Average precision of the predictions against the test annotations, and where it goes."""

from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.core import schema
from hoiclip.core.config import chosen_method, load
from hoiclip.core.files import write_json
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.evaluation.evaluation import EvaluateConfig, evaluate_partition
from hoiclip.stage_main import run_stage


def main(params: Path) -> None:
    """Scores and diagnoses the chosen method's predictions by the protocol that params name."""
    config = load(EvaluateConfig, "evaluate", params)
    predictions = f"runs/{chosen_method(params)}/predict/predictions.parquet"
    evaluation = evaluate_partition(
        schema.read_table(predictions, schema.PREDICTIONS),
        "data/annotations/test",
        Vocabulary.read("data/vocabulary.parquet"),
        schema.read_table("data/splits/classes.parquet", schema.CLASSES),
        config,
    )
    evaluation.write_tables("runs/evaluate")
    write_json("metrics.json", evaluation.metrics())


if __name__ == "__main__":
    run_stage("evaluate", main)
