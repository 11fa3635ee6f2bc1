"""Average precision of the predictions against the test annotations, and where it goes."""

from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.core import schema
from hoiclip.core.config import chosen_method, load
from hoiclip.core.files import write_json
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.errors import ParamsError
from hoiclip.evaluation.evaluation import EvaluateConfig, evaluate_partition
from hoiclip.stage_main import run_stage


def main(params: Path) -> None:
    """Scores and diagnoses the chosen method's predictions by the protocol that params name."""
    config = load(EvaluateConfig, "evaluate", params)
    predictions = f"runs/{_method(params)}/predict/predictions.parquet"
    evaluation = evaluate_partition(
        schema.read_table(predictions, schema.PREDICTIONS),
        "data/annotations/test",
        Vocabulary.read("data/vocabulary.parquet"),
        schema.read_table("data/splits/classes.parquet", schema.CLASSES),
        config,
    )
    evaluation.write_tables("runs/evaluate")
    write_json("metrics.json", evaluation.metrics())


def _method(params: Path) -> str:
    """The chosen method; no stage before this one reads which it is."""
    known = sorted(path.parent.name for path in Path("methods").glob("*/dvc.yaml"))
    choice = f"expected one of {', '.join(known)}"
    try:
        method = chosen_method(params)
    except ParamsError as error:
        raise ParamsError(f"{error}: {choice}" if known else str(error)) from None
    if known and method not in known:
        raise ParamsError(f"{params}: method: {method!r}, {choice}")
    return method


if __name__ == "__main__":
    run_stage("evaluate", main)
