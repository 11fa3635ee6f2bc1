"""Which epoch's weights, and which scoring, are best on validation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import torch

from hoiclip.contract.method import Method
from hoiclip.contract.model_file import Detector, load_detector, only
from hoiclip.core import schema
from hoiclip.core.config import load
from hoiclip.core.files import write_json
from hoiclip.data.annotations import Annotations
from hoiclip.errors import WeightsError
from hoiclip.evaluation.hico import evaluate_hico
from hoiclip.evaluation.outputs import metrics
from hoiclip.images.store import ImageStore
from hoiclip.inference.predict import PredictConfig, predict
from hoiclip.model.tensors import read_safetensors
from hoiclip.parallel.device import prepare
from hoiclip.progress import say
from hoiclip.util.ranges import Config

VALIDATION = Path("data/splits/validation")
CLASSES = Path("data/splits/classes.parquet")
IMAGES = Path("data/images/train")


@dataclass(frozen=True, kw_only=True)
class SelectConfig(Config):
    """Choice of the weights (`select` in params.yaml).

    Attributes:
        weights: `best` takes the kept epoch of the highest validation mAP, of equal ones the
            earliest; `last` the last epoch. Without validation images it is the last.
    """

    weights: Literal["best", "last"]


@dataclass(frozen=True)
class Validation:
    """What is chosen on.

    Attributes:
        annotations: the partition.
        store: where its images are.
        classes: rows of `schema.CLASSES`.
        config: how it is predicted.
        device: to compute on.
    """

    annotations: Annotations
    store: ImageStore
    classes: pa.Table
    config: PredictConfig
    device: torch.device

    def scores(
        self, detector: Detector, scorings: Sequence[Config]
    ) -> list[dict[str, float | None]]:
        """Figures of the Default setting, percent, once for each scoring; `full` is mAP."""
        images = self.annotations.images
        tables = predict(detector, images, self.store, self.config, self.device, scorings)
        truth = self.annotations, detector.vocabulary, self.classes
        results = [evaluate_hico(table, *truth) for table in tables]
        return [metrics(result)["default"] for result in results]


@dataclass(frozen=True)
class Selected:
    """What was chosen, and why.

    Attributes:
        epoch: whose weights they are.
        epochs: validation figures of each epoch that was tried.
        scorings: validation mAP, percent, of each scoring that was tried, with that epoch.
    """

    epoch: int
    epochs: dict[int, dict[str, float | None]]
    scorings: list[tuple[Config, float | None]]


def select(
    detector: Detector,
    weights: Mapping[int, Path],
    scorings: Sequence[Config],
    config: SelectConfig,
    validation: Validation,
) -> Selected:
    """Gives `detector` the best weights and the best scoring; its method is changed in place.

    Epochs are compared by the first scoring; then, with the best epoch's weights, the scorings, of
    equal ones the first.

    Args:
        detector: as after the last epoch.
        weights: files of the network's tensors of the epochs that were kept.
        scorings: what the method's `scoring` may be.
        config: what to choose.
        validation: what to choose on.

    Raises:
        WeightsError: a file is absent, damaged or of another network.
    """
    method = detector.method
    epoch = max(weights)
    epochs: dict[int, dict[str, float | None]] = {}
    images = len(validation.annotations.images)
    if images and config.weights == "best":
        for tried in sorted(weights):
            _load(detector, weights[tried])
            (epochs[tried],) = validation.scores(detector, scorings[:1])
            say(f"epoch {tried}: validation mAP {epochs[tried]['full'] or 0:.2f}")
        epoch = max(sorted(epochs), key=lambda tried: epochs[tried]["full"] or 0.0)
    _load(detector, weights[epoch])
    full: list[float | None] = [None] * len(scorings)
    if images and len(scorings) > 1:
        full = [found["full"] for found in validation.scores(detector, scorings)]
    best = max(range(len(scorings)), key=lambda index: full[index] or 0.0)
    method.scoring = scorings[best]
    return Selected(epoch, epochs, list(zip(scorings, full, strict=True)))


def _load(detector: Detector, path: Path) -> None:
    state, _ = read_safetensors(path)
    try:
        detector.method.network.load_state_dict(state)
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path}: weights of another network ({problem})") from None


def select_from_files(method: type[Method], params: Path, train: Path, out: Path) -> dict[str, Any]:
    """Selects from what training left in the folder `train`.

    Writes `model.safetensors` and `selection.json` (what was chosen, and each scoring's mAP) into
    the folder `out`.

    Returns:
        The epoch whose weights were chosen, its validation mAP, the scoring, and under `epochs` the
        figures of each that was tried.

    Raises:
        HoiclipError: a param or file is wrong.
        ValueError: the method learns without labels, on which validation figures rest.
    """
    if not method.uses_labels:
        raise ValueError(f"{method.title} learns without labels; its weights are not chosen on any")
    config = load(SelectConfig, "select", params)
    predict_config = load(PredictConfig, "predict", params)
    scorings = method.scorings(params)
    detector = load_detector(train / "model.safetensors", only(method))
    validation = Validation(
        Annotations.read(VALIDATION),
        ImageStore(IMAGES),
        schema.read_table(CLASSES, schema.CLASSES),
        predict_config,
        prepare(predict_config.device, predict_config.threads),
    )
    selected = select(detector, kept_weights(train / "weights"), scorings, config, validation)
    figures = selected.epochs.get(selected.epoch, {})
    chosen = {
        "epoch": selected.epoch,
        "validation_full": figures.get("full"),
        "scoring": dataclasses.asdict(detector.method.scoring),
    }
    provenance = {**detector.provenance, "epoch": selected.epoch, "selected": chosen}
    detector = dataclasses.replace(detector, provenance=provenance)
    detector.save(out / "model.safetensors")
    epochs = {str(epoch): found for epoch, found in selected.epochs.items()}
    sweep = [{**vars(scoring), "full": full} for scoring, full in selected.scorings]
    write_json(out / "selection.json", {**chosen, "scorings": sweep})
    return {**chosen, "epochs": epochs}


def kept_weights(folder: Path) -> dict[int, Path]:
    """The files of weights in a folder, by epoch.

    Raises:
        WeightsError: there is none.
    """
    found = {int(path.stem.rpartition("-")[2]): path for path in folder.glob("epoch-*.safetensors")}
    if not found:
        raise WeightsError(f"{folder}: holds no weights of an epoch; run the train stage")
    return dict(sorted(found.items()))
