"""How far CLIP gets without HOICLIP: the pretrained detector's boxes, classified crop by crop."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from hoiclip.batches.boxes import cxcywh_to_xyxy
from hoiclip.batches.transforms import normalised, to_pixels
from hoiclip.checkpoints.clip import load_clip
from hoiclip.clip.encoder import ClipVisual
from hoiclip.core import schema
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.crops import crop, enclosing_box
from hoiclip.data.annotations import Annotations
from hoiclip.detr.file import load_detr
from hoiclip.detr.network import Detr
from hoiclip.evaluation.hico import evaluate_hico
from hoiclip.evaluation.outputs import metrics
from hoiclip.images.store import ImageStore
from hoiclip.model.config import SetPredictionConfig
from hoiclip.progress import track
from hoiclip.set_prediction.files import TrainPaths
from hoiclip.text_embeddings.table import read_text_embeddings

LEAST_SCORE = 0.3  # of a detection that enters pairs
TEMPERATURE = 100.0  # CLIP's own logit scale is at most that


@torch.inference_mode()
def predict_by_crops(
    detector: Detr,
    clip: ClipVisual,
    hoi_embeddings: np.ndarray,
    vocabulary: Vocabulary,
    images: pa.Table,
    store: ImageStore,
) -> pa.Table:
    """Predictions from every detected person with every detected object.

    Score: person · object · softmax over the object's HOI classes of the cosine between the crop of
    the enclosing rectangle and the class's prompt.
    """
    object_of_hoi = vocabulary.object_of_hoi
    rows: dict[str, list[Any]] = {name: [] for name in schema.PREDICTIONS.names}
    for image_id, name in track(
        list(zip(images["image_id"].to_pylist(), images["file_name"].to_pylist(), strict=True)),
        "CLIP on crops",
    ):
        image = store.read(name)
        outputs = detector(normalised(to_pixels(image))[None])
        scores, classes = outputs.logits[-1, 0].softmax(-1)[:, :-1].max(-1)
        size = torch.tensor([*image.size] * 2)
        boxes = (cxcywh_to_xyxy(outputs.boxes_cxcywh[-1, 0]) * size).numpy()
        found = (scores > LEAST_SCORE).numpy()
        humans = np.flatnonzero(found & (classes == vocabulary.person).numpy())
        objects = np.flatnonzero(found & (classes != vocabulary.person).numpy())
        pairs = [(h, o) for h in humans for o in objects]
        if not pairs:
            continue
        crops = [crop(image, enclosing_box(boxes[[h, o]])) for h, o in pairs]
        features = clip.encode_image(torch.stack([clip.preprocess(c) for c in crops]))
        similarity = torch.nn.functional.normalize(features, dim=-1).numpy() @ hoi_embeddings.T
        for query, ((human, object_), row) in enumerate(zip(pairs, similarity, strict=True)):
            hois = np.flatnonzero(object_of_hoi == int(classes[object_]))
            weights = np.exp(TEMPERATURE * (row[hois] - row[hois].max()))
            pair_score = float(scores[human] * scores[object_])
            for hoi, weight in zip(hois, weights / weights.sum(), strict=True):
                parts = (pair_score * float(weight), float(weight), pair_score, 0.0)
                pair_boxes = (boxes[human].tolist(), boxes[object_].tolist())
                values = (image_id, query, int(hoi), *pair_boxes, *parts)
                for column, value in zip(schema.PREDICTIONS.names, values, strict=True):
                    rows[column].append(value)
    return pa.table(rows, schema=schema.PREDICTIONS)


def score_crops_alone(paths: TrainPaths, config: SetPredictionConfig, data: Path) -> dict[str, Any]:
    """Test metrics of `predict_by_crops`, and the seconds it took."""
    started = time.process_time()
    vocabulary = Vocabulary.read(paths.vocabulary)
    test = Annotations.read(data / "annotations/test")
    predictions = predict_by_crops(
        load_detr(paths.detector, config.detector, config.num_queries).model,
        load_clip(paths.clip),
        read_text_embeddings(paths.text_embeddings, vocabulary).hoi,
        vocabulary,
        test.images,
        ImageStore(data / "images/test"),
    )
    classes = schema.read_table(paths.classes, schema.CLASSES)
    result = evaluate_hico(predictions, test, vocabulary, classes)
    return {"metrics": metrics(result), "cpu_seconds": round(time.process_time() - started, 1)}
