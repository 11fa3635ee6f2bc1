from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from label_free_world import make_project, save_detector, write_params

from hoiclip import passes
from hoiclip.core import schema
from hoiclip.core.files import sha256_file
from hoiclip.errors import InputError, ParamsError
from hoiclip.methods.clip_distill.caches.inputs import (
    CacheSettings,
    DistillCaches,
    DistillPaths,
    scores_origin,
)
from hoiclip.methods.clip_distill.caches.pairs import make_pairs
from stages.clip_distill import clip_scores, detections

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path, toy, model_config, params, monkeypatch):
    make_project(tmp_path, toy, model_config, params)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run() -> tuple[dict, dict]:
    return detections.main(Path("params.yaml")), clip_scores.main(Path("params.yaml"))


def read() -> DistillCaches:
    return DistillCaches.read(DistillPaths.of_project(), CacheSettings.read(Path("params.yaml")))


def test_caches_come_without_a_label_in_the_folder_and_read_as_they_were_written(project):
    assert [path.name for path in project.glob("data/annotations/*/*")] == ["images.parquet"]
    found, scored = run()
    caches = read()
    count = len(caches.images)
    assert found["images"] == scored["images"] == count
    assert found["detections"] == sum(map(len, caches.detections))
    assert found["people"] > 0
    assert found["unknown_objects"] == ""
    assert scored["pairs"] == sum(len(each.pairs) for each in caches.unions) > count
    assert scored["images_without_pairs"] == sum(not len(each.pairs) for each in caches.unions)
    for found_, union in zip(caches.detections, caches.unions, strict=True):
        again = make_pairs(found_, caches.vocabulary, 64)
        np.testing.assert_array_equal(union.pairs.human, again.human)
        np.testing.assert_array_equal(union.pairs.object, again.object)
        np.testing.assert_array_equal(union.pairs.scores, again.scores)
        mask = caches.classes.mask[again.objects]
        assert (np.abs(union.cosines[mask]) <= 1 + 1e-5).all()
        assert not union.cosines[~mask].any()
    assert caches.whole.cosines.shape == (count, caches.vocabulary.num_hois)
    assert np.unique(caches.whole.cosines[:, 0]).size > 1


@pytest.mark.parametrize("step", [detections.main, clip_scores.main, lambda params: read()])
def test_a_data_set_without_images_is_one_line(project, step):
    path = DistillPaths.of_project().image_table
    run()
    schema.write_table(path, schema.IMAGES.empty_table(), schema.IMAGES, {})
    with pytest.raises(InputError, match=r"train/images\.parquet: no images to learn from\."):
        step(Path("params.yaml"))


def test_the_same_bytes_twice_and_with_workers(project, model_config, params):
    files = [f"caches/clip_distill/{name}.parquet" for name in
             ("detections", "union_scores", "image_scores")]  # fmt: skip
    run()
    first = [sha256_file(name) for name in files]
    write_params(project, model_config, params, caches={"workers": 1})
    run()
    assert [sha256_file(name) for name in files] == first


def test_whole_images_have_the_same_scores_in_any_batch(project, model_config, params):
    run()
    whole = read().whole.cosines
    write_params(project, model_config, params, caches={"batch_size": 5})
    clip_scores.main(Path("params.yaml"))
    np.testing.assert_allclose(read().whole.cosines, whole, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p, w: save_detector(p.detector, *w, seed=1),
            "detections.parquet.*another detector",
        ),
        (lambda p, w: p.clip.write_bytes(b"x"), "union_scores.parquet.*another clip"),
        (lambda p, w: p.text_embeddings.write_bytes(b"x"), "another text embeddings"),
    ],
    ids=["detector", "clip", "texts"],
)
def test_caches_of_other_files_are_refused_in_one_line(project, model_config, toy, change, message):
    run()
    change(DistillPaths.of_project(), (model_config.detector, toy))
    with pytest.raises(InputError, match=message) as error:
        read()
    assert "\n" not in str(error.value)


def test_caches_of_another_image_table_are_refused(project):
    run()
    path = DistillPaths.of_project().image_table
    table = schema.read_table(path)
    schema.write_table(path, table.slice(1), schema.IMAGES, {})
    with pytest.raises(InputError, match="made of another image table"):
        read()


@pytest.mark.parametrize(
    ("section", "change", "what"),
    [
        ("detections", {"score_threshold": 0.1}, "detection rule"),
        ("detections", {"max_pairs": 2}, "most pairs"),
        ("teacher", {"view": "crop"}, "view"),
    ],
)
def test_caches_of_other_settings_are_refused(project, model_config, params, section, change, what):
    run()
    write_params(project, model_config, params, **{section: change})
    with pytest.raises(InputError, match=f"made of another {what}"):
        read()


def test_what_only_the_teacher_uses_costs_no_new_pass(project, model_config, params):
    run()
    teacher = {"temperature": 5.0, "null_prompt": False, "filter": "none", "shuffle": True}
    write_params(project, model_config, params, teacher=teacher)
    assert read().unions


def rewrite(path: Path, change) -> None:
    table, origin = schema.read_table(path), schema.read_provenance(path)
    schema.write_table(path, change(table), table.schema, origin)


def column(name: str, change):
    def changed(table):
        values = change(table[name].to_pylist())
        index = table.schema.get_field_index(name)
        return table.set_column(index, name, [values]).cast(table.schema)

    return changed


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("detections", column("detection", lambda v: [1, *v[1:]]), "row 0, detection"),
        ("detections", column("object", lambda v: [*v[:-1], 99]), "object: out of range"),
        ("detections", column("image_id", lambda v: [*v[:-1], 77]), "image_id"),
        ("detections", column("image_id", lambda v: [v[-1], *v[1:]]), "out of order"),
        ("union_scores", column("human", lambda v: [99, *v[1:]]), "row 0, human: out of range"),
        ("union_scores", column("object", lambda v: [99, *v[1:]]), "row 0, object: out of"),
        ("union_scores", column("cosine", lambda v: [v[0][1:], *v[1:]]), "row 0, cosine"),
        ("image_scores", lambda t: t.slice(1), "not one row for each image"),
    ],
)
def test_damaged_caches_are_refused(project, file, change, message):
    run()
    rewrite(Path(f"caches/clip_distill/{file}.parquet"), change)
    with pytest.raises(InputError, match=message):
        read()


def test_absent_caches_are_told(project):
    with pytest.raises(InputError, match=r"detections\.parquet.*no such file"):
        read()


def test_params_without_a_detectors_sizes(project):
    Path("params.yaml").write_text("clip_distill: {}\n")
    with pytest.raises(ParamsError, match=r"model\.detector: missing"):
        CacheSettings.read(Path("params.yaml"))


@pytest.mark.parametrize("view", [None, "square", ["pad"]])
def test_the_passes_read_of_the_teacher_its_view_alone(project, view):
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["clip_distill"] |= {"train": {"no key": 1}, "model": None}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert CacheSettings.read(Path("params.yaml")).view in ("pad", "crop")
    params["clip_distill"]["teacher"]["view"] = view
    Path("params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(ParamsError, match=r"clip_distill\.teacher\.view: .*expected pad or crop"):
        CacheSettings.read(Path("params.yaml"))


def test_settings_of_training_are_no_part_of_detections(project):
    detections.main(Path("params.yaml"))
    paths, settings = DistillPaths.of_project(), CacheSettings.read(Path("params.yaml"))
    trained = replace(settings.detector, checkpoint_encoder=True, dropout=0.5)
    other = replace(settings, detector=trained)
    assert scores_origin(paths, settings) == scores_origin(paths, other)
    narrow = replace(settings, detector=replace(settings.detector, feed_forward=3))
    assert scores_origin(paths, settings) != scores_origin(paths, narrow)


def test_the_largest_number_of_pairs_is_no_part_of_detections(project):
    detections.main(Path("params.yaml"))
    paths, settings = DistillPaths.of_project(), CacheSettings.read(Path("params.yaml"))
    other = replace(settings, detections=replace(settings.detections, max_pairs=1))
    before, after = scores_origin(paths, settings), scores_origin(paths, other)
    assert {name for name in before if before[name] != after[name]} == {"most pairs"}


SHARED = """
import sys
from importlib import import_module
from pathlib import Path
from hoiclip import passes
passes.SHARD = 5
import_module(f"stages.clip_distill.{sys.argv[1]}").main(Path("params.yaml"))
"""
CACHES = ("detections", "image_scores", "union_scores")


def cache_bytes(project: Path) -> list[bytes]:
    return [(project / f"caches/clip_distill/{name}.parquet").read_bytes() for name in CACHES]


def test_neither_a_kill_nor_processes_change_a_byte_of_the_caches(project, shards, monkeypatch):
    monkeypatch.setattr(passes, "SHARD", 5)
    run()
    whole = cache_bytes(project)

    # Killed in the third shard of each.
    for stage in (detections, clip_scores):
        shards.kill(partial(stage.main, Path("params.yaml")), after=2)
        stage.main(Path("params.yaml"))
    assert cache_bytes(project) == whole
    assert not list(project.glob(".checkpoints/clip_distill/*/*"))

    (project / "shared.py").write_text(SHARED)
    for name in ("detections", "clip_scores"):
        command = [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "shared.py", name,
        ]  # fmt: skip
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
            check=False, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert cache_bytes(project) == whole


def other_detections() -> None:
    """The detections, with other scores and so in another order of pairs."""
    path = DistillPaths.of_project().detections
    table, origin = schema.read_table(path), schema.read_provenance(path)
    index = table.column_names.index("score")
    scores = pa.array(table["score"].to_numpy()[::-1].copy(), pa.float32())
    table = table.set_column(index, table.field(index), scores)
    schema.write_table(path, table, table.schema, origin)


def test_scores_of_other_detections_are_refused(project):
    run()
    other_detections()
    with pytest.raises(InputError, match=r"made of another detections\. Run the stage"):
        read()


@pytest.mark.parametrize("change", ["detections", "settings"])
def test_shards_of_other_detections_and_settings_are_not_taken(
    project, shards, monkeypatch, change
):
    monkeypatch.setattr(passes, "SHARD", 5)
    detections.main(Path("params.yaml"))
    score = partial(clip_scores.main, Path("params.yaml"))
    kept = shards.kill(score, after=1)
    if change == "detections":
        other_detections()
    else:
        params = Path("params.yaml").read_text()
        changed = params.replace("batch_size: 16", "batch_size: 3", 1)
        assert changed != params
        Path("params.yaml").write_text(changed)
    score()
    # None of those that were there is left out.
    assert {path.name for path in kept} <= {path.name for path in shards.made}
    whole = cache_bytes(project)
    score()
    assert cache_bytes(project) == whole


def test_changed_code_that_was_accepted_stands_in_the_footers(project, monkeypatch):
    monkeypatch.setattr(passes.ShardedPass, "accepted", ["hoiclip/a.py"])
    run()
    paths = DistillPaths.of_project()
    for path in (paths.detections, paths.image_scores, paths.union_scores):
        assert schema.read_provenance(path)["accepted_code"] == ["hoiclip/a.py"]
    assert len(read().images)
