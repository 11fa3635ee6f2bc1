"""The stages of CLIP distillation from `train` on, in folders that hold no label."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from label_free_world import (
    PARAMS,
    QUERIES,
    SMALL,
    chain,
    make_project,
    place_test_images,
    write_params,
    write_short_params,
)

from hoiclip.cli import main
from hoiclip.contract.model_file import load_detector
from hoiclip.core import schema
from hoiclip.core.files import sha256_file
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.errors import InputError, NonFiniteLossError, ParamsError, WeightsError
from hoiclip.images.store import ImageStore
from hoiclip.methods.clip_distill.caches.inputs import DistillPaths
from hoiclip.methods.clip_distill.model.method import ClipDistillMethod
from hoiclip.methods.clip_distill.training import train
from hoiclip.methods.registry import method_named
from hoiclip.methods.summary import MethodSummary
from hoiclip.model.tensors import read_safetensors
from stages.clip_distill import clip_scores, detections, select

WRITTEN = ("model.safetensors", "history.parquet", "weights/epoch-0003.safetensors")


@pytest.fixture(scope="module")
def made(tmp_path_factory, toy, model_config, params) -> Path:
    """A project with the caches; tests copy it."""
    root = tmp_path_factory.mktemp("distilled")
    make_project(root, toy, model_config, params)
    write_short_params(root, model_config, params)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(root)
        detections.main(PARAMS)
        clip_scores.main(PARAMS)
    return root


@pytest.fixture
def project(made, tmp_path, monkeypatch) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(out: str = "out", log=lambda epoch, figures: None) -> dict:
    paths = DistillPaths.of_project()
    return train(PARAMS, paths, Path(out), Path(".checkpoints"), log)


def test_labels_among_its_files_are_refused(project):
    Path("data/images/train/interactions.parquet").touch()
    with pytest.raises(InputError, match="data/images/train: holds labels, and CLIP distillation"):
        run()
    assert not Path("out").exists()


def hashes(out: str = "out") -> list[str]:
    return [sha256_file(Path(out, name)) for name in WRITTEN]


def test_the_same_seed_gives_the_same_bits_and_another_others(project, model_config, params):
    first = run()
    held = first["held_out"]
    assert held > 0
    assert first["images"] + held == 12
    assert first["steps"] == 3 * (first["images"] // 4)
    assert 0 <= first["agreement"] <= 1
    second = run("again")
    assert hashes("again") == hashes()
    assert {**second, "seconds": 0} == {**first, "seconds": 0}
    assert os.listdir("out/weights") == ["epoch-0003.safetensors"]
    write_short_params(project, model_config, params, train={"seed": 1})
    run("other")
    assert not set(hashes("other")) & set(hashes())


def test_a_training_that_is_killed_and_goes_on_equals_one_that_is_not(project):
    whole = run("whole")

    def killed(epoch: int, figures: dict) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(log=killed)
    (state,) = project.glob(".checkpoints/*/state.pt")
    logged = []
    resumed = run(log=lambda epoch, figures: logged.append(epoch))
    assert logged == [1, 2, 3]
    assert hashes() == hashes("whole")
    assert {**resumed, "seconds": 0} == {**whole, "seconds": 0}
    assert not state.exists()


def test_a_training_does_not_go_on_over_other_caches(project, capfd):
    def killed(epoch: int, figures: dict) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(log=killed)
    path = DistillPaths.of_project().union_scores
    table, origin = schema.read_table(path), schema.read_provenance(path)
    null = pa.array(table["null"].to_numpy() + 0.5, pa.float32())
    index = table.column_names.index("null")
    schema.write_table(
        path, table.set_column(index, table.field(index), null), table.schema, origin
    )
    capfd.readouterr()
    run()
    assert "going on" not in capfd.readouterr().err


def test_changed_code_that_caches_were_made_with_is_in_the_model_file(project):
    paths = DistillPaths.of_project()
    for path in (paths.image_scores, paths.union_scores):
        table, origin = schema.read_table(path), schema.read_provenance(path)
        origin["accepted_code"] = ["hoiclip/a.py"]
        schema.write_table(path, table, table.schema, origin)
    run()
    provenance = load_detector("out/model.safetensors", method_named).provenance
    assert provenance["accepted_code_of_inputs"] == {
        str(path): ["hoiclip/a.py"] for path in (paths.image_scores, paths.union_scores)
    }
    assert "accepted_code" not in provenance


def history(out: str) -> dict[str, list[float]]:
    table = schema.read_table(Path(out, "history.parquet"), schema.HISTORY)
    found: dict[str, list[float]] = {}
    for name, value in zip(table["name"].to_pylist(), table["value"].to_pylist(), strict=True):
        found.setdefault(name, []).append(value)
    return found


def test_features_that_are_kept_are_those_of_each_batch(project, model_config, params):
    run()
    write_short_params(project, model_config, params, train={"keep_features": False})
    run("computed")
    kept, computed = history("out"), history("computed")
    assert set(kept) == set(computed)
    for name, values in kept.items():
        np.testing.assert_allclose(computed[name], values, rtol=1e-3, atol=1e-5)


def test_shuffled_scores_teach_something_else(project, model_config, params):
    run()
    write_short_params(project, model_config, params, teacher={"shuffle": True})
    run("shuffled")
    assert history("shuffled")["epoch/loss/union"] != history("out")["epoch/loss/union"]


def test_too_few_images_and_heads_that_do_not_fit_are_told(project, model_config, params):
    first = run()
    # All 12 would do; those held out are not learnt from.
    problem = (
        rf"images\.parquet has {first['images']} images to learn from, which make no whole batch"
    )
    write_short_params(project, model_config, params, train={"batch_size": 12})
    with pytest.raises(
        ParamsError, match=rf"^clip_distill\.train\.batch_size: 12, but .*{problem}$"
    ):
        run()
    write_params(project, model_config, params, train=SMALL, model={"bank_heads": 5})
    with pytest.raises(ParamsError, match="clip_distill: bank_heads: 5 do not divide"):
        run()


def test_a_loss_that_is_not_finite_names_the_method_s_own_settings(project, monkeypatch):
    def step(method, batch, features, counts):
        return {"union": next(method.network.parameters()).sum() * float("nan")}

    monkeypatch.setattr(ClipDistillMethod, "training_step", step)
    said = r"\. Lower clip_distill\.train\.lr or clip_distill\.train\.clip_norm$"
    with pytest.raises(NonFiniteLossError, match=said):
        run()


def test_from_the_model_file_to_predictions(project, model_config, params, toy):
    place_test_images(project, toy)
    write_short_params(
        project, model_config, params, predict={"detection_power": 2.0, "global_power": 0.0}
    )
    chain()
    trained = Path("runs/clip_distill/train/model.safetensors")
    final = Path("runs/clip_distill/select/model.safetensors")
    detector = load_detector(final, method_named)
    assert detector.method.title == "CLIP distillation (after Wan & Tuytelaars)"
    assert dataclasses.asdict(detector.method.scoring) == {
        "detection_power": 2.0,
        "global_power": 0.0,
    }
    before, after = read_safetensors(trained)[0], read_safetensors(final)[0]
    assert before.keys() == after.keys()
    assert all(bool((before[name] == after[name]).all()) for name in before)
    rows = schema.read_table("runs/clip_distill/predict/predictions.parquet", schema.PREDICTIONS)
    assert len(rows) > 100
    parts = {name: rows[name].to_numpy() for name in ("score", "hoi_score", "object_score")}
    expected = parts["object_score"] ** 2 * parts["hoi_score"]
    np.testing.assert_allclose(parts["score"], expected, rtol=1e-5)
    assert parts["score"].max() <= 1
    said = MethodSummary.read("runs", "clip_distill")
    assert list(said.stages) == ["detections", "clip_scores", "train", "select", "predict"]
    assert said.stages["select"]["epoch"] == 3


def test_the_command_line_predicts_photographs_of_any_shape(project, toy):
    place_test_images(project, toy)
    chain()
    store = ImageStore(project / "data/images/test")
    photo = store.read(store.names()[0]).resize((400, 150))
    photo.save("wide.png")
    model = "runs/clip_distill/select/model.safetensors"
    options = ["--weights", model, "--out", "photos", "--threads", "1", "--device", "cpu"]
    assert main(["predict", "wide.png", *options, "--scoring", "global_power=0"]) == 0
    rows = schema.read_table("photos/predictions.parquet", schema.PREDICTIONS)
    assert len(rows) > 0
    assert set(rows["clip_score"].to_pylist()) == {1.0}
    boxes = schema.fixed_lists_to_numpy(rows["human_box_xyxy"])
    assert boxes[:, [0, 2]].max() > 150


def test_another_methods_file_is_refused(project, make_detector, params, model_config):
    write_short_params(project, model_config, params)
    folder = Path("runs/clip_distill/train")
    folder.mkdir(parents=True)
    make_detector().save(folder / "model.safetensors")
    with pytest.raises(WeightsError, match="expected clip_distill"):
        select.main(PARAMS)


# Other vocabularies

# Of the toy detector's objects, in another order; a verb without object, people with people, an
# object that no detector knows, one without HOI classes, and `no_interaction` of one alone.
OWN = Vocabulary(
    ("unicorn", "person", "ball", "bench", "chair"),
    (
        Verb("hold", "holding"), Verb("walk", None, "walking"), Verb("no_interaction", "near"),
        Verb("greet", "greeting"), Verb("ride", "riding"),
    ),
    (
        Hoi(0, 2), Hoi(1, None), Hoi(2, 2), Hoi(3, 1), Hoi(4, 0), Hoi(0, 3),
    ),
)  # fmt: skip


def write_vocabulary(root: Path, vocabulary: Vocabulary, width: int) -> None:
    vocabulary.write(root / "data/vocabulary.parquet", {})
    rows = vocabulary.num_objects + vocabulary.has_missing_objects
    counts = {"hoi": vocabulary.num_hois, "object": rows, "no_object": 1,
              "verb": vocabulary.num_verbs, "null": rows}  # fmt: skip
    ids = [(kind, index) for kind, count in counts.items() for index in range(count)]
    vectors = np.random.default_rng(4).normal(size=(len(ids), width))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    columns = {
        "kind": [kind for kind, _ in ids],
        "id": [index for _, index in ids],
        "prompt": [f"{kind} {index}" for kind, index in ids],
        "embedding": schema.numpy_to_fixed_lists(vectors.astype(np.float32)),
    }
    kind = schema.text_embeddings_schema(width)
    schema.write_table(
        root / "caches/text_embeddings.parquet", pa.table(columns).cast(kind), kind, {}
    )


@pytest.mark.parametrize("branches", [["global", "union", "instance"], ["union"], ["global"]])
def test_an_own_vocabulary_with_verbs_that_have_no_object(
    branches, tmp_path, monkeypatch, toy, model_config, params, clip_config, capsys
):
    make_project(tmp_path, toy, model_config, params)
    place_test_images(tmp_path, toy)
    write_vocabulary(tmp_path, OWN, clip_config["model_cfg"]["embed_dim"])
    # Two people overlap, here mostly by too much.
    write_short_params(
        tmp_path, model_config, params, detections={"nms_iou": None, "num_queries": QUERIES}
    )
    value = yaml.safe_load((tmp_path / "params.yaml").read_text())
    value["clip_distill"]["model"]["branches"] = branches
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(value))
    monkeypatch.chdir(tmp_path)
    chain()
    said = MethodSummary.read("runs", "clip_distill").stages
    assert said["detections"]["unknown_objects"] == "unicorn"
    assert "does not know, so that no pair has them: unicorn\n" in capsys.readouterr().err
    rows = schema.read_table("runs/clip_distill/predict/predictions.parquet", schema.PREDICTIONS)
    hois = rows["hoi"].to_numpy()
    assert 4 not in hois
    assert set(hois.tolist()) == {0, 1, 2, 3, 5}
    without = rows["object_box_xyxy"].is_null().to_numpy(zero_copy_only=False)
    np.testing.assert_array_equal(without, hois == 1)
    assert not np.isnan(rows["score"].to_numpy()).any()
    per_query = {}
    for row in rows.select(["image_id", "query", "hoi"]).to_pylist():
        per_query.setdefault((row["image_id"], row["query"]), set()).add(row["hoi"])
    # Classes of one object each: a pair's rows never mix two.
    assert all(len({OWN.hois[hoi].object for hoi in found}) == 1 for found in per_query.values())
