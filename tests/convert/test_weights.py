import hashlib
import json

import open_clip
import pytest
import torch
from fake_checkpoint import Sizes, detr_shapes, random_state
from safetensors.torch import load_file, save_file

from hoiclip.clip_encoder import build_clip
from hoiclip.clip_weights import load_clip, save_clip
from hoiclip.config import from_mapping
from hoiclip.errors import HoiclipError, InputError, WeightsError
from hoiclip.files import sha256_file
from hoiclip.tensors import read_safetensors
from hoiclip.weights import WeightsConfig

CLIP_NAME = "tiny-clip"


@pytest.fixture
def files(tmp_path, clip_config):
    """A CLIP of `save_clip` and a DETR in safetensors."""
    torch.manual_seed(0)
    state = build_clip(clip_config).state_dict()
    save_clip(tmp_path / "clip.safetensors", clip_config, state, {"data": "none"})
    save_file(random_state(detr_shapes(Sizes(heads=8), 3)), tmp_path / "detr.safetensors")
    return tmp_path


def config_of(folder, **changes):
    values = {
        "clip": str(folder / "clip.safetensors"), "clip_url": None, "clip_model": None,
        "clip_sha256": None, "detector": str(folder / "detr.safetensors"), "detector_url": None,
        "detector_sha256": None,
    }  # fmt: skip
    return from_mapping(WeightsConfig, values | changes, "weights")


def prepare(config, folder):
    return config.prepare(folder / "out/clip.safetensors", folder / "out/detector.safetensors")


def test_files_of_this_project_are_copied_byte_for_byte(files):
    told = prepare(config_of(files), files)
    for name, source in (("clip", "clip"), ("detector", "detr")):
        found = sha256_file(files / f"out/{name}.safetensors")
        assert found == sha256_file(files / f"{source}.safetensors") == told[name]["sha256"]


def test_a_released_detr_is_converted(files):
    state = random_state(detr_shapes(Sizes(heads=8), 6))
    torch.save({"model": state}, files / "detr.pth")
    prepare(config_of(files, detector=str(files / "detr.pth")), files)
    found, _ = read_safetensors(files / "out/detector.safetensors")
    assert set(state) - set(found) == {
        "class_embed.weight",
        "class_embed.bias",
        "query_embed.weight",
    }
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.items())


def test_a_named_clip_gets_a_header_that_names_it(files, clip_config, monkeypatch):
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: dict(clip_config["model_cfg"]))
    state = load_file(files / "clip.safetensors")
    torch.save(state, files / "open_clip.pt")
    prepare(config_of(files, clip=str(files / "open_clip.pt"), clip_model=CLIP_NAME), files)
    encoder = load_clip(files / "out/clip.safetensors")
    assert encoder.provenance["model"] == CLIP_NAME
    _, header = read_safetensors(files / "out/clip.safetensors")
    card = json.loads(header["clip_config"])["card"]
    assert card["sha256"] == sha256_file(files / "open_clip.pt")
    for name, tensor in load_file(files / "out/clip.safetensors").items():
        assert torch.equal(tensor, state[name])


def test_the_first_hash_is_kept_and_held(files):
    config = config_of(files)
    prepare(config, files)
    with (files / "detr.safetensors").open("ab") as file:
        file.write(b" ")
    with pytest.raises(InputError, match=r"detr\.safetensors: SHA-256 is"):
        prepare(config, files)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"clip_sha256": "0" * 64}, "clip.safetensors: SHA-256 is"),
        ({"detector_sha256": "0" * 64}, "detr.safetensors: SHA-256 is"),
        ({"clip": "nowhere/clip.pt"}, "clip.pt: has to be placed by a person"),
        ({"detector": "nowhere/detr.pth"}, "weights.detector"),
        ({"detector_url": "file:///etc/passwd", "detector": "nowhere/a.pth"}, "http"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(files, changes, problem, monkeypatch):
    monkeypatch.chdir(files)
    with pytest.raises(HoiclipError, match=problem):
        prepare(config_of(files, **changes), files)
    assert not (files / "out").exists()


def test_a_hash_in_a_name_is_held_against_the_file(files):
    content = random_state(detr_shapes(Sizes(heads=8), 3))
    torch.save({"model": content}, files / "detr.pth")
    digits = hashlib.sha256((files / "detr.pth").read_bytes()).hexdigest()[:8]
    right, wrong = files / f"detr-r50-{digits}.pth", files / "detr-r50-00000000.pth"
    for path in (right, wrong):
        path.write_bytes((files / "detr.pth").read_bytes())
    prepare(config_of(files, detector=str(right)), files)
    with pytest.raises(WeightsError, match="its name says 00000000"):
        prepare(config_of(files, detector=str(wrong)), files)


def test_the_plan_says_what_is_there_and_what_is_missing(files):
    url = "https://example.org/a.pth"
    config = config_of(files, detector=str(files / "a.pth"), detector_url=url)
    clip, detector = map(str, config.plan())
    assert "clip.safetensors: is there" in clip
    assert f"will be fetched from {url}" in detector
    assert not (files / "a.pth").exists()
