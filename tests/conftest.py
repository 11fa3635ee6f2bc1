"""Tiny sizes, a tiny toy data set and tiny caches, so that the whole chain runs in seconds."""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

# Sums depend on the number of threads; set before PyTorch is imported.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pyarrow as pa
import pytest
import yaml

ROOT = Path(__file__).parents[1]
CLIP_WIDTH, EMBED_DIM = 16, 12
TRAIN_IMAGES, TEST_IMAGES = 12, 48


def thread_pool(workers: int, mp_context: object) -> ThreadPoolExecutor:
    """Stands in for the pool of processes that renders: starting one takes seconds."""
    return ThreadPoolExecutor(workers)


@pytest.fixture(scope="session")
def params() -> dict:
    """The committed params.yaml as a mapping."""
    return yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def model_config(params):
    """The network of params.yaml at the smallest sizes."""
    from hoiclip.core.config import from_mapping
    from hoiclip.methods.hoiclip.model.config import ModelConfig

    sizes = {
        "num_queries": 6,
        "decoder_layers": 2,
        "detector": {
            "backbone": {
                "block": "basic", "layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16], "stride": 32,
            },
            "width": 16, "encoder_layers": 1, "heads": 2, "feed_forward": 16, "dropout": 0.1,
        },
        "interaction": params["hoiclip"]["interaction"] | {"heads": 2, "feed_forward": 16},
        "verb": params["hoiclip"]["verb"] | {"adapter_hidden": 8},
    }  # fmt: skip
    return from_mapping(ModelConfig, sizes, "model")


@pytest.fixture(scope="session")
def clip_config() -> dict:
    """A CLIP of one layer for images of 32 px, with five tokens."""
    return {
        "model_cfg": {
            "embed_dim": EMBED_DIM,
            "vision_cfg": {
                "image_size": 32, "patch_size": 16, "width": CLIP_WIDTH, "layers": 1,
                "head_width": 8,
            },
            "text_cfg": {
                "context_length": 4, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1,
            },
        }
    }  # fmt: skip


@pytest.fixture(scope="session")
def make_detector(model_config, clip_config):
    """Builds a fresh detector in eval mode: `make_detector(config, vocabulary, seed)`."""
    import torch

    from hoiclip.batches.transforms import TransformsConfig
    from hoiclip.clip.encoder import ClipVisual
    from hoiclip.contract.model_file import Detector
    from hoiclip.core.config import from_mapping
    from hoiclip.datasets.toy import toy_vocabulary
    from hoiclip.methods.hoiclip.model.method import HoiclipMethod
    from hoiclip.methods.hoiclip.model.network import HOICLIP, ClassifierWeights

    transforms = from_mapping(
        TransformsConfig,
        {
            "flip": 0.5, "color_jitter": 0.0, "scales": [], "crop_scales": [],
            "crop_sides": [384, 600], "max_side": 1333, "test_scale": 0,
        },
        "transforms",
    )  # fmt: skip

    def build(config=None, vocabulary=None, seed=0, scoring=None, **tables) -> Detector:
        torch.manual_seed(seed)
        config = config or model_config
        vocabulary = vocabulary or toy_vocabulary()
        clip = ClipVisual(clip_config)
        model = HOICLIP(
            config,
            ClassifierWeights(
                torch.randn(vocabulary.num_hois, EMBED_DIM),
                torch.randn(vocabulary.num_objects + vocabulary.has_missing_objects + 1, EMBED_DIM),
                torch.from_numpy(vocabulary.verb_to_hoi),
                torch.nn.functional.normalize(torch.randn(vocabulary.num_verbs, EMBED_DIM), dim=-1),
                **tables,
            ),
            clip.visual_projection,
        )
        method = HoiclipMethod(model, clip, vocabulary, config, scoring)
        return Detector(method.eval(), transforms, {}, {"test": 1})

    return build


@pytest.fixture(scope="session")
def toy(tmp_path_factory, clip_config, make_detector) -> SimpleNamespace:
    """A tiny toy data set with caches and weights of random numbers; tests only read it.

    Of the train images the last four are the validation partition.
    """
    import torch
    from safetensors.torch import save_file

    import hoiclip.datasets.toy
    from hoiclip.checkpoints.clip import save_clip
    from hoiclip.clip.encoder import build_clip
    from hoiclip.core import schema
    from hoiclip.datasets.toy import toy_vocabulary, write_toy_partition
    from hoiclip.set_prediction.files import TrainPaths
    from hoiclip.set_prediction.warm_start import DETR_KEY_MAP

    folder = tmp_path_factory.mktemp("toy")
    vocabulary = toy_vocabulary()
    vocabulary.write(folder / "vocabulary.parquet", {})
    sizes = {"train": TRAIN_IMAGES, "test": TEST_IMAGES}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(hoiclip.datasets.toy, "ProcessPoolExecutor", thread_pool)
        partitions = {
            name: write_toy_partition(
                name, seed=0, num_images=size, annotations=folder / "annotations" / name,
                images=folder / "images" / name, workers=1,
            )
            for name, size in sizes.items()
        }  # fmt: skip

    train, validation = np.arange(8), np.arange(8, TRAIN_IMAGES)
    partitions["train"].select(train).write(folder / "splits/train", {})
    partitions["train"].select(validation).write(folder / "splits/validation", {})
    hois = np.arange(vocabulary.num_hois, dtype=np.int32)
    classes = pa.table(
        {
            "hoi": hois,
            "train_instances": np.full(len(hois), 20, np.int32),
            "rare": hois < 5,
            "seen": np.ones(len(hois), bool),
        }
    )
    schema.write_table(folder / "splits/classes.parquet", classes, schema.CLASSES, {})

    rng = np.random.default_rng(0)

    def unit_vectors(count: int) -> pa.Array:
        vectors = rng.normal(size=(count, EMBED_DIM))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return schema.numpy_to_fixed_lists(vectors.astype(np.float32))

    counts = {
        "hoi": vocabulary.num_hois, "object": vocabulary.num_objects, "no_object": 1,
        "verb": vocabulary.num_verbs, "null": vocabulary.num_objects,
    }  # fmt: skip
    ids = [(kind, index) for kind, count in counts.items() for index in range(count)]
    text = pa.table(
        {
            "kind": [kind for kind, _ in ids],
            "id": [index for _, index in ids],
            "prompt": [f"{kind} {index}" for kind, index in ids],
            "embedding": unit_vectors(len(ids)),
        }
    )
    text_schema = schema.text_embeddings_schema(EMBED_DIM)
    schema.write_table(folder / "text.parquet", text.cast(text_schema), text_schema, {})
    verbs = pa.table(
        {
            "representation": ["arithmetic"] * vocabulary.num_verbs,
            "verb": np.arange(vocabulary.num_verbs, dtype=np.int32),
            "source": ["crops"] * vocabulary.num_verbs,
            "pairs": np.ones(vocabulary.num_verbs, np.int64),
            "vector": unit_vectors(vocabulary.num_verbs),
        }
    )
    verb_schema = schema.verb_vectors_schema(EMBED_DIM)
    schema.write_table(folder / "verbs.parquet", verbs.cast(verb_schema), verb_schema, {})

    torch.manual_seed(1)
    save_clip(folder / "clip.safetensors", clip_config, build_clip(clip_config).state_dict(), {})
    state = make_detector(seed=2).method.network.state_dict()
    detr = {
        name + key.removeprefix(ours): tensor.contiguous()
        for name, prefixes in DETR_KEY_MAP.items()
        for ours in prefixes[:1]
        for key, tensor in state.items()
        if key.startswith(ours)
    }
    save_file(detr, folder / "detr.safetensors")
    paths = TrainPaths(
        vocabulary=folder / "vocabulary.parquet",
        train=folder / "splits/train",
        classes=folder / "splits/classes.parquet",
        images=folder / "images/train",
        text_embeddings=folder / "text.parquet",
        verb_vectors=folder / "verbs.parquet",
        clip=folder / "clip.safetensors",
        detector=folder / "detr.safetensors",
    )
    return SimpleNamespace(
        folder=folder,
        vocabulary=vocabulary,
        paths=paths,
        classes=classes.cast(schema.CLASSES),
        detr=detr,
        **partitions,
    )


@pytest.fixture(scope="session")
def predict_config(params):
    """Inference as params.yaml has it, on one thread."""
    from hoiclip.core.config import from_mapping
    from hoiclip.inference.predict import PredictConfig

    config = from_mapping(PredictConfig, params["predict"], "predict")
    return dataclasses.replace(config, device="cpu", threads=1, batch_size=8)


class Shards:
    """The shards that passes over images write.

    Attributes:
        made: their files, since it was cleared.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from hoiclip import passes

        self.made: list[Path] = []
        self._limit: int | None = None
        self._write = passes.write_archive
        monkeypatch.setattr(passes, "write_archive", self._note)

    def _note(self, path: Path, content: dict) -> None:
        if len(self.made) == self._limit:
            raise KeyboardInterrupt
        self._write(path, content)
        self.made.append(path)

    def kill(self, run, after: int) -> list[Path]:
        """Kills a run that has made so many shards, and gives them."""
        self.made.clear()
        self._limit = after
        with pytest.raises(KeyboardInterrupt):
            run()
        self._limit = None
        made = [*self.made]
        self.made.clear()
        return made


@pytest.fixture
def shards(monkeypatch) -> Shards:
    """Notes the shards that passes write, and kills a run between two."""
    return Shards(monkeypatch)
