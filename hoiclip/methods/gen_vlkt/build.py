"""GEN-VLKT ready to train: from the cache of texts and pretrained weights."""

from __future__ import annotations

from pathlib import Path

import torch

from hoiclip.checkpoints.clip import load_clip
from hoiclip.core import schema
from hoiclip.core.config import load
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.detr.file import read_detr
from hoiclip.errors import ParamsError
from hoiclip.methods.gen_vlkt.model.config import GenVlktConfig, GenVlktModelConfig
from hoiclip.methods.gen_vlkt.model.method import GenVlktMethod
from hoiclip.methods.gen_vlkt.model.network import ClassEmbeddings, GenVlkt
from hoiclip.methods.gen_vlkt.warm_start import WARM_START
from hoiclip.model.config import SetPredictionConfig
from hoiclip.set_prediction.config import TrainConfig
from hoiclip.set_prediction.files import TrainPaths
from hoiclip.set_prediction.warm_start import warm_start_from_detr
from hoiclip.text_embeddings.table import read_text_embeddings


def build_gen_vlkt(params: Path, paths: TrainPaths, vocabulary: Vocabulary) -> GenVlktMethod:
    """Tables from CLIP's texts, the rest from a DETR or random; CLIP's image tower as the teacher.

    Args:
        params: the params file.
        paths: classes, cache of texts and pretrained weights.
        vocabulary: the data set's.

    Raises:
        ParamsError: a section of the params file is wrong, or tables are to be trained although
            classes are unseen.
        WeightsError: weights are absent or do not fit.
        InputError: classes or cache are absent, or the cache belongs to another vocabulary.
    """
    switches = load(GenVlktConfig, "gen_vlkt", params)
    shared = load(SetPredictionConfig, "model", params)
    config = GenVlktModelConfig(**vars(shared), gen_vlkt=switches)
    unseen = int((~schema.read_table(paths.classes, schema.CLASSES)["seen"].to_numpy()).sum())
    if unseen and switches.classifiers == "trained":
        raise ParamsError(
            f"{params}: gen_vlkt.classifiers: 'trained', but {unseen} HOI classes are unseen, and "
            "training would leave their rows behind; set gen_vlkt.classifiers: frozen and "
            "gen_vlkt.classifier_bias: false"
        )
    text = read_text_embeddings(paths.text_embeddings, vocabulary)
    tables = ClassEmbeddings(torch.from_numpy(text.hoi), torch.from_numpy(text.object_classifier))
    network = GenVlkt(config, starting_tables(tables, switches))
    if load(TrainConfig, "train", params).warm_start:
        detr = read_detr(paths.detector, config.detector)
        warm_start_from_detr(network, detr, paths.detector, WARM_START)
    teacher = load_clip(paths.clip).visual() if switches.mimic > 0 else None
    return GenVlktMethod(network, vocabulary, config, teacher)


def starting_tables(texts: ClassEmbeddings, config: GenVlktConfig) -> ClassEmbeddings:
    """What a fresh network's classifiers start from: CLIP's embeddings, or random directions."""
    if config.classifier_start == "text":
        return texts
    return ClassEmbeddings(*(torch.randn_like(table) for table in vars(texts).values()))
