"""No label can reach CLIP distillation: by what its stages open, and by what they write."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from label_free_world import (
    PARAMS,
    chain,
    make_project,
    place_test_images,
    write_short_params,
)

from hoiclip.core import schema
from hoiclip.core.files import sha256_file
from hoiclip.data.annotations import Annotations
from hoiclip.methods.clip_distill import training
from stages.clip_distill import clip_scores, detections, train

ROOT = Path(__file__).parents[3]
LABELS = ("instances.parquet", "interactions.parquet")


@pytest.fixture
def project(tmp_path, toy, model_config, params, monkeypatch) -> Path:
    make_project(tmp_path, toy, model_config, params)
    place_test_images(tmp_path, toy)
    write_short_params(tmp_path, model_config, params)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def place_labels(root: Path, toy) -> list[Path]:
    """Every label file where a project has it; returns them."""
    for partition in ("train", "test"):
        for name in LABELS:
            source = toy.folder / "annotations" / partition / name
            shutil.copyfile(source, root / "data/annotations" / partition / name)
    shutil.copytree(toy.folder / "splits", root / "data/splits")
    found = [path for path in root.glob("data/*/*/*.parquet") if path.name in LABELS]
    return [*found, root / "data/splits/classes.parquet"]


def permute(path: Path, rng: np.random.Generator) -> None:
    """Mixes what the rows of a table say about each image."""
    table, origin = schema.read_table(path), schema.read_provenance(path)
    order = rng.permutation(len(table))
    for name in set(table.column_names) - {"image_id", "instance"}:
        index = table.column_names.index(name)
        table = table.set_column(index, table.field(name), table[name].take(order))
    schema.write_table(path, table, table.schema, origin)


def written(root: Path) -> dict[str, str]:
    """SHA-256 of all that the stages wrote, less the figures that go live."""
    files = [*root.glob("caches/clip_distill/*"), *root.glob("runs/clip_distill/**/*")]
    return {
        path.relative_to(root).as_posix(): sha256_file(path)
        for path in files
        if path.is_file() and "live" not in path.parts
    }


def start_anew(root: Path) -> None:
    for name in ("caches/clip_distill", "runs", ".checkpoints"):
        shutil.rmtree(root / name, ignore_errors=True)


def test_the_same_bytes_whatever_the_labels_are(project, toy):
    """Absent, present, permuted, and no Parquet at all."""
    chain()
    without = written(project)
    assert len(without) > 10
    start_anew(project)
    labels = place_labels(project, toy)
    # Two partitions of `annotations`, two of `splits`, two tables each; and the classes.
    assert len(labels) == 2 * 2 * 2 + 1
    chain()
    assert written(project) == without
    start_anew(project)
    rng = np.random.default_rng(0)
    before = [sha256_file(path) for path in labels]
    for path in labels:
        permute(path, rng)
    assert not set(before) & {sha256_file(path) for path in labels}
    assert Annotations.read(project / "data/annotations/train").interactions is not None
    chain()
    assert written(project) == without
    start_anew(project)
    for path in labels:
        path.write_bytes(b"no labels")
    chain()
    assert written(project) == without


def test_the_bytes_tell_of_a_training_that_looks_at_labels(project, toy, monkeypatch):
    """Else the test above would hold of anything."""

    def held_out_by_label(names: list[str], share: float) -> np.ndarray:
        rows = Annotations.read(project / "data/annotations/train").interactions
        first = dict(zip(*(reversed(rows[key].to_pylist()) for key in ("image_id", "hoi")),
                         strict=True))  # fmt: skip
        images = schema.read_table(project / "data/annotations/train/images.parquet")
        return np.array([first.get(i, 0) % 3 == 0 for i in images["image_id"].to_pylist()])

    monkeypatch.setattr(training, "held_out_rows", held_out_by_label)
    labels = place_labels(project, toy)
    for stage in (detections, clip_scores, train):
        stage.main(PARAMS)
    before = written(project)
    for path in labels:
        permute(path, np.random.default_rng(0))
    train.main(PARAMS)
    after = written(project)
    differ = {name for name in before if before[name] != after[name]}
    assert "runs/clip_distill/train/model.safetensors" in differ
    assert not [name for name in differ if name.startswith("caches")]


# Ends what opens a label file, or what was made of labels. Python tells of every file that it opens
# itself; PyArrow opens Parquet files by itself, so that all that reads them has to tell.
WATCHED = """
import sys
from pathlib import Path

import pyarrow.parquet
import pyarrow.parquet.core

WORDS = ("instances.parquet", "interactions.parquet", "data/splits", "unlabelled_people",
         "outside_vocabulary", "/raw/", "caches/verb_vectors", "weights/verb_vectors",
         "runs/hoiclip/")


class LabelRead(Exception):
    pass


def watch(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], (str, bytes)):
        name = arguments[0] if isinstance(arguments[0], str) else arguments[0].decode()
        if any(word in str(Path(name).absolute()) for word in WORDS):
            raise LabelRead(name)


def telling(read):
    def tell(source, *arguments, **options):
        sys.audit("open", str(source), "rb", 0)
        return read(source, *arguments, **options)

    return tell


for name in ("ParquetFile", "ParquetDataset", "read_table", "read_schema", "read_metadata"):
    read = telling(getattr(pyarrow.parquet, name))
    for module in (pyarrow.parquet, pyarrow.parquet.core):
        setattr(module, name, read)
sys.addaudithook(watch)

from label_free_world import PARAMS, chain
from stages.hoiclip.train import main

said = chain()
assert said["predictions"] > 0
classes = "data/splits/classes.parquet"
readers = [pyarrow.parquet.ParquetFile, pyarrow.parquet.ParquetDataset, pyarrow.parquet.read_table,
           pyarrow.parquet.read_schema, pyarrow.parquet.read_metadata]
for read in (lambda: open(classes), *(lambda reader=reader: reader(classes) for reader in readers),
             lambda: open("raw/toy"), lambda: open("caches/verb_vectors.parquet"),
             lambda: open("caches/weights/verb_vectors.parquet"),
             lambda: open("runs/hoiclip/train/model.safetensors"),
             lambda: main(Path("hoiclip.yaml"))):
    try:
        read()
    except LabelRead as error:
        print("stopped", error)
"""


def test_no_label_file_is_opened(project, toy):
    """The same watch ends HOICLIP's training at its first label."""
    place_labels(project, toy)
    shutil.copyfile(ROOT / "params.yaml", project / "hoiclip.yaml")
    text = (project / "hoiclip.yaml").read_text()
    (project / "hoiclip.yaml").write_text(text.replace("  batch_size: 16", "  batch_size: 4"))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)]),
    }
    done = subprocess.run(
        [sys.executable, "-c", WATCHED],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *opened, trained = done.stdout.splitlines()
    assert opened == [
        *["stopped data/splits/classes.parquet"] * 6,
        "stopped raw/toy",
        "stopped caches/verb_vectors.parquet",
        "stopped caches/weights/verb_vectors.parquet",
        "stopped runs/hoiclip/train/model.safetensors",
    ]
    assert trained.startswith("stopped data/splits/train/")
    assert (project / "runs/clip_distill/predict/predictions.parquet").is_file()
