"""The profile for photographs, over the profiles whose data it takes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hoiclip.config import chosen_method, read_params
from hoiclip.methods.clip_distill.inputs import DistillSettings
from pipelines.profile import apply_profile

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("data", ["hico", "vcoco", "own"])
def test_it_is_applied_over_a_data_sets_profile(data: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "params", tmp_path / "params")
    shutil.copytree(ROOT / "methods", tmp_path / "methods")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    apply_profile(tmp_path, data)
    before = read_params(tmp_path / "params.yaml")
    apply_profile(tmp_path, "clip-distill")
    after = read_params(tmp_path / "params.yaml")
    assert chosen_method(tmp_path / "params.yaml") == "clip_distill"
    assert {key for key in after if after[key] != before[key]} <= {
        "method", "clip_distill", "report",
    }  # fmt: skip
    settings = DistillSettings.read(tmp_path / "params.yaml")
    # CLIP's shared width is 512; a released DETR detects with all of its queries, at its own scale.
    assert 512 % settings.method.model.bank_heads == 0
    assert settings.method.detections.num_queries is None
    assert settings.method.detections.transforms.test_scale == 800
    assert settings.detector.width == 256
    assert not settings.method.teacher.shuffle
    assert after["report"]["published"] is None
