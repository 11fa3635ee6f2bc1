"""The profiles for photographs: a data set's own with another method."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hoiclip.core.config import chosen_method, read_params
from hoiclip.methods.clip_distill.model.config import DistillSettings
from pipelines.profile import apply_profile, read_profile

ROOT = Path(__file__).parents[3]
DATA = {"clip-distill": "hico", "clip-distill-vcoco": "vcoco", "clip-distill-own": "own"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "params", tmp_path / "params")
    shutil.copytree(ROOT / "methods", tmp_path / "methods")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("name", DATA)
def test_it_is_its_data_sets_profile_with_another_method(name: str, project: Path) -> None:
    apply_profile(project, DATA[name])
    before = read_params(project / "params.yaml")
    apply_profile(project, name)
    after = read_params(project / "params.yaml")
    assert chosen_method(project / "params.yaml") == "clip_distill"
    assert {key for key in after if after[key] != before[key]} <= {"method", "report"}
    assert after["report"]["published"] is None


@pytest.mark.parametrize("name", ["hico", "vcoco", "own", "hico-zero-shot-uo", "gen-vlkt-m"])
def test_the_method_alone_is_enough_on_any_profile_of_photographs(name: str, project: Path) -> None:
    """No setting of the toy world is left: its 16 queries, epochs and CPU."""
    apply_profile(project, name, ["method=clip_distill"])
    settings = DistillSettings.read(project / "params.yaml")
    # CLIP's shared width is 512; a released DETR detects with all of its queries, at its own scale.
    assert 512 % settings.method.model.bank_heads == 0
    assert settings.method.detections.num_queries is None
    assert settings.method.detections.transforms.test_scale == 800
    assert settings.method.train.device == settings.method.caches.device == "cuda"
    assert settings.method.train.epochs == 12
    assert settings.detector.width == 256
    assert not settings.method.teacher.shuffle
    stated = read_profile(project, "hico")["clip_distill"]
    written = read_params(project / "params.yaml")["clip_distill"]
    assert {key: written[key] | value for key, value in stated.items()} == written


@pytest.mark.parametrize("name", [None, *DATA])
def test_the_rate_drops_at_two_thirds(name: str | None, project: Path) -> None:
    if name is not None:
        apply_profile(project, name)
    train = DistillSettings.read(project / "params.yaml").method.train
    assert 3 * train.lr_drop_epoch == 2 * train.epochs
    assert train.lr_drop_factor == 0.1
