"""A model file over anybody's images or a partition's: predictions, and a picture of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from hoiclip import schema
from hoiclip.data.images import ImageStore, decode
from hoiclip.errors import InputError
from hoiclip.files import atomic_folder, write_json
from hoiclip.model_file import Detector, load_detector
from hoiclip.pictures import DrawnPair, draw_pairs, jpeg, style_of
from hoiclip.prediction import SCORES, PredictConfig, as_stated, predict
from hoiclip.progress import track
from hoiclip.runtime import prepare
from hoiclip.vocabulary import Vocabulary

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Files as given, and the images in folders (at any depth, by name); each once, in order.

    Raises:
        InputError: a path does not exist, or there is no image at all.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            found.update(dict.fromkeys(inside))
        elif path.exists():
            found[path] = None
        else:
            raise InputError(path, "no such file or folder")
    if not found:
        looked_for = ", ".join(sorted(SUFFIXES))
        raise InputError(paths[0], "no image in it", fix=f"Looked for {looked_for}")
    return list(found)


def readable_images(paths: list[Path]) -> tuple[pa.Table, list[InputError]]:
    """Rows of `schema.IMAGES` for images that can be decoded, and an error for each other one."""
    rows, errors = [], []
    for path in track(paths, "check images"):
        try:
            image = decode(path.read_bytes(), str(path))
        except InputError as error:
            errors.append(error)
            continue
        except OSError as error:
            errors.append(InputError(path, f"cannot be read ({error.strerror})"))
            continue
        size = {"width": image.width, "height": image.height}
        rows.append({"image_id": len(rows), "file_name": str(path.resolve()), **size})
    return pa.Table.from_pylist(rows, schema=schema.IMAGES), errors


@dataclass(frozen=True)
class Model:
    """A detector ready to predict.

    Attributes:
        detector: the network; states nothing about scores.
        config: how it predicts; `enhancement_k` is a number.
        device: to compute on.
    """

    detector: Detector
    config: PredictConfig
    device: torch.device

    @classmethod
    def load(cls, weights: Path, config: PredictConfig, asked: Mapping[str, Any]) -> Model:
        """Reads a model file.

        Args:
            weights: the file.
            config: used where neither `asked` nor the file say otherwise.
            asked: the keys of `hoiclip.prediction.SCORES` that go before what the file states.

        Raises:
            WeightsError: the file is absent, damaged or no model file, or a score setting is wrong.
        """
        detector = load_detector(weights)
        config = as_stated(as_stated(config, detector.scores), asked, "the command line")
        device = prepare(config.device, config.threads)
        return cls(replace(detector, scores={}), config, device)

    def predict(self, images: pa.Table, store: ImageStore, path: Path) -> pa.Table:
        """Predictions of `images` (rows of `schema.IMAGES`), which are written to `path` too."""
        k = self.config.enhancement_k
        (predictions,) = predict(self.detector, images, store, self.config, [k], self.device)
        scores = {key: value for key, value in asdict(self.config).items() if key in SCORES}
        provenance = {"model": self.detector.provenance, "enhancement_k": k, "scores": scores}
        schema.write_table(path, predictions, schema.PREDICTIONS, provenance)
        return predictions


def predict_partition(model: Model, images: Path, partition: Path, out: Path) -> None:
    """Detects interactions in a partition's images, under its image ids.

    Writes `predictions.parquet` (`schema.PREDICTIONS`) and the model's `vocabulary.parquet`, with
    which `hoiclip evaluate` scores them, into the folder `out`.

    Args:
        model: the detector.
        images: folder of the images, in tar shards or loose.
        partition: folder with the partition's `images.parquet`.
        out: folder, made if absent.

    Raises:
        InputError: the table or an image is absent or unreadable.
    """
    table = schema.read_table(partition / "images.parquet", schema.IMAGES)
    model.predict(table, ImageStore(images), out / "predictions.parquet")
    vocabulary = model.detector.vocabulary
    vocabulary.write(out / "vocabulary.parquet", {"model": model.detector.provenance})


def predict_photos(
    model: Model, paths: Sequence[Path], out: Path, *, least_score: float, pictures: bool
) -> list[InputError]:
    """Detects interactions in images and writes them into the folder `out`.

    `predictions.parquet` (every row, `schema.PREDICTIONS`), `predictions.json` (per image, with
    names, rows of at least `least_score`) and, where `pictures`, `pictures/<number>-<name>.jpg`.

    Args:
        model: the detector.
        paths: images and folders of images.
        out: folder, made if absent.
        least_score: of rows in the JSON and on pictures; fused scores range from 0 to 3.
        pictures: whether to draw.

    Returns:
        One error for each image that could not be read; the others are predicted all the same.
    """
    images, errors = readable_images(find_images(paths))
    store = ImageStore("/")
    predictions = model.predict(images, store, out / "predictions.parquet")
    described = _described(images, predictions, model.detector, least_score)
    provenance = model.detector.provenance
    write_json(out / "predictions.json", {"images": described, "model": provenance})
    if pictures:
        with atomic_folder(out / "pictures") as aside:
            for number, row in enumerate(track(described, "draw")):
                name = f"{number:05d}-{Path(row['file_name']).stem}.jpg"
                (aside / name).write_bytes(_picture(store, row))
    return errors


def _described(
    images: pa.Table, predictions: pa.Table, detector: Detector, least_score: float
) -> list[dict[str, Any]]:
    rows_of: dict[int, list[dict[str, Any]]] = {}
    for row in predictions.filter(pa.array(_at_least(predictions, least_score))).to_pylist():
        rows_of.setdefault(row["image_id"], []).append(_named(row, detector.vocabulary))
    return [
        {
            "file_name": image["file_name"],
            "width": image["width"],
            "height": image["height"],
            "interactions": rows_of.get(image["image_id"], []),
        }
        for image in images.to_pylist()
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


def _picture(store: ImageStore, row: dict[str, Any]) -> bytes:
    pairs = [
        DrawnPair(
            found["human_box_xyxy"],
            found["object_box_xyxy"],
            f"{found['verb']} {found['object'] or ''} {found['score']:.2f}",
            style_of(index),
        )
        for index, found in enumerate(row["interactions"])
    ]
    return jpeg(draw_pairs(store.read(row["file_name"]), pairs))
