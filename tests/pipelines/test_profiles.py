"""The committed profiles: what each sets, that it is what is published, and that DVC plans it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import yaml

from hoiclip.ablation import ABLATION_ROWS
from hoiclip.core.config import chosen_method, load
from hoiclip.experiments.params import SECTIONS
from hoiclip.report.published import ROWS
from pipelines.errors import PipelineError
from pipelines.profile import apply_profile, main, profile_names, read_profile

ROOT = Path(__file__).parents[2]
# Profiles that stand for no published figure.
DISTILLED = {"clip-distill": "hico", "clip-distill-vcoco": "vcoco", "clip-distill-own": "own"}
OTHERS = {"smoke", "own", *DISTILLED}

CLIP_SHA256 = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
# HOICLIP (CVPR 2023), section 4 and the released code's settings; GEN-VLKT's (CVPR 2022) own.
HICO = {
    "method": "hoiclip",
    "dataset.source": "hico_det",
    "dataset.raw": "raw/hico_det",
    "dataset.drop_unknown": False,
    "weights.raw": "raw/weights",
    "weights.clip": "ViT-B-32.pt",
    "weights.clip_url": f"https://openaipublic.azureedge.net/clip/models/{CLIP_SHA256}/ViT-B-32.pt",
    "weights.clip_model": "ViT-B-32-quickgelu",
    "weights.clip_sha256": CLIP_SHA256,
    "weights.detector": "detr-r50-e632da11.pth",
    "weights.detector_url": "https://dl.fbaipublicfiles.com/detr/detr-r50-e632da11.pth",
    "weights.detector_sha256": "e632da11",
    "weights.verb_vectors": None,
    "splits.validation_fraction": 0.0,
    "splits.train_fraction": 1.0,
    "splits.zero_shot": None,
    "splits.unseen_hois": [],
    "splits.fraction_file": None,
    "splits.keep_empty_images": False,
    "text_embeddings.hoi": "a photo of a person {verb} {a} {object}",
    "text_embeddings.hoi_no_interaction": "a photo of a person and {a} {object}",
    "text_embeddings.object": "a photo of {a} {object}",
    "text_embeddings.no_object": "a photo of nothing",
    "verb_vectors.accumulation": "correct",
    "model.num_queries": 64,
    "model.decoder_layers": 3,
    "model.detector.backbone.block": "bottleneck",
    "model.detector.backbone.layers": [3, 4, 6, 3],
    "model.detector.backbone.channels": [64, 128, 256, 512],
    "model.detector.backbone.stride": 32,
    "model.detector.width": 256,
    "model.detector.encoder_layers": 6,
    "model.detector.heads": 8,
    "model.detector.feed_forward": 2048,
    "model.detector.dropout": 0.1,
    "hoiclip.interaction.clip_attention": "shared",
    "hoiclip.interaction.mask_detector_memory": True,
    "hoiclip.interaction.heads": 8,
    "hoiclip.interaction.feed_forward": 2048,
    "hoiclip.interaction.dropout": 0.1,
    "hoiclip.verb.representation": "arithmetic",
    "hoiclip.verb.weight": 0.5,
    "hoiclip.verb.adapter_hidden": 256,
    "gen_vlkt.classifiers": "trained",
    "gen_vlkt.classifier_bias": True,
    "gen_vlkt.classifier_start": "text",
    "gen_vlkt.lr_classifiers": 1e-5,
    "gen_vlkt.mimic": 20.0,
    "gen_vlkt.mimic_layers": "all",
    "gen_vlkt.guidance": "per_layer",
    "gen_vlkt.position_guided": True,
    "train.warm_start": True,
    "train.device": "cuda",
    "train.epochs": 90,
    "train.lr_drop_epoch": 60,
    "train.lr_drop_factor": 0.1,
    "train.batch_size": 16,
    "train.lr": 1e-4,
    "train.lr_backbone": 1e-5,
    "train.weight_decay": 1e-4,
    "train.clip_norm": 0.1,
    "train.keep_every": 0,
    "select.weights": "last",
    "train.loss.hoi": 2.0,
    "train.loss.object": 1.0,
    "train.loss.no_object": 0.1,
    "train.loss.l1": 2.5,
    "train.loss.giou": 1.0,
    "train.loss.focal_alpha": 0.5,
    "train.loss.focal_gamma": 2.0,
    "train.loss.box_normaliser": "targets",
    "train.matching.hoi": 1.0,
    "train.matching.object": 1.0,
    "train.matching.l1": 2.5,
    "train.matching.giou": 1.0,
    "train.matching.missing_object_giou": "human",
    "train.transforms.flip": 0.5,
    "train.transforms.color_jitter": 0.4,
    "train.transforms.scales": list(range(480, 801, 32)),
    "train.transforms.crop_scales": [400, 500, 600],
    "train.transforms.crop_sides": [384, 600],
    "train.transforms.max_side": 1333,
    "train.transforms.test_scale": 800,
    "predict.device": "cuda",
    "predict.top_k": 100,
    "predict.nms.threshold": 0.7,
    "predict.nms.human_power": 1.0,
    "predict.nms.object_power": 0.5,
    "predict.nms.plus_one_extents": False,
    "hoiclip.enhancement.k": 10,
    "hoiclip.enhancement.sweep_k": [],
    "hoiclip.enhancement.weight": 1.0,
    "hoiclip.enhancement.kind": "cosine",
    "evaluate.protocol": "hico",
    "report.published": "hico",
}
WITHOUT_VERB = {"hoiclip.verb.representation": "none", "hoiclip.enhancement.k": 0}
SIZE_S = {"method": "gen_vlkt"}
SIZE_M = {
    **SIZE_S,
    "weights.detector": "detr-r101-2c7b67e5.pth",
    "weights.detector_url": "https://dl.fbaipublicfiles.com/detr/detr-r101-2c7b67e5.pth",
    "weights.detector_sha256": "2c7b67e5",
    "model.detector.backbone.layers": [3, 4, 23, 3],
}
FROZEN = {"gen_vlkt.classifiers": "frozen", "gen_vlkt.classifier_bias": False}
UNSEEN = {
    "rf-uc": "rare_first", "nf-uc": "non_rare_first", "uo": "unseen_object", "uv": "unseen_verb",
}  # fmt: skip
ON_VCOCO = {
    "dataset.source": "vcoco",
    "dataset.raw": "raw/vcoco",
    "dataset.drop_unknown": True,
    "splits.keep_empty_images": True,
    "text_embeddings.object": "a photo of a person and {a} {object}",
    "hoiclip.verb.weight": 0.1,
    "evaluate.protocol": "vcoco",
}
# What each of the others sets otherwise, `report.published` of its own name aside.
DIFFERENCES: dict[str, dict[str, Any]] = {
    "hico-base": {"hoiclip.interaction.clip_attention": "none", **WITHOUT_VERB},
    "hico-clip": {"hoiclip.interaction.clip_attention": "separate", **WITHOUT_VERB},
    "hico-integration": WITHOUT_VERB,
    "hico-verb": {"hoiclip.enhancement.k": 0},
    "hico-verb-average": {"hoiclip.verb.representation": "average", "hoiclip.enhancement.k": 0},
    "hico-verb-text": {"hoiclip.verb.representation": "text", "hoiclip.enhancement.k": 0},
    **{
        f"hico-fraction-{percent}": {"splits.train_fraction": percent / 100}
        for percent in (5, 15, 25, 50)
    },
    **{f"hico-zero-shot-{name}": {"splits.zero_shot": kind} for name, kind in UNSEEN.items()},
    **{
        f"hico-zero-shot-uc{number}": {
            "splits.zero_shot": f"uc{number}",
            "report.published": "hico-zero-shot-uc",
        }
        for number in range(5)
    },
    "vcoco": ON_VCOCO,
    "gen-vlkt-s": SIZE_S,
    "gen-vlkt-m": SIZE_M,
    "gen-vlkt-l": {**SIZE_M, "model.decoder_layers": 6},
    **{
        f"gen-vlkt-fraction-{percent}": {**SIZE_S, "splits.train_fraction": percent / 100}
        for percent in (5, 15, 25, 50)
    },
    **{
        f"gen-vlkt-zero-shot-{name}": {**SIZE_S, **FROZEN, "splits.zero_shot": kind}
        for name, kind in UNSEEN.items()
    },
    "gen-vlkt-vcoco": {**SIZE_S, **ON_VCOCO},
    "gen-vlkt-vcoco-m": {**SIZE_M, **ON_VCOCO},
    "gen-vlkt-vcoco-l": {**SIZE_M, **ON_VCOCO, "model.decoder_layers": 6},
}
PROFILES = ["hico", *DIFFERENCES]


def expected(name: str) -> dict[str, Any]:
    return {**HICO, "report.published": name, **DIFFERENCES.get(name, {})}


def flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys of nested mappings and their values."""
    found: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def read(project: Path) -> dict[str, Any]:
    return flat(yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8")))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The committed params.yaml and profiles, in a folder of their own."""
    folder = tmp_path / "project"
    shutil.copytree(ROOT / "params", folder / "params")
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    return folder


def test_every_committed_profile_is_listed_here() -> None:
    assert set(profile_names(ROOT)) - OTHERS == set(PROFILES)


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_has_the_published_settings(project: Path, name: str) -> None:
    apply_profile(project, name)
    values = read(project)
    assert {key: values[key] for key in HICO} == expected(name)


@pytest.mark.parametrize("name", [*PROFILES, "smoke", *DISTILLED])
def test_every_section_reads_strictly(project: Path, name: str) -> None:
    apply_profile(project, name)
    path = project / "params.yaml"
    assert set(yaml.safe_load(path.read_text())) == {*SECTIONS, "method"}
    prefixes = {"gen-vlkt": "gen_vlkt", "clip-distill": "clip_distill"}
    chosen = [method for prefix, method in prefixes.items() if name.startswith(prefix)]
    assert chosen_method(path) == (chosen[0] if chosen else "hoiclip")
    for section, config in SECTIONS.items():
        load(config, section, path)


def test_a_derived_profile_sets_no_more_than_is_listed_here(project: Path) -> None:
    base = flat(read_profile(project, "hico"))
    for name in set(PROFILES) - {"hico"}:
        if name.endswith(("vcoco", "vcoco-m", "vcoco-l")):
            continue
        values = flat(read_profile(project, name))
        changed = {key for key in values if values[key] != base.get(key)}
        assert changed == {key for key, value in expected(name).items() if value != HICO[key]}


def test_a_profile_sets_the_same_after_any_other(project: Path) -> None:
    """So every key that some profile changes is stated by all."""
    committed = (project / "params.yaml").read_text()
    alone = {}
    for name in PROFILES:
        (project / "params.yaml").write_text(committed)
        apply_profile(project, name)
        alone[name] = read(project)
    for name in [*PROFILES, "hico"]:
        apply_profile(project, name)
        assert read(project) == alone[name], name


@pytest.mark.parametrize(
    ("first", "second"),
    list(
        permutations(
            ["smoke", "own", "hico", "hico-base", "vcoco", "gen-vlkt-l", "clip-distill"], 2
        )
    ),
)
def test_one_profile_after_another_leaves_a_readable_file(
    project: Path, first: str, second: str
) -> None:
    for name in (first, second):
        apply_profile(project, name)
    for section, config in SECTIONS.items():
        load(config, section, project / "params.yaml")
    overlay = flat(read_profile(project, second))
    assert {key: value for key, value in read(project).items() if key in overlay} == overlay


def test_what_the_toy_run_needs_is_left_behind(project: Path) -> None:
    """Nothing of a profile still names the toy's weights, sizes or data."""
    apply_profile(project, "hico")
    values = read(project)
    named = {key: value for key, value in values.items() if not key.startswith("dataset.toy.")}
    assert not [key for key, value in named.items() if isinstance(value, str) and "toy" in value]


@pytest.mark.parametrize("name", PROFILES)
def test_comments_and_order_of_params_survive(project: Path, name: str) -> None:
    path = project / "params.yaml"
    before = path.read_text(encoding="utf-8")
    apply_profile(project, name)
    after = path.read_text(encoding="utf-8")
    comments = re.compile(r"(?:^|\s)#\s*(.*)$", re.MULTILINE)
    assert set(comments.findall(before)) <= set(comments.findall(after))
    keys = re.compile(r"^ *([a-z_0-9]+):", re.MULTILINE)
    known = set(keys.findall(before))
    later = [key for key in keys.findall(after.replace("- path:", "")) if key in known]
    assert [key for key in later if key in known] == keys.findall(before)
    assert "scales: [480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800]" in after


def test_every_published_row_has_its_profile_and_every_profile_its_row(project: Path) -> None:
    rows = {name: read_profile(project, name)["report"]["published"] for name in PROFILES}
    assert set(rows.values()) == set(ROWS)
    shared = {name: row for name, row in rows.items() if name != row}
    assert shared == {f"hico-zero-shot-uc{n}": "hico-zero-shot-uc" for n in range(5)}
    for name, row in rows.items():
        source = flat(read_profile(project, name))["dataset.source"]
        assert ROWS[row].dataset == source


@pytest.mark.parametrize("name", list(ABLATION_ROWS))
def test_a_row_of_the_ablation_switches_what_its_profile_sets(project: Path, name: str) -> None:
    plan = yaml.safe_load((ROOT / "sweeps/ablation.yaml").read_text(encoding="utf-8"))
    values = flat(read_profile(project, ABLATION_ROWS[name].published))
    row = {**plan["shared"]["set"], **plan["axes"]["row"][name]["set"]}
    switches = {key: value for key, value in row.items() if not key.endswith((".threads", ".k"))}
    assert {key: values[key] for key in switches} == switches
    # Of the paper's one; here validation chooses it.
    assert (values["hoiclip.enhancement.k"] > 0) == (row["hoiclip.enhancement.k"] is None)


def test_a_value_that_a_profile_sets_back_is_told_once(project: Path) -> None:
    changed = apply_profile(project, "hico-verb")
    lines = [line for line in changed if line.startswith("hoiclip.enhancement.k:")]
    assert lines == ["hoiclip.enhancement.k: None -> 0"]
    assert apply_profile(project, "hico-verb") == []


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("a", "params/a.yaml: extends: a circle, a -> a. "),
        ("b", "params/b.yaml: extends: a circle, a -> b -> a. "),
        ("nowhere", "params/a.yaml: extends: no profile 'nowhere'. Profiles in params/: a, b"),
        ("../params", "params/a.yaml: extends: no profile '../params'. "),
        ("[smoke]", "params/a.yaml: extends: no profile ['smoke']. "),
        ("1", "params/a.yaml: extends: no profile 1. "),
    ],
)
def test_a_bad_base_is_one_line_and_changes_nothing(
    project: Path, extends: str, message: str
) -> None:
    (project / "params/a.yaml").write_text(f"extends: {extends}\ntrain:\n  epochs: 9\n")
    (project / "params/b.yaml").write_text("extends: a\n")
    before = (project / "params.yaml").read_bytes()
    with pytest.raises(PipelineError) as error:
        apply_profile(project, "a")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
    assert (project / "params.yaml").read_bytes() == before


def test_a_base_applies_first_and_sections_are_joined(project: Path) -> None:
    (project / "params/a.yaml").write_text("train:\n  epochs: 9\n  lr: 0.5\n  loss:\n    l1: 4.0\n")
    (project / "params/b.yaml").write_text("extends: a\ntrain:\n  epochs: 7\n")
    (project / "params/c.yaml").write_text("extends: b\ntrain:\n  loss:\n    giou: 3.0\n")
    assert read_profile(project, "c") == {
        "train": {"epochs": 7, "lr": 0.5, "loss": {"l1": 4.0, "giou": 3.0}}
    }
    apply_profile(project, "c", ["train.epochs=5"])
    values = read(project)
    assert values["train.epochs"] == 5
    assert values["train.lr"] == 0.5
    assert "extends" not in values


def test_extends_is_no_key_of_params(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    assert main(["--set", "extends=hico"]) == 2
    assert "no key extends" in capsys.readouterr().err


@pytest.fixture
def made(project: Path, tmp_path: Path) -> list[str]:
    """`make` in a copy of the project, with the interpreter of the tests for an environment."""
    shutil.copytree(ROOT / "pipelines", project / "pipelines")
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, project / name)
    environment = tmp_path / "environment"
    (environment / "bin").mkdir(parents=True)
    (environment / ".installed").touch()
    return ["make", "--silent", f"--directory={project}", f"VENV={environment}", "profile"]


def test_one_command_applies_a_profile(made: list[str], project: Path) -> None:
    done = subprocess.run([*made, "NAME=hico"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "train.epochs: 4 -> 90" in done.stdout
    assert read(project)["train.epochs"] == 90


@pytest.mark.parametrize("name", ["hicco", ""])
def test_a_wrong_name_lists_the_profiles(made: list[str], project: Path, name: str) -> None:
    before = (project / "params.yaml").read_bytes()
    done = subprocess.run([*made, f"NAME={name}"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert ", ".join(profile_names(project)) in done.stdout + done.stderr
    assert (project / "params.yaml").read_bytes() == before


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git and DVC repository of the tracked files as they stand, every output in place.

    Empty files stand for them: DVC plans a stage where what it reads is there.
    """
    if not (ROOT / ".git").exists():
        pytest.skip("needs the project's git repository")
    folder = tmp_path_factory.mktemp("repository")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in names.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "Start"]):
        subprocess.run(["git", *identity, *command], cwd=folder, check=True)
    for method in ("hoiclip", "gen_vlkt"):
        for stage in stages(folder, method).values():
            entries = [entry for key in ("outs", "metrics", "plots", "deps")
                       for entry in stage.get(key, [])]  # fmt: skip
            for entry in entries:
                (name,) = [entry] if isinstance(entry, str) else entry
                name = name.replace("${method}", method)
                path = folder / name if Path(name).suffix else folder / name / "part"
                if "$" not in name and not (folder / name).exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.touch()
    return folder


def stages(folder: Path, method: str) -> dict[str, dict[str, Any]]:
    """Stages that `dvc repro` runs for a method, by name as it takes them."""
    found = {}
    for file in ("dvc.yaml", f"methods/{method}/dvc.yaml"):
        prefix = "" if file == "dvc.yaml" else f"{file}:"
        read_stages = yaml.safe_load((folder / file).read_text(encoding="utf-8"))["stages"]
        found |= {f"{prefix}{name}": stage for name, stage in read_stages.items()}
    return found


def dvc(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["hico", "hico-zero-shot-uo", "hico-fraction-5", "vcoco", "gen-vlkt-m"]
)
def test_dvc_plans_the_profile_and_tells_what_it_changed(repository: Path, name: str) -> None:
    subprocess.run(["git", "checkout", "--quiet", "params.yaml"], cwd=repository, check=True)
    before = read(repository)
    apply_profile(repository, name)
    after = read(repository)
    plan = dvc(repository, "repro", "--dry", "--allow-missing")
    assert set(re.findall(r"^Running stage '([^']+)':", plan, re.M)) == set(
        stages(repository, after["method"])
    )
    told = json.loads(dvc(repository, "params", "diff", "--json"))["params.yaml"]
    assert set(told) == {key for key in after if after[key] != before[key]}
    assert told["train.epochs"] == {"old": 4, "new": 90, "diff": 86}
    assert told["dataset.source"]["new"] == expected(name)["dataset.source"]
