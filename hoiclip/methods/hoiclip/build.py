"""HOICLIP ready to train: from caches and pretrained weights."""

from __future__ import annotations

from pathlib import Path

import torch

from hoiclip.checkpoints.clip import load_clip
from hoiclip.core.config import load
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.detr.file import read_detr
from hoiclip.methods.hoiclip.model.config import HoiclipConfig, ModelConfig
from hoiclip.methods.hoiclip.model.method import HoiclipMethod
from hoiclip.methods.hoiclip.model.network import HOICLIP, ClassifierWeights
from hoiclip.methods.hoiclip.warm_start import WARM_START
from hoiclip.model.config import SetPredictionConfig
from hoiclip.set_prediction.config import TrainConfig
from hoiclip.set_prediction.files import TrainPaths
from hoiclip.set_prediction.warm_start import warm_start_from_detr
from hoiclip.text_embeddings.table import read_text_embeddings
from hoiclip.verb_vectors.table import read_verb_vectors


def build_hoiclip(params: Path, paths: TrainPaths, vocabulary: Vocabulary) -> HoiclipMethod:
    """Tables from the caches, the rest from a DETR or random.

    Args:
        params: the params file.
        paths: caches and pretrained weights.
        vocabulary: the data set's.

    Raises:
        ParamsError: a section of the params file is wrong.
        WeightsError: weights are absent or do not fit.
        InputError: a cache is absent or belongs to another vocabulary.
    """
    own = load(HoiclipConfig, "hoiclip", params)
    shared = load(SetPredictionConfig, "model", params)
    config = ModelConfig(**vars(shared), interaction=own.interaction, verb=own.verb)
    clip = load_clip(paths.clip).visual()
    text = read_text_embeddings(paths.text_embeddings, vocabulary)
    verb_vectors = None
    if config.verb.representation != "none":
        if paths.verb_vectors is None:
            raise ValueError("verb.representation: there is no cache of verb vectors")
        vectors = read_verb_vectors(
            paths.verb_vectors, config.verb.representation, vocabulary.num_verbs
        )
        verb_vectors = torch.from_numpy(vectors)
    tables = ClassifierWeights(
        torch.from_numpy(text.hoi),
        torch.from_numpy(text.object_classifier),
        torch.from_numpy(vocabulary.verb_to_hoi),
        verb_vectors,
    )
    network = HOICLIP(config, tables, clip.visual_projection)
    if load(TrainConfig, "train", params).warm_start:
        detr = read_detr(paths.detector, config.detector)
        warm_start_from_detr(network, detr, paths.detector, WARM_START)
    return HoiclipMethod(network, clip, vocabulary, config)
