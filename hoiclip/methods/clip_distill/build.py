"""CLIP distillation ready to train: from the cache of texts and pretrained weights."""

from __future__ import annotations

from pathlib import Path

from hoiclip.checkpoints.clip import load_clip
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.detr.file import load_detr
from hoiclip.errors import ParamsError
from hoiclip.methods.clip_distill.caches.inputs import DistillPaths
from hoiclip.methods.clip_distill.model.config import DistillSettings
from hoiclip.methods.clip_distill.model.method import ClipDistillMethod
from hoiclip.text_embeddings.table import read_text_embeddings


def build_clip_distill(
    params: Path, paths: DistillPaths, vocabulary: Vocabulary
) -> ClipDistillMethod:
    """Frozen networks from their files, a student of random weights.

    Args:
        params: the params file.
        paths: cache of texts and pretrained weights.
        vocabulary: the data set's.

    Raises:
        ParamsError: a setting does not fit CLIP's sizes, or the detector not the vocabulary.
        WeightsError: weights are absent or do not fit.
        InputError: the text embeddings are absent or belong to another vocabulary.
    """
    settings = DistillSettings.read(params)
    queries = settings.method.detections.num_queries
    try:
        return ClipDistillMethod.build(
            settings.method,
            settings.detector,
            load_clip(paths.clip).visual(),
            load_detr(paths.detector, settings.detector, queries),
            read_text_embeddings(paths.text_embeddings, vocabulary),
            vocabulary,
        )
    except ValueError as error:
        raise ParamsError(f"clip_distill: {error}") from None
