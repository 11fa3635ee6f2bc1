"""Profiles of every data set and method run from raw files to the report, on made data and weights.

Every stage, setting and file is the profile's; only sizes, devices and numbers are small, so that
figures mean nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import own_layouts
import pytest
import raw_data
import torch
import yaml
from fake_checkpoint import Sizes, detr_shapes, random_state

from hoiclip.checkpoints.clip import save_clip
from hoiclip.clip.encoder import build_clip
from hoiclip.convert.dispatch import convert

ROOT = Path(__file__).parents[2]
WRITTEN = ("metrics.json", "report", "runs")
CLIP = {
    "model_cfg": {
        "embed_dim": 12,
        "vision_cfg": {
            "image_size": 32, "patch_size": 16, "width": 16, "layers": 1, "head_width": 8,
        },
        "text_cfg": {
            "context_length": 77, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1,
        },
    }
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The committed files with weights of random numbers, in a repository of their own."""
    folder = tmp_path / "project"
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    for name in names:
        if not name.endswith("dvc.lock") and not name.startswith(WRITTEN):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    torch.manual_seed(0)
    weights = folder / "raw/weights"
    save_clip(weights / "clip.safetensors", CLIP, build_clip(CLIP).state_dict(), {})
    torch.save({"model": random_state(detr_shapes(Sizes(heads=8), 3))}, weights / "detr.pth")
    return folder


def overlay(project: Path, base: str) -> dict[str, Any]:
    """What a small machine changes about a profile."""
    made = convert(project / "raw/weights/detr.pth", project / "detr.safetensors")
    small = {"device": "cpu", "threads": 1}
    return {
        "extends": base,
        "dataset": {"workers": 1, "downloads": []},
        "weights": {
            "clip": "clip.safetensors", "clip_model": None, "clip_sha256": None,
            "detector": "detr.pth", "detector_sha256": None,
        },
        "verb_vectors": {**small, "workers": 0},
        "model": {
            "num_queries": 6, "decoder_layers": 2,
            "detector": made.provenance["model_detector"],
        },
        "hoiclip": {"interaction": {"feed_forward": 16}},
        "train": {
            **small, "workers": 0, "epochs": 1, "batch_size": 2,
            "transforms": {"scales": [64], "crop_scales": [64], "crop_sides": [40, 60],
                           "max_side": 100, "test_scale": 64},
        },
        "clip_distill": {
            "caches": {**small, "workers": 0, "batch_size": 2},
            "detections": {"num_queries": None, "test_scale": 64, "max_side": 100},
            "model": {"bank_heads": 2},
            "train": {
                **small, "workers": 0, "epochs": 1, "lr_drop_epoch": 1, "batch_size": 2,
            },
        },
        "predict": {**small, "batch_size": 2},
    }  # fmt: skip


def write_own(raw: Path) -> None:
    """Somebody's own images: as many as hold some out and leave a batch to learn from."""
    names = [f"{index}.jpg" for index in range(12)]
    raw_data.write_pictures(raw / "images", [f"site/{name}" for name in names], (100, 80))
    vocabulary, table = json.dumps(own_layouts.VOCABULARY), own_layouts.csv_text()
    # Objects that a detector of COCO's classes knows.
    for theirs, ours in (("ladder", "bench"), ("rope", "kite")):
        vocabulary, table = vocabulary.replace(theirs, ours), table.replace(theirs, ours)
    (raw / "vocabulary.json").write_text(vocabulary, encoding="utf-8")
    header, *rows = table.splitlines()
    rows = [row for row in rows if row.startswith("site/a.jpg")]
    for part, listed in (("train", names[:8]), ("test", names[8:])):
        lines = [row.replace("a.jpg", name) for name in listed for row in rows]
        (raw / f"{part}.csv").write_text("\n".join([header, *lines, ""]), encoding="utf-8")


def environment(project: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}


def run(project: Path, *command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "method"),
    [
        ("hico", "hoiclip"),
        ("hico-zero-shot-rf-uc", "hoiclip"),
        ("vcoco", "hoiclip"),
        ("own", "hoiclip"),
        ("gen-vlkt-s", "gen_vlkt"),
        ("gen-vlkt-zero-shot-rf-uc", "gen_vlkt"),
        ("gen-vlkt-vcoco", "gen_vlkt"),
        ("own", "gen_vlkt"),
        ("clip-distill", "clip_distill"),
        ("clip-distill-vcoco", "clip_distill"),
        ("clip-distill-own", "clip_distill"),
    ],
)
def test_a_profile_runs_from_raw_files_to_the_report(project: Path, base: str, method: str) -> None:
    if base.endswith("vcoco"):
        raw_data.write_vcoco(project / "raw/vcoco", "original")
    elif base.endswith("own"):
        write_own(project / "raw/own")
    else:
        raw_data.write_hico(project / "raw/hico_det", "mat")
    made = overlay(project, base) | {"method": method}
    changes = yaml.safe_dump(made)
    (project / "params/made.yaml").write_text(changes, encoding="utf-8")
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=project, check=True)
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *identity, "commit", "-qm", "made"], cwd=project, check=True)
    run(project, "pipelines.profile", "made")
    run(project, "dvc", "repro")
    metrics = json.loads((project / "metrics.json").read_text())
    assert metrics["protocol"] == ("vcoco" if base.endswith("vcoco") else "hico")
    assert {"full", "rare", "non_rare"} <= set(metrics["default"])
    assert ("unseen" in metrics["default"]) == ("zero-shot" in base)
    page = (project / "report/index.html").read_text(encoding="utf-8")
    titles = {"hoiclip": "HOICLIP", "gen_vlkt": "GEN-VLKT"}
    published = [title for title in titles.values() if f"published {title}" in page]
    assert published == ([titles[method]] if method in titles and base != "own" else [])
    runs = {path.name for path in (project / "runs").iterdir() if any(path.rglob("*.parquet"))}
    assert runs == {method, "evaluate"}
