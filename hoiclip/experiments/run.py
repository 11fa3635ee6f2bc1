"""Runs one experiment: train, predict the test images, score; the result is kept as a file."""

from __future__ import annotations

import copy
import dataclasses
import platform
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from hoiclip import schema
from hoiclip.data.annotations import Annotations
from hoiclip.data.images import ImageStore
from hoiclip.errors import ParamsError
from hoiclip.evaluation.evaluation import EvaluateConfig
from hoiclip.evaluation.hico import evaluate_hico
from hoiclip.evaluation.outputs import metrics
from hoiclip.evaluation.protocols import HICO, V_COCO, protocol_named
from hoiclip.experiments.plan import Experiment
from hoiclip.inference.model_file import load_detector, only
from hoiclip.inference.predict import PredictConfig, predict
from hoiclip.inference.selection import select_from_files
from hoiclip.methods.hoiclip.build import build_hoiclip
from hoiclip.methods.hoiclip.method import HoiclipMethod
from hoiclip.set_prediction.files import TrainPaths
from hoiclip.set_prediction.training import train
from hoiclip.util.config import load, read_params
from hoiclip.util.files import write_json
from hoiclip.vocabulary import Vocabulary

DATA = Path("data")
PATHS = TrainPaths(verb_vectors=Path("caches/verb_vectors.parquet"))
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
    work = CHECKPOINTS / experiment.name
    file = work / "params.yaml"
    write_json(file, params)  # of which YAML is a superset
    started = time.process_time()
    said = train(build_hoiclip, file, PATHS, work, CHECKPOINTS, lambda epoch, figures: None)
    cpu_seconds = time.process_time() - started
    chosen = select_from_files(HoiclipMethod, file, work, work / "select")
    scores = score_test(work / "select/model.safetensors", file)
    k = chosen["scoring"]["k"]
    shutil.rmtree(work)
    value = {
        "row": experiment.row,
        "length": experiment.length,
        "seed": experiment.seed,
        "overrides": experiment.overrides,
        "metrics": scores[0],
        "metrics_free": scores[k],
        "k": k,
        "steps": said["steps"],
        "seconds": said["seconds"],
        "cpu_seconds": round(cpu_seconds, 1),
        "validation_full": chosen["validation_full"],
        "machine": f"{platform.machine()}, {platform.system()}, torch {torch.__version__}",
    }
    write_json(result, value)
    return value


def score_test(model: Path, params_path: Path) -> dict[int, dict[str, Any]]:
    """Test metrics of a model file by k: without the enhancement (0), and with its own."""
    config = load(PredictConfig, "predict", params_path)
    evaluation = load(EvaluateConfig, "evaluate", params_path)
    detector = load_detector(model, only(HoiclipMethod))
    own = detector.method.scoring
    scorings = {0: dataclasses.replace(own, k=0), own.k: own}
    test = Annotations.read(DATA / "annotations/test")
    predictions = predict(
        detector,
        test.images,
        ImageStore(DATA / "images/test"),
        config,
        torch.device("cpu"),
        list(scorings.values()),
    )
    classes = schema.read_table(PATHS.classes, schema.CLASSES)
    vocabulary = Vocabulary.read(PATHS.vocabulary)
    # Rows are compared by HOI class, which V-COCO's own protocol does not score.
    name = HICO.name if evaluation.protocol == V_COCO else evaluation.protocol
    protocol = protocol_named(name, evaluation.recall_steps)
    return {
        k: metrics(evaluate_hico(table, test, vocabulary, classes, protocol))
        for k, table in zip(scorings, predictions, strict=True)
    }
