"""The stage `verb_vectors`: vectors that are given, and an interrupted pass over crops."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from hoiclip import passes
from hoiclip.catalog.vocabularies import hico_det
from hoiclip.convert.dispatch import convert
from hoiclip.core import schema
from hoiclip.errors import InputError
from hoiclip.resume import source_code
from hoiclip.resume.source_code import syntax_sha256
from hoiclip.resume.state_file import ACCEPT_CODE
from hoiclip.verb_vectors import feature_sums
from hoiclip.verb_vectors.arithmetic import VerbVectorsConfig
from stages.hoiclip import verb_vectors as stage

ROOT = stage.Path(__file__).parents[2]


def copy_inputs(source, target):
    """What the stage reads before it looks at crops."""
    for name, path in (
        ("vocabulary.parquet", "data/vocabulary.parquet"),
        ("splits/classes.parquet", "data/splits/classes.parquet"),
        ("text.parquet", "caches/text_embeddings.parquet"),
        ("clip.safetensors", "caches/weights/clip.safetensors"),
    ):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, target / path)


@pytest.fixture
def project(tmp_path, toy, monkeypatch):
    """A folder in which the stage takes the given table."""
    copy_inputs(toy.folder, tmp_path)
    monkeypatch.chdir(tmp_path)

    def run(given):
        shutil.copy(given, tmp_path / "caches/weights/verb_vectors.parquet")
        return stage.main(ROOT / "params.yaml")

    return run


def test_a_given_table_is_taken_with_its_origin(project, toy, tmp_path):
    table = schema.read_table(toy.folder / "verbs.parquet")
    origin = {"accumulation": "released", "source": "verb.pth"}
    layout = schema.verb_vectors_schema(table["vector"].type.list_size)
    schema.write_table(tmp_path / "given.parquet", table, layout, origin)
    assert project(tmp_path / "given.parquet") == {"taken": origin}
    out = tmp_path / "caches/verb_vectors.parquet"
    assert pq.read_table(out).equals(pq.read_table(tmp_path / "given.parquet"))
    assert schema.read_provenance(out) == origin


def test_vectors_of_another_vocabulary_are_refused(project, tmp_path):
    rows = torch.nn.functional.normalize(torch.randn(hico_det().num_verbs, 512), dim=-1)
    torch.save(rows, tmp_path / "verb.pth")
    convert(tmp_path / "verb.pth", tmp_path / "verb.parquet")
    with pytest.raises(InputError, match="Run the verb_vectors stage for this vocabulary"):
        project(tmp_path / "verb.parquet")
    assert not (tmp_path / "caches/verb_vectors.parquet").exists()


@pytest.fixture
def interrupted(toy, tmp_path, monkeypatch):
    """A pass that was killed after some images; a function that goes on and gives how many were
    encoded and what the stage wrote."""
    copy_inputs(toy.folder, tmp_path)
    shutil.copytree(toy.folder / "splits/train", tmp_path / "data/splits/train")
    shutil.copytree(toy.folder / "images/train", tmp_path / "data/images/train")
    layout = schema.verb_vectors_schema(1)
    schema.write_table(tmp_path / stage.GIVEN, layout.empty_table(), layout, {})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(passes, "SHARD", 2)
    whole = {"device": "cpu", "threads": 1, "workers": 0, "batch_size": 2}
    done = []

    def run(stop=None, **changes):
        config = VerbVectorsConfig(**{"accumulation": "correct"} | whole | changes)
        done.clear()

        def counted(images, label, total):  # each shard's
            for image in images:
                if len(done) == stop:
                    raise KeyboardInterrupt
                done.append(image)
                yield image

        monkeypatch.setattr(feature_sums, "track", counted)
        monkeypatch.setattr(stage, "load", lambda *_: config)
        stage.main(ROOT / "params.yaml")
        return len(done), pq.read_table(stage.OUT), schema.read_provenance(stage.OUT)

    images, table, _ = run()
    with pytest.raises(KeyboardInterrupt):
        run(stop=images - 2)
    assert list(tmp_path.glob(".checkpoints/verb_vectors/*/shard-*.pt"))

    def go_on(**changes):
        encoded, made, provenance = run(**changes)
        if "batch_size" not in changes:
            assert made.equals(table)
        assert made.drop_columns("vector").equals(table.drop_columns("vector"))
        vectors, expected = (np.stack(each["vector"].to_numpy()) for each in (made, table))
        np.testing.assert_allclose(vectors, expected, atol=1e-6)
        return encoded, images, provenance

    return go_on


def test_a_killed_pass_goes_on_with_other_workers_and_comments(interrupted, monkeypatch, tmp_path):
    monkeypatch.setattr(
        source_code, "syntax_sha256", lambda source: syntax_sha256(source + b"\n# More.")
    )
    encoded, images, provenance = interrupted(workers=1, threads=2)
    assert encoded < images
    assert "accepted_code" not in provenance
    assert not any((tmp_path / ".checkpoints/verb_vectors").iterdir())


def changed_crops(source: bytes) -> str:
    return syntax_sha256(source + b"\nSIDE = 3" * (b"def shares_of" in source))


def test_a_pass_starts_anew_where_its_code_has_changed(interrupted, monkeypatch, capfd):
    monkeypatch.setattr(source_code, "syntax_sha256", changed_crops)
    encoded, images, _ = interrupted()
    assert encoded == images
    assert "changed since: hoiclip/verb_vectors/crops.py. " in capfd.readouterr().err


def test_vectors_summed_over_a_change_of_code_say_so(interrupted, monkeypatch):
    monkeypatch.setattr(source_code, "syntax_sha256", changed_crops)
    monkeypatch.setenv(ACCEPT_CODE, "1")
    encoded, images, provenance = interrupted()
    assert encoded < images
    assert provenance["accepted_code"] == ["hoiclip/verb_vectors/crops.py"]


def test_a_pass_of_other_settings_says_what_is_other(interrupted, capfd):
    encoded, images, _ = interrupted(batch_size=3)
    assert encoded == images
    said = capfd.readouterr().err
    assert "state.pt is of other work: verb_vectors.batch_size 3, was 2\n" in said
