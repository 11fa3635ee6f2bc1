"""A tiny project folder without any label, a detector that finds something in it, its stages."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

from hoiclip.batches.transforms import normalised, to_pixels
from hoiclip.core import schema
from hoiclip.core.files import write_json
from hoiclip.detr.network import DETR_PREFIXES, Detr
from hoiclip.images.store import ImageStore
from hoiclip.methods.registry import METHODS, method_named
from stages.clip_distill import clip_scores, detections, predict, select, train

PARAMS = Path("params.yaml")
SMALL = {"threads": 1, "epochs": 3, "lr_drop_epoch": 2, "batch_size": 4, "held_out": 0.3}
GROUPS = 3
CLASS_OF_QUERY = [0, 1, 0, 2, 3, 4]
QUERIES = len(CLASS_OF_QUERY)
_LOGIT = 4.0


def save_detector(path: Path, config, toy, seed: int = 0) -> None:
    """A DETR of random weights in `GROUPS` groups, laid out as the toy world's file.

    Its class head is fitted so that the queries of the first group mostly find `CLASS_OF_QUERY`.
    """
    torch.manual_seed(seed)
    objects = toy.vocabulary.objects
    model = Detr(config, 2, len(objects), GROUPS * QUERIES).eval()
    store = ImageStore(toy.folder / "images/test")
    images = normalised(torch.stack([to_pixels(store.read(n)) for n in store.names()[:12]]))
    with torch.no_grad():
        model.queries.weight *= 3
        alone = Detr(config, 2, len(objects), QUERIES).eval()
        first = {"queries.weight": model.queries.weight[:QUERIES]}
        alone.load_state_dict(model.state_dict() | first)
        features = alone(images).features[-1].flatten(0, 1)
        wanted = torch.zeros(QUERIES, len(objects) + 1)
        wanted[torch.arange(QUERIES), torch.tensor(CLASS_OF_QUERY)] = _LOGIT
        inputs = torch.cat([features, torch.ones(len(features), 1)], 1)
        solution = torch.linalg.lstsq(
            inputs, wanted.repeat(len(images), 1), driver="gelsd"
        ).solution
        model.class_head.weight.copy_(solution[:-1].T)
        model.class_head.bias.copy_(solution[-1])
    state = {
        theirs + name.removeprefix(ours): tensor.contiguous()
        for name, tensor in model.state_dict().items()
        for theirs, ours in DETR_PREFIXES.items()
        if name.startswith(ours) and not name.endswith("num_batches_tracked")
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path, {"hoiclip": json.dumps({"objects": list(objects)})})


def make_project(root: Path, toy, model_config, params: dict) -> None:
    """What the label-free stages may read of the toy data set `toy`, and a params file."""
    copies = {
        "vocabulary.parquet": "data/vocabulary.parquet",
        "annotations/train/images.parquet": "data/annotations/train/images.parquet",
        "images/train": "data/images/train",
        "text.parquet": "caches/text_embeddings.parquet",
        "clip.safetensors": "caches/weights/clip.safetensors",
    }
    for source, target in copies.items():
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (toy.folder / source).is_dir() else shutil.copyfile
        copy(toy.folder / source, root / target)
    save_detector(root / "caches/weights/detector.safetensors", model_config.detector, toy)
    write_params(root, model_config, params)


def write_params(root: Path, model_config, params: dict, **changes: dict) -> None:
    """`params` at the smallest sizes; `changes` by section of `clip_distill`."""
    sizes = {"caches": {"threads": 1}, "detections": {"num_queries": QUERIES}}
    method = {
        name: section | sizes.get(name, {}) | changes.get(name, {})
        for name, section in params["clip_distill"].items()
    }
    model = {"detector": dataclasses.asdict(model_config.detector)}
    value = {"clip_distill": method, "model": model}
    (root / "params.yaml").write_text(yaml.safe_dump(value), encoding="utf-8")


def write_short_params(root: Path, model_config, params: dict, **changes: dict) -> None:
    """A params file of a short training, with inference for one thread."""
    model = {"bank_heads": 2}
    changes = {"train": SMALL | changes.pop("train", {}), "model": model, **changes}
    write_params(root, model_config, params, **changes)
    file = root / "params.yaml"
    value = yaml.safe_load(file.read_text())
    value["predict"] = params["predict"] | {"threads": 1}
    file.write_text(yaml.safe_dump(value))


def place_test_images(root: Path, toy) -> None:
    table = toy.test.images.slice(0, 8)
    path = root / "data/annotations/test/images.parquet"
    path.parent.mkdir(parents=True)
    schema.write_table(path, table, schema.IMAGES, {})
    shutil.copytree(toy.folder / "images/test", root / "data/images/test")


def label_free_methods() -> list[str]:
    """Names of the methods that say they read no label."""
    return [name for name in sorted(METHODS) if not method_named(name).uses_labels]


def chain() -> dict:
    """All stages in the working folder, with the summaries that `predict` gathers."""
    for name, stage in (("detections", detections), ("clip_scores", clip_scores),
                        ("train", train), ("select", select)):  # fmt: skip
        said = stage.main(PARAMS)
        said.pop("seconds", None)
        write_json(Path("runs/clip_distill", name, "summary.json"), said)
    return predict.main(PARAMS)
