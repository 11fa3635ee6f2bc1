"""A model file over anybody's images or a partition's: predictions, and a picture of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from hoiclip.contract.model_file import Detector, load_detector
from hoiclip.core import schema
from hoiclip.core.files import atomic_folder, write_json
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.errors import InputError
from hoiclip.images.store import ImageStore, Limits
from hoiclip.inference.image_batches import ImageFiles
from hoiclip.inference.image_files import (
    earlier_results,
    find_images,
    picture_name,
    read_image_file,
    text_of,
)
from hoiclip.inference.predict import (
    SCORES,
    PredictConfig,
    as_stated,
    predict,
    predict_batches,
    with_scoring,
)
from hoiclip.methods.registry import method_named
from hoiclip.parallel.device import prepare
from hoiclip.progress import track
from hoiclip.visualization.draw_pairs import DrawnPair, display_size, draw_pairs, jpeg, style_of

LIMITS = Limits(bytes=200_000_000)


@dataclass(frozen=True)
class Model:
    """A detector ready to predict.

    Attributes:
        detector: the method; states nothing about scores.
        config: how it predicts.
        device: to compute on.
    """

    detector: Detector
    config: PredictConfig
    device: torch.device

    @classmethod
    def load(
        cls,
        weights: Path,
        config: PredictConfig,
        asked: Mapping[str, Any],
        scoring: Mapping[str, Any],
    ) -> Model:
        """Reads a model file.

        Args:
            weights: the file.
            config: used where neither `asked` nor the file say otherwise.
            asked: the keys of `predict.SCORES` that go before what the file states.
            scoring: keys of the method's own `scoring` that go before what the file states.

        Raises:
            WeightsError: the file is absent, damaged or no model file, or a score setting is wrong.
        """
        detector = with_scoring(load_detector(weights, method_named), scoring)
        config = as_stated(
            as_stated(config, detector.scores, str(weights)), asked, "the command line"
        )
        device = prepare(config.device, config.threads)
        detector.method.to(device)
        return cls(replace(detector, scores={}), config, device)

    def used(self, least_score: float | None) -> str:
        """The method and its own settings of scores in one line, as the command line takes them.

        Args:
            least_score: as for `predict_image_files`.
        """
        method = self.detector.method
        scoring = [f"--scoring {key}={value}" for key, value in asdict(method.scoring).items()]
        least = method.shown_score if least_score is None else least_score
        return " ".join([f"{method.title}:", *scoring, f"--least-score {least}"])

    def predict(self, images: pa.Table, store: ImageStore, path: Path) -> pa.Table:
        """Predictions of `images` (rows of `schema.IMAGES`), which are written to `path` too."""
        (predictions,) = predict(self.detector, images, store, self.config, self.device)
        self._write(path, predictions)
        return predictions

    def predict_image_files(self, image_files: ImageFiles, path: Path) -> pa.Table:
        """Predictions of `image_files` that can be read, which are written to `path` too."""
        steps = -(-len(image_files.paths) // self.config.batch_size)
        batches = image_files.batches(self.config.batch_size, self.config.workers)
        batches = track(batches, "predict", steps)
        (predictions,) = predict_batches(
            self.detector.method,
            batches,
            np.arange(len(image_files.paths)),
            self.config,
            lambda index: str(image_files.rows[index]["path"]),
        )
        self._write(path, predictions)
        return predictions

    def _write(self, path: Path, predictions: pa.Table) -> None:
        method = self.detector.method
        scores = {key: value for key, value in asdict(self.config).items() if key in SCORES}
        provenance = {
            "method": method.name,
            "model": self.detector.provenance,
            "scoring": asdict(method.scoring),
            "scores": scores,
        }
        schema.write_table(path, predictions, schema.PREDICTIONS, provenance)


def predict_partition(
    model: Model, images: Path, partition: Path, out: Path, limits: Limits = LIMITS
) -> None:
    """Detects interactions in a partition's images, under its image ids.

    Writes `predictions.parquet` (`schema.PREDICTIONS`) and the model's `vocabulary.parquet`, with
    which `hoiclip evaluate` scores them, into the folder `out`. Images are resized as the predict
    stage does it, by the model's `transforms`, so that the figures are those of the pipeline.

    Args:
        model: the detector.
        images: folder of the images, in tar shards or loose.
        partition: folder with the partition's `images.parquet`.
        out: folder, made if absent.
        limits: of the images.

    Raises:
        InputError: the table or an image is absent or unreadable.
    """
    table = schema.read_table(partition / "images.parquet", schema.IMAGES)
    model.predict(table, ImageStore(images, limits), out / "predictions.parquet")
    vocabulary = model.detector.vocabulary
    vocabulary.write(out / "vocabulary.parquet", {"model": model.detector.provenance})


def predict_image_files(
    model: Model,
    paths: Sequence[Path],
    out: Path,
    *,
    least_score: float | None,
    pictures: bool,
    limits: Limits = LIMITS,
) -> tuple[list[InputError], str]:
    """Detects interactions in images of any size and writes them into the folder `out`.

    Images are resized to the scale that the model knows; boxes are in pixels of the full image.

    `predictions.parquet` (every row, `schema.PREDICTIONS`), `predictions.json` (per image, with
    names, rows of at least `least_score`) and, where `pictures`, `pictures/<number>-<name>.jpg`.

    Args:
        model: the detector.
        paths: images and folders of images.
        out: folder, made if absent.
        least_score: of rows in the JSON and on pictures; None: what the method says.
        pictures: whether to draw.
        limits: of the images.

    Returns:
        One error for each image that could not be read, while the others are predicted all the
        same; and a line about the files in folders that were passed over, empty if none was.

    Raises:
        InputError: a path does not exist, or there is no image at all.
    """
    if least_score is None:
        least_score = model.detector.method.shown_score
    found = find_images(paths, earlier_results(out, pictures=pictures))
    image_files = ImageFiles(found.images, model.detector, limits)
    predictions = model.predict_image_files(image_files, out / "predictions.parquet")
    described = _described(image_files, predictions, model.detector, least_score)
    provenance = model.detector.provenance
    write_json(out / "predictions.json", {"images": described, "model": provenance})
    errors = [*found.errors, *image_files.errors]
    if pictures:
        with atomic_folder(out / "pictures") as aside:
            drawn = zip(image_files.rows, described, strict=True)
            for number, (file, row) in enumerate(track(drawn, "draw", len(described))):
                try:
                    picture = _picture(file["path"], limits, row["interactions"])
                except InputError as error:  # for somebody changed the file meanwhile
                    errors.append(error)
                    continue
                (aside / picture_name(number, file["path"])).write_bytes(picture)
    return errors, found.passed_over_text() if found.passed_over else ""


def _described(
    image_files: ImageFiles, predictions: pa.Table, detector: Detector, least_score: float
) -> list[dict[str, Any]]:
    rows_of: dict[int, list[dict[str, Any]]] = {}
    for row in predictions.filter(pa.array(_at_least(predictions, least_score))).to_pylist():
        rows_of.setdefault(row["image_id"], []).append(_named(row, detector.vocabulary))
    return [
        {
            "file_name": text_of(file["path"]),
            "width": file["width"],
            "height": file["height"],
            "interactions": rows_of.get(image_id, []),
        }
        for image_id, file in enumerate(image_files.rows)
    ]


def _at_least(predictions: pa.Table, least_score: float) -> np.ndarray:
    return predictions["score"].to_numpy() >= least_score


def _named(row: dict[str, Any], vocabulary: Vocabulary) -> dict[str, Any]:
    hoi = vocabulary.hois[row["hoi"]]
    return {
        "verb": vocabulary.verbs[hoi.verb].name,
        "object": None if hoi.object is None else vocabulary.objects[hoi.object],
        **{key: row[key] for key in schema.PREDICTIONS.names if key != "image_id"},
    }


def _picture(path: Path, limits: Limits, interactions: list[dict[str, Any]]) -> bytes:
    pairs = [
        DrawnPair(
            found["human_box_xyxy"],
            found["object_box_xyxy"],
            f"{found['verb']} {found['object'] or ''} {found['score']:.2f}",
            style_of(index),
        )
        for index, found in enumerate(interactions)
    ]
    image, size = read_image_file(path, limits, lambda full: display_size(*full))
    return jpeg(draw_pairs(image, pairs, size))
