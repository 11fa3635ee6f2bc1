"""Which keys of the committed params.yaml whoever starts a run may change, and to what."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.errors import PipelineError, fail
from pipelines.overrides import apply_overrides
from pipelines.profile import apply_profile
from pipelines.told import without_secrets

ROOT = Path(__file__).parents[2]
PLACES = ["dataset.raw", "dataset.downloads", "weights.raw", "weights.clip_url",
          "weights.detector_url"]  # fmt: skip
FILES = ["weights.clip", "weights.detector", "weights.verb_vectors", "dataset.own.vocabulary",
         "dataset.own.train", "dataset.own.test", "dataset.own.images",
         "splits.fraction_file"]  # fmt: skip
# Keys with text or null that are neither; a key that is new has to be put somewhere.
NEITHER = {
    "method", "dataset.source", "dataset.bad_images", "dataset.hico_det.annotations",
    "dataset.vcoco.annotations", "weights.clip_sha256", "weights.detector_sha256",
    "splits.zero_shot", "text_embeddings.*", "verb_vectors.accumulation", "verb_vectors.device",
    "model.detector.backbone.block", "hoiclip.interaction.clip_attention",
    "hoiclip.verb.representation", "train.device", "train.precision", "select.weights",
    "train.loss.box_normaliser",
    "train.matching.missing_object_giou", "predict.device", "hoiclip.enhancement.k",
    "hoiclip.enhancement.kind", "evaluate.protocol", "evaluate.recall_steps", "report.published",
    "gen_vlkt.classifiers", "gen_vlkt.classifier_start", "gen_vlkt.mimic_layers",
    "gen_vlkt.guidance", "clip_distill.caches.device", "clip_distill.teacher.view",
    "clip_distill.teacher.global_scope", "clip_distill.teacher.filter",
    "clip_distill.model.relatedness", "clip_distill.train.device",
    "clip_distill.train.precision",
}  # fmt: skip


def _texts(section: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in section.items():
        if isinstance(value, dict):
            yield from _texts(value, f"{prefix}{name}.")
        elif value is None or isinstance(value, str):
            yield f"{prefix}{name}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the committed params.yaml and links that lead out of the raw folders."""
    folder = tmp_path / "root"
    for raw in ("raw/toy", "weights/toy"):
        (folder / raw).mkdir(parents=True)
        (folder / raw / "out").symlink_to(tmp_path)
    shutil.copy(ROOT / "params.yaml", folder)
    return folder


def _refused(root: Path, override: str) -> str:
    before = (root / "params.yaml").read_bytes()
    with pytest.raises(PipelineError) as info:
        apply_overrides(root, ["train.epochs=7", override])
    assert (root / "params.yaml").read_bytes() == before
    assert "\n" not in str(info.value)
    return str(info.value)


def test_every_path_and_address_of_the_params_is_known() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    known = {*PLACES, *FILES, *NEITHER, "weights.clip_model"}
    new = [
        key
        for key in _texts(params)
        if key not in known and f"{key.partition('.')[0]}.*" not in known
    ]
    assert new == []


@pytest.mark.parametrize("key", PLACES)
@pytest.mark.parametrize("value", ["raw/toy", "/etc", "null", "[]", "{a: 1}", "https://a.org/b"])
def test_no_override_says_where_files_come_from(root: Path, key: str, value: str) -> None:
    said = _refused(root, f"{key}={value}")
    assert said.startswith(f"override {key}")
    assert "changes by a commit or a committed profile, not by a run" in said


@pytest.mark.parametrize(
    "override",
    [
        "weights={raw: /etc}",
        "weights={clip: a.pt, clip_url: 'https://a.org'}",
        "dataset={downloads: [{path: a, url: 'https://a.org'}]}",
        "weights={clip: ../a.pt}",
        "dataset={own: {train: /etc/passwd}}",
    ],
)
def test_a_whole_section_is_no_way_round(root: Path, override: str) -> None:
    _refused(root, override)


@pytest.mark.parametrize("key", FILES)
@pytest.mark.parametrize(
    "value", ["/etc/passwd", "../x", "a/../../x", "out/x", "out", "..", "..\\x", '"a\\0b"']
)
def test_files_stay_inside_their_folder(root: Path, key: str, value: str) -> None:
    said = _refused(root, f"{key}={value}")
    assert said.startswith(f"override {key}=")
    assert "not a path inside " in said


@pytest.mark.parametrize("value", ["local-dir:/etc", "hf-hub:a/b", "a/b"])
def test_the_name_of_a_clip_is_no_place(root: Path, value: str) -> None:
    assert "a place, expected a name" in _refused(root, f"weights.clip_model={value}")


def test_the_hash_of_what_is_fetched_is_committed(root: Path) -> None:
    apply_overrides(root, ["weights.clip_sha256=null"])
    apply_profile(root, None, ["weights.clip_url=https://a.org/b"])
    assert "the hash of what is fetched" in _refused(root, "weights.clip_sha256=null")
    apply_overrides(root, ["weights.detector_sha256=null"])


def test_secrets_are_not_told(root: Path) -> None:
    said = _refused(root, "weights.clip_url=https://user:pass@a.org/b?token=c")
    assert said.startswith("override weights.clip_url='https://a.org/b': ")
    told = apply_overrides(root, ["text_embeddings.hoi=see https://u:p@a.org/b?c"])
    assert told[0].endswith(" -> see https://a.org/b")


def test_the_rest_is_open(root: Path) -> None:
    apply_overrides(
        root,
        ["train.epochs=7", "weights.clip=other/clip.safetensors", "weights.clip_sha256=null",
         "weights.clip_model=ViT-B-32-quickgelu", "dataset.own.images=photos",
         "predict.nms={threshold: 0.6}",
         "splits.fraction_file=annotations/trainval_hico_5%.json"],
    )  # fmt: skip
    params = yaml.safe_load((root / "params.yaml").read_text())
    assert params["train"]["epochs"] == 7
    assert params["weights"]["clip"] == "other/clip.safetensors"
    assert params["predict"]["nms"]["threshold"] == 0.6


def test_a_commit_in_the_making_says_where_files_come_from(root: Path) -> None:
    apply_profile(root, None, ["dataset.raw=/data/toy", "weights.clip_url=https://a.org/b"])
    params = yaml.safe_load((root / "params.yaml").read_text())
    assert params["dataset"]["raw"] == "/data/toy"
    assert params["weights"]["clip_url"] == "https://a.org/b"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://user:pa/ss@host/x?token=1#f", "https://host/x"),
        ("https://user:p?w#x@host/x", "https://host/x"),
        ("https://host:8080/@scope/x", "https://host:8080/@scope/x"),
        ("https://a:b@c,https://d:e@f", "https://c,https://f"),
        ("fatal: access 'https://u:p@h/x/': no", "fatal: access 'https://h/x/': no"),
        ("ssh://git@h:22/x", "ssh://h:22/x"),
    ],
)  # fmt: skip
def test_what_of_an_address_is_told(text: str, told: str) -> None:
    assert without_secrets(text) == told


def test_control_characters_do_nothing_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(PipelineError("no key \x1b[31mtrain\nlast lines")) == 2
    assert capsys.readouterr().err == "error: no key \\x1b[31mtrain\nlast lines\n"


def test_a_link_of_dvc_into_its_cache_is_inside_as_it_is_for_the_stages(root: Path) -> None:
    content = root.parent / "cache/files/md5/ab" / ("c" * 30)
    content.mkdir(parents=True)
    (root / "weights/toy/folder").symlink_to(content)
    (root / "weights/toy/tracked.pth").symlink_to(content)
    apply_overrides(root, ["weights.clip=tracked.pth"])
    assert "not a path inside" in _refused(root, "weights.clip=folder/other")
