"""Average precision of the predictions against the test annotations."""

from pathlib import Path

from hoiclip import schema
from hoiclip.config import load
from hoiclip.data.annotations import Annotations
from hoiclip.entry import run_stage
from hoiclip.evaluation.hico import EvaluateConfig, evaluate_hico
from hoiclip.evaluation.outputs import metrics, write_outputs
from hoiclip.files import write_json
from hoiclip.vocabulary import Vocabulary

ANNOTATIONS = Path("data/annotations/test")


def main(params: Path) -> None:
    """Scores the predictions by the protocol that params name."""
    config = load(EvaluateConfig, "evaluate", params)
    vocabulary = Vocabulary.read("data/vocabulary.parquet")
    annotations = Annotations.read(ANNOTATIONS)
    annotations.check(ANNOTATIONS, vocabulary)
    result = evaluate_hico(
        schema.read_table("runs/predict/predictions.parquet", schema.PREDICTIONS),
        annotations.images,
        annotations.instances,
        annotations.interactions,
        vocabulary,
        schema.read_table("data/splits/classes.parquet", schema.CLASSES),
        config.protocol,
    )
    write_outputs("runs/evaluate", result, {"protocol": config.protocol})
    write_json("metrics.json", metrics(result))


if __name__ == "__main__":
    run_stage("evaluate", main)
