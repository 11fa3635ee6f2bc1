"""Runs one experiment: train, predict the test images, score; the result is kept as a file."""

from __future__ import annotations

import copy
import platform
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from hoiclip import schema
from hoiclip.config import from_mapping, read_params
from hoiclip.data.annotations import Annotations
from hoiclip.data.images import ImageStore
from hoiclip.errors import ParamsError
from hoiclip.evaluation.hico import evaluate_hico
from hoiclip.evaluation.outputs import metrics
from hoiclip.evaluation.protocols import HICO, V_COCO, protocol_named
from hoiclip.experiments.plan import Experiment
from hoiclip.files import write_json
from hoiclip.model.config import ModelConfig
from hoiclip.model_file import load_detector
from hoiclip.prediction import PredictConfig, choose_k, predict
from hoiclip.training.config import TrainConfig
from hoiclip.training.inputs import TrainPaths
from hoiclip.training.loop import Trainer
from hoiclip.vocabulary import Vocabulary

DATA = Path("data")
PATHS = TrainPaths(
    vocabulary=DATA / "vocabulary.parquet",
    train=DATA / "splits/train",
    validation=DATA / "splits/validation",
    classes=DATA / "splits/classes.parquet",
    images=DATA / "images/train",
    text_embeddings=Path("caches/text_embeddings.parquet"),
    verb_vectors=Path("caches/verb_vectors.parquet"),
    clip=Path("caches/weights/clip.safetensors"),
    detector=Path("caches/weights/detector.safetensors"),
)
CHECKPOINTS = Path(".checkpoints")


def with_overrides(params: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """A copy of `params` with dotted keys replaced.

    Raises:
        ParamsError: a key does not exist.
    """
    params = copy.deepcopy(params)
    for dotted, value in overrides.items():
        *sections, key = dotted.split(".")
        section = params
        for name in sections:
            section = section.get(name, {})
        if key not in section:
            raise ParamsError(f"params.yaml has no key {dotted}")
        section[key] = value
    return params


def run_experiment(experiment: Experiment, params_path: Path, result: Path) -> dict[str, Any]:
    """Trains and scores `experiment` in the project's folder, after the `verb_vectors` stage.

    An interrupted training goes on where it stopped. Writes `result` as JSON: `metrics` without the
    enhancement, `metrics_free` with it (k chosen on validation), `k`, steps and seconds.
    """
    params = with_overrides(read_params(params_path), experiment.overrides)
    sections = {
        name: from_mapping(cls, params[name], f"{params_path}: {name}")
        for name, cls in (
            ("model", ModelConfig),
            ("train", TrainConfig),
            ("predict", PredictConfig),
        )
    }
    work = CHECKPOINTS / experiment.name
    started = time.process_time()
    trainer = Trainer(
        PATHS, *sections.values(), resume_root=CHECKPOINTS, log=lambda epoch, figures: None
    )
    summary = trainer.run(work)
    cpu_seconds = time.process_time() - started
    scores, k = score_test(work / "model.safetensors", sections["predict"], params)
    shutil.rmtree(work)
    value = {
        "row": experiment.row,
        "length": experiment.length,
        "seed": experiment.seed,
        "overrides": experiment.overrides,
        "metrics": scores[0],
        "metrics_free": scores[k],
        "k": k,
        "steps": summary["steps"],
        "seconds": summary["seconds"],
        "cpu_seconds": round(cpu_seconds, 1),
        "validation_full": summary["validation_full"],
        "machine": f"{platform.machine()}, {platform.system()}, torch {torch.__version__}",
    }
    write_json(result, value)
    return value


def score_test(
    model: Path, config: PredictConfig, params: dict[str, Any]
) -> tuple[dict[int, dict[str, Any]], int]:
    """Test metrics of a model file without (0) and with the enhancement, and its k."""
    device = torch.device("cpu")
    detector = load_detector(model)
    classes = schema.read_table(PATHS.classes, schema.CLASSES)
    validation = Annotations.read(PATHS.validation)
    k = config.enhancement_k
    if k is None:
        store = ImageStore(PATHS.images)
        k = choose_k(detector, validation, store, classes, config, device)["best"]
    test = Annotations.read(DATA / "annotations/test")
    ks = sorted({0, k})
    predictions = predict(
        detector, test.images, ImageStore(DATA / "images/test"), config, ks, device
    )
    vocabulary = Vocabulary.read(PATHS.vocabulary)
    name = params["evaluate"]["protocol"]
    # Rows are compared by HOI class, which V-COCO's own protocol does not score.
    name = HICO.name if name == V_COCO else name
    protocol = protocol_named(name, params["evaluate"].get("recall_steps"))
    return {
        k_: metrics(evaluate_hico(table, test, vocabulary, classes, protocol))
        for k_, table in zip(ks, predictions, strict=True)
    }, k
