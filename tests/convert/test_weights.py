import hashlib
import json

import numpy as np
import open_clip
import pytest
import torch
from fake_checkpoint import Sizes, detr_shapes, random_state
from safetensors.torch import load_file, save_file

from hoiclip.catalog.vocabularies import hico_det
from hoiclip.checkpoints.clip import load_clip, save_clip
from hoiclip.clip.encoder import build_clip
from hoiclip.convert.weights import WeightsConfig
from hoiclip.core import schema
from hoiclip.core.config import from_mapping
from hoiclip.core.files import read_json, sha256_file
from hoiclip.errors import HoiclipError, InputError, ParamsError
from hoiclip.model.tensors import read_safetensors
from hoiclip.verb_vectors.table import read_verb_vectors

CLIP_NAME = "tiny-clip"


@pytest.fixture
def files(tmp_path, clip_config):
    """A CLIP of `save_clip` and a DETR in safetensors."""
    torch.manual_seed(0)
    state = build_clip(clip_config).state_dict()
    save_clip(tmp_path / "clip.safetensors", clip_config, state, {})
    save_file(random_state(detr_shapes(Sizes(heads=8), 3)), tmp_path / "detr.safetensors")
    return tmp_path


def config_of(folder, **changes):
    values = {
        "raw": str(folder), "clip": "clip.safetensors", "clip_url": None, "clip_model": None,
        "clip_sha256": None, "detector": "detr.safetensors", "detector_url": None,
        "detector_sha256": None, "verb_vectors": None,
    }  # fmt: skip
    return from_mapping(WeightsConfig, values | changes, "weights")


def prepare(config, folder):
    names = ("clip.safetensors", "detector.safetensors", "verb_vectors.parquet")
    return config.prepare(*(folder / "out" / name for name in names))


def test_files_of_this_project_are_copied_byte_for_byte(files):
    told = prepare(config_of(files), files)
    for name, source in (("clip", "clip"), ("detector", "detr")):
        found = sha256_file(files / f"out/{name}.safetensors")
        assert found == told[f"{source}.safetensors"]
        assert found == sha256_file(files / f"{source}.safetensors")
    assert len(schema.read_table(files / "out/verb_vectors.parquet")) == 0


def kept_alike(found, state) -> bool:
    """Whether all is as it was, but for the class head, which loses rows."""
    rest = (name for name in found if not name.startswith("class_embed."))
    return all(torch.equal(found[name], state[name]) for name in rest)


def test_a_released_detr_is_converted(files):
    state = random_state(detr_shapes(Sizes(heads=8), 6))
    torch.save({"model": state}, files / "detr.pth")
    prepare(config_of(files, detector="detr.pth"), files)
    found, _ = read_safetensors(files / "out/detector.safetensors")
    assert set(state) == set(found)
    assert kept_alike(found, state)


def test_a_wrapped_detr_is_taken_and_start_weights_are_told(files):
    state = random_state(detr_shapes(Sizes(heads=8), 6))
    wrapped = {"model_state_dict": {f"module.{name}": value for name, value in state.items()}}
    torch.save(wrapped, files / "detr.pth")
    prepare(config_of(files, detector="detr.pth"), files)
    found, _ = read_safetensors(files / "out/detector.safetensors")
    assert found
    assert kept_alike(found, state)
    heads = {f"obj_class_embed.{part}": torch.zeros(2) for part in ("weight", "bias")}
    for name, write in (("start.pth", torch.save), ("start.safetensors", save_file)):
        write(state | heads, files / name)
        with pytest.raises(HoiclipError, match="DETR start weights made by convert_parameters"):
            prepare(config_of(files, detector=name), files)


def test_a_named_clip_gets_a_header_that_names_it(files, clip_config, monkeypatch):
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: dict(clip_config["model_cfg"]))
    state = load_file(files / "clip.safetensors")
    torch.save(state, files / "open_clip.pt")
    prepare(config_of(files, clip="open_clip.pt", clip_model=CLIP_NAME), files)
    encoder = load_clip(files / "out/clip.safetensors")
    assert encoder.provenance["model"] == CLIP_NAME
    _, header = read_safetensors(files / "out/clip.safetensors")
    card = json.loads(header["clip_config"])["card"]
    assert card["sha256"] == sha256_file(files / "open_clip.pt")
    for name, tensor in load_file(files / "out/clip.safetensors").items():
        assert torch.equal(tensor, state[name])


def test_released_verb_vectors_are_converted_and_tables_taken(files):
    rows = torch.nn.functional.normalize(torch.randn(hico_det().num_verbs, 12), dim=-1)
    torch.save(rows, files / "verb.pth")
    out = files / "out/verb_vectors.parquet"
    prepare(config_of(files, verb_vectors="verb.pth"), files)
    found = read_verb_vectors(out, "arithmetic", len(rows))
    np.testing.assert_array_equal(found, rows.numpy())
    origin = schema.read_provenance(out)
    assert origin["sha256"] == sha256_file(files / "verb.pth")
    out.rename(files / "mine.parquet")
    prepare(config_of(files, verb_vectors="mine.parquet"), files)
    assert out.read_bytes() == (files / "mine.parquet").read_bytes()


def test_the_first_hash_is_told_kept_and_held(files, capsys):
    config = config_of(files)
    prepare(config, files)
    found = sha256_file(files / "detr.safetensors")
    assert f"detr.safetensors: SHA-256 {found}" in "".join(capsys.readouterr())
    assert read_json(files / "sha256.json")["detr.safetensors"] == found
    with (files / "detr.safetensors").open("ab") as file:
        file.write(b" ")
    with pytest.raises(InputError, match=r"detr\.safetensors: SHA-256 is"):
        prepare(config, files)


def test_the_first_digits_of_a_hash_are_held_and_the_others_recorded(files):
    digits = hashlib.sha256((files / "detr.safetensors").read_bytes()).hexdigest()
    prepare(config_of(files, detector_sha256=digits[:8]), files)
    assert read_json(files / "sha256.json")["detr.safetensors"] == digits
    (files / "sha256.json").unlink()
    with pytest.raises(InputError, match="expected 00000000"):
        prepare(config_of(files, detector_sha256="00000000"), files)
    assert "detr.safetensors" not in read_json(files / "sha256.json")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"clip_sha256": "0" * 64}, "clip.safetensors: SHA-256 is"),
        ({"detector_sha256": "0" * 64}, "detr.safetensors: SHA-256 is"),
        ({"clip": "nowhere/clip.pt"}, "clip.pt: has to be placed by a person"),
        ({"detector": "nowhere/detr.pth"}, "weights.detector"),
        ({"verb_vectors": "verb.pth"}, "weights.verb_vectors"),
        ({"detector_url": "file:///etc/passwd", "detector": "nowhere/a.pth"}, "http"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(files, changes, problem):
    with pytest.raises(HoiclipError, match=problem):
        prepare(config_of(files, **changes), files)
    assert not (files / "out").exists()


@pytest.mark.parametrize("digits", ["", "e632da1", "no hash at all", "0" * 65])
def test_what_is_no_hash_is_refused(files, digits):
    for key in ("clip_sha256", "detector_sha256"):
        with pytest.raises(ParamsError, match=f"weights.{key}: .* is no SHA-256 in hex"):
            config_of(files, **{key: digits})


def test_the_plan_says_what_is_there_and_what_is_missing(files):
    url = "https://example.org/a.pth"
    config = config_of(files, detector="a.pth", detector_url=url)
    clip, detector = map(str, config.plan())
    assert "clip.safetensors: is there" in clip
    assert f"will be fetched from {url}" in detector
    assert not (files / "a.pth").exists()
