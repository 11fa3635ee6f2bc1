"""Trains the detector; figures go live through DVCLive."""

from contextlib import ExitStack
from functools import cache
from pathlib import Path

from dvclive import Live

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.config import load
from hoiclip.entry import run_stage
from hoiclip.model.config import ModelConfig
from hoiclip.prediction import PredictConfig
from hoiclip.training.config import TrainConfig
from hoiclip.training.inputs import TrainPaths
from hoiclip.training.loop import Trainer

OUT = Path("runs/hoiclip/train")
PATHS = TrainPaths(
    vocabulary=Path("data/vocabulary.parquet"),
    train=Path("data/splits/train"),
    validation=Path("data/splits/validation"),
    classes=Path("data/splits/classes.parquet"),
    images=Path("data/images/train"),
    text_embeddings=Path("caches/text_embeddings.parquet"),
    verb_vectors=Path("caches/verb_vectors.parquet"),
    clip=Path("caches/weights/clip.safetensors"),
    detector=Path("caches/weights/detector.safetensors"),
)


def main(params: Path) -> dict:
    """Trains from the caches and weights, or goes on with an interrupted training."""

    def log(epoch: int, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            live().log_metric(name, value)
        live().step = epoch
        live().make_summary()

    trainer = Trainer(
        PATHS,
        load(ModelConfig, "model", params),
        load(TrainConfig, "train", params),
        load(PredictConfig, "predict", params),
        resume_root=Path(".checkpoints"),
        log=log,
    )
    with ExitStack() as stack:
        # Opening it clears earlier figures, so not before every input was read and checked, and
        # with them the state of an interrupted training, which another process may be at.
        options = {"dvcyaml": None, "report": None, "save_dvc_exp": False}
        live = cache(lambda: stack.enter_context(Live(str(OUT / "live"), **options)))
        return trainer.run(OUT)


if __name__ == "__main__":
    run_stage("hoiclip/train", main)
