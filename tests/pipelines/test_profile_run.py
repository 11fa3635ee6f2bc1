"""The profiles of HICO-DET and V-COCO run from raw files to the report, on made data and weights.

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

import pytest
import raw_data
import torch
import yaml
from fake_checkpoint import Sizes, detr_shapes, random_state

from hoiclip.clip_encoder import build_clip
from hoiclip.clip_weights import save_clip
from hoiclip.convert.sniff import convert

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
            "interaction": {"feed_forward": 16},
        },
        "train": {
            **small, "workers": 0, "epochs": 1, "batch_size": 2,
            "transforms": {"scales": [64], "crop_scales": [64], "crop_sides": [40, 60],
                           "max_side": 100, "test_scale": 64},
        },
        "predict": {**small, "batch_size": 2},
    }  # fmt: skip


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
    ("base", "form"),
    [("hico", "mat"), ("hico-zero-shot-rf-uc", "mat"), ("vcoco", "original")],
)
def test_a_profile_runs_from_raw_files_to_the_report(project: Path, base: str, form: str) -> None:
    if base == "vcoco":
        raw_data.write_vcoco(project / "raw/vcoco", form)
    else:
        raw_data.write_hico(project / "raw/hico_det", form)
    changes = yaml.safe_dump(overlay(project, base))
    (project / "params/made.yaml").write_text(changes, encoding="utf-8")
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=project, check=True)
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *identity, "commit", "-qm", "made"], cwd=project, check=True)
    run(project, "pipelines.profile", "made")
    run(project, "dvc", "repro")
    metrics = json.loads((project / "metrics.json").read_text())
    assert metrics["protocol"] == ("vcoco" if base == "vcoco" else "hico")
    assert {"full", "rare", "non_rare"} <= set(metrics["default"])
    assert ("unseen" in metrics["default"]) == ("zero-shot" in base)
    page = (project / "report/index.html").read_text(encoding="utf-8")
    assert "published" in page
